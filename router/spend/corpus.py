"""A fixed text of our own, in several languages and kinds, to measure tokenizers on.

It never changes: a reading of today is compared with one of last year. A new text gets a new name.
"""

from __future__ import annotations

CORPUS = {
    "english": (
        "The ferry leaves at half past six, when the harbour is still grey and the gulls have the quay to themselves. "
        "Martha counts the crates twice, signs the sheet, and hands the pencil back without a word. Nobody asks what "
        "is inside; the labels say instruments, and the captain has learned that a label is a kind of promise. On the "
        "far shore a van is waiting with its engine running. By noon the crates will stand in a cellar under the "
        "theatre, and by evening somebody will have opened the first of them, found the violin wrapped in newspaper, "
        "and begun to laugh."
    ),
    "german": (
        "Der Gemeinderat hat gestern beschlossen, die Straßenbeleuchtung in den Nebenstraßen nach Mitternacht "
        "abzuschalten. Die Energieeinsparung wird auf rund achtzehntausend Euro im Jahr geschätzt. Einige Anwohner "
        "befürchten, dass sich die Verkehrssicherheit verschlechtert; die Feuerwehr hingegen begrüßt den Beschluss, "
        "weil die Einsatzfahrzeuge ohnehin über eigene Scheinwerfer verfügen. Eine Überprüfung der "
        "Haushaltsauswirkungen ist für das kommende Frühjahr vorgesehen."
    ),
    "spanish": (
        "Cuando llegó la lluvia, nadie en el pueblo había terminado de recoger la aceituna. Mi abuelo decía que el "
        "tiempo no se equivoca nunca, que somos nosotros los que miramos el calendario con demasiada fe. Aquella tarde "
        "extendimos las lonas bajo los árboles más viejos y esperamos sentados en el remolque, compartiendo pan y "
        "queso, hasta que el agua dejó de golpear la chapa y el olor de la tierra lo llenó todo."
    ),
    "russian": (
        "Поезд остановился посреди поля без всякой причины. Проводница прошла по вагону и сказала, что стоять будем "
        "минут двадцать, не больше. За окном лежал снег, ровный и синий от сумерек, и только у переезда горел "
        "одинокий фонарь. Старик напротив достал термос, налил чаю в крышку и протянул мне, словно мы были знакомы "
        "всю жизнь."
    ),
    "chinese": (
        "清晨的菜市场最热闹。卖豆腐的老板娘一边切豆腐，一边和熟客聊天气。隔壁摊位摆着刚从河里捞上来的鱼，水花溅到路人的鞋上，"
        "也没有人生气。孩子们背着书包从人群中穿过，手里拿着热腾腾的包子。等到太阳升高，摊子一个接一个地收起来，"
        "街道又恢复了安静，只剩下地上的几片菜叶和一只不肯离开的猫。"
    ),
    "japanese": (
        "駅前の小さな本屋は、今年の春で創業五十年になる。店主は毎朝七時にシャッターを上げ、入口の花に水をやってから、"
        "昨日届いた箱を一つずつ開けていく。常連の高校生は帰り道に立ち寄り、同じ棚の前でしばらく迷って、結局は一冊も買わずに"
        "帰ることもある。それでも店主は「また明日」と言って見送るのだった。"
    ),
    "arabic": (
        "في نهاية الشارع القديم دكان صغير يبيع الساعات. صاحبه رجل هادئ يعرف كل ساعة مرت بين يديه، ويتذكر أصحابها "
        "كما يتذكر المرء أقاربه. يقول إن الساعة التي تتوقف لا تموت، بل تنتظر من يفهمها. وحين يدخل الزبون يضع الرجل "
        "عدسته على عينه، ويصمت لحظة طويلة، ثم يبتسم كأنه سمع شيئا لا يسمعه غيره."
    ),
    "hindi": (
        "गाँव के बाहर वाले बरगद के नीचे हर शाम लोग इकट्ठा होते हैं। कोई खेत की बात करता है, कोई बच्चों की पढ़ाई की, और कोई बस चुपचाप "
        "बैठकर हवा का आनंद लेता है। पिछले साल जब बारिश देर से आई थी, तब यहीं पर सबने मिलकर तय किया था कि पुराने तालाब की मरम्मत "
        "की जाएगी। आज उसी तालाब में पानी भरा है और बगुले लौट आए हैं।"
    ),
    "python": (
        "def settle(entries: list[Entry], *, rate: Decimal) -> dict[str, Decimal]:\n"
        '    """Sum what each account owes, after interest."""\n'
        "    owed: defaultdict[str, Decimal] = defaultdict(Decimal)\n"
        "    for entry in sorted(entries, key=lambda e: (e.account, e.booked_at)):\n"
        "        if entry.kind is Kind.REFUND and entry.amount > 0:\n"
        '            raise ValueError(f"refund {entry.id!r} must not be positive: {entry.amount:,.2f}")\n'
        "        owed[entry.account] += entry.amount * (1 + rate) ** entry.months\n"
        "    return {name: total.quantize(CENT) for name, total in owed.items() if total != 0}\n"
    ),
    "json": (
        '{"order":{"id":"A-20917","placed":"2025-11-03T08:41:27Z","lines":[{"sku":"LMP-0042","qty":3,"price":"18.90",'
        '"tags":["lamp","oak"]},{"sku":"CBL-1107","qty":12,"price":"2.35","tags":[]}],"ship_to":{"name":"R. Okafor",'
        '"street":"14 Canal Row","zip":"LS1 4DT","country":"GB"},"gift":false,"note":null,"total":"84.90"},'
        '"meta":{"trace":"7f3a9c0e51d2","attempt":1,"elapsed_ms":148.25}}'
    ),
    "log": (
        "2025-11-03 08:41:27.318 INFO  [worker-4] queue.consumer - picked job 88213 (size=14.2kB, age=0.8s)\n"
        "2025-11-03 08:41:27.902 WARN  [worker-4] http.client - GET https://api.example.net/v2/stock?sku=LMP-0042 -> "
        "503, retry 1/3 in 250ms\n"
        "2025-11-03 08:41:28.441 ERROR [worker-4] queue.consumer - job 88213 failed: TimeoutError after 500ms "
        "(trace 7f3a9c0e51d2)\n"
    ),
}
"""By name of language or kind."""
