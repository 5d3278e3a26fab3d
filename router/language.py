"""Which language a text is in, by script and by its commonest words; offline, and silent when it is not sure.

A few hundred words decide a route, no more is asked of them: they take microseconds, give the same answer on every
machine, and abstain on code, on numbers and on texts of a few words.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping

UNKNOWN = "unknown"
MOST_CHARACTERS = 4_000
"""Only so much of a text's beginning is read."""
LEAST_WORDS = 2
"""Common words that have to be there."""
LEAST_SHARE = 0.12
"""Of all words; a language's commonest words make up a quarter or more of its prose."""
LEAD = 1.25
"""How much more of them than the second language's."""

_SCRIPTS = {
    "ja": "\u3040-\u30ff\u31f0-\u31ff", "ko": "\u1100-\u11ff\u3130-\u318f\uac00-\ud7af", "zh": "\u3400-\u9fff",
    "el": "\u0370-\u03ff\u1f00-\u1fff", "he": "\u0590-\u05ff", "th": "\u0e00-\u0e7f", "hi": "\u0900-\u097f",
    "bn": "\u0980-\u09ff", "ta": "\u0b80-\u0bff", "te": "\u0c00-\u0c7f", "ka": "\u10a0-\u10ff", "hy": "\u0530-\u058f",
    "ar": "\u0600-\u06ff", "ru": "\u0400-\u04ff",
}  # fmt: skip
_OF_A_SCRIPT = re.compile("|".join(f"(?P<{name}>[{ranges}]+)" for name, ranges in _SCRIPTS.items()))
_LETTERS_OF = {
    "ru": (("uk", "іїєґ"), ("bg", "ъ")),  # more of them than of the letters that only Russian has
    "ar": (("ur", "ٹڈڑےں"), ("fa", "پچژگ")),
}
_RUSSIAN = frozenset("ыэё")
_WORD = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)?")

_WORDS: Mapping[str, frozenset[str]] = {
    name: frozenset(words.split())
    for name, words in {
        "en": (
            "the of and to in is that it for was on are with as his they at be this have from or had by but what all "
            "were we when your can said there an which their if do will each about how up out them then she so would "
            "into has more could no my than been who its now did get may i you he me please should write explain why "
            "does"
        ),
        "de": (
            "der die und in den von zu das mit sich des auf für ist im dem nicht ein eine als auch es an werden aus "
            "er hat dass sie nach wird bei einer um am sind noch wie einem über einen so zum war haben nur oder aber "
            "vor zur bis mehr durch man sein wurde wenn ich du wir ihr mein bitte kann warum was diese dieser "
            "schreibe ihre uns mir"
        ),
        "fr": (
            "le de un être et à il avoir ne je son que se qui ce dans en du elle au pour pas vous par sur faire plus "
            "dire me on mon lui nous comme mais avec tout y aller voir la les des est une cette ou sont leur aux ont "
            "d'un d'une c'est qu'il été était ces tu moi votre notre sans très quel quelle pourquoi comment écris où"
        ),
        "es": (
            "de la que el en y los se del las un por con no una su para es al lo como más pero sus le ya o este sí "
            "porque esta entre cuando muy sin sobre también me hasta hay donde quien desde todo nos durante uno les "
            "ni contra ese eso mí qué cómo cuál está son fue ser yo tú mi escribe favor puede eres hola cuánto"
        ),
        "it": (
            "di che è e la il un a per in una sono mi ho non si ma lo ha le con i cosa se da come ci no questo qui "
            "hai del bene tu mio solo me te al della nel alla dei delle degli gli più anche suo sua perché quando "
            "dove chi questa nella sul dal dalla essere stato fare scrivi quale loro noi"
        ),
        "pt": (
            "de que e o a do da em um para é com não uma os no se na por mais as dos como mas foi ao ele das tem à "
            "seu sua ou ser quando muito há nos já está eu também só pelo pela até isso ela entre era depois sem "
            "mesmo aos ter seus quem nas me esse eles estão você tinha foram essa num nem suas meu às minha têm numa "
            "pelos são"
        ),
        "nl": (
            "de en van ik te dat die in een hij het niet zijn is was op aan met als voor had er maar om hem dan zou "
            "of wat mijn men dit zo door over ze zich bij ook tot je mij uit der daar haar naar heb hoe heeft hebben "
            "deze u want nog zal me zij nu ge geen omdat iets worden toch al waren veel meer doen toen moet ben "
            "zonder kan waarom"
        ),
        "sv": (
            "och det att i en jag hon som han på den med var sig för så till är men ett om hade de av icke mig du "
            "henne då sin nu har inte hans honom skulle hennes där min man ej vid kunde något från ut när efter upp "
            "vi dem vara vad över än dig kan sina här ha mot alla under någon eller allt mycket sedan hur varför"
        ),
        "da": (
            "og i jeg det at en den til er som på de med han af for ikke der var mig sig men et har om vi min havde "
            "ham hun nu over da fra du ud sin dem os op man hans hvor eller hvad skal selv her alle vil blev kunne "
            "ind når være dog noget ville jo deres efter ned skulle denne end dette mit også under have dig hvordan "
            "hvorfor"
        ),
        "no": (
            "og i jeg det at en et den til er som på de med han av ikke ikkje der så var meg seg men ett har om vi "
            "min mitt ha hadde hun nå over da ved fra du ut sin dem oss opp man kan hans hvor eller hva skal selv "
            "sjøl her alle vil bli ble blei blitt kunne inn når være kom noen noe ville dere deres kun etter ned "
            "skulle denne hvordan hvorfor"
        ),
        "fi": (
            "ja on ei se että hän oli en mutta ole joka kun niin mitä minä sen kuin tämä ovat sinä myös vain jos "
            "hänen tai siitä minun nyt mikä olen ollut voi olla mukaan sekä ne jo sitten kaikki ennen vielä koska "
            "miten miksi"
        ),
        "pl": (
            "i w nie na się z do to że jest o jak co ale po tak od za jego ja czy dla już przez był być ma są tym jej "
            "tylko może ich pod jeśli który która które gdy oraz także przy mnie bardzo dlaczego proszę napisz"
        ),
        "cs": (
            "a se v je na že to s z do o i jako za ale by po jsem si tak k jeho které který byl jsou která pro od "
            "nebo už jen při což jak když není také této tím byla bylo být proč kde podle aby své"
        ),
        "tr": (
            "ve bir bu da de için ile o ne çok daha gibi var olarak kadar sonra ama en ben mi ki ya değil sen her "
            "nasıl neden olan ise yok şey bana biz onu olduğu tarafından veya lütfen"
        ),
        "ro": (
            "și de în a la că nu este pe cu o un din care să se mai pentru ce sunt fost lui dar după prin sau au fi "
            "cum când ei această acest cea cel foarte ale am ai asta unde"
        ),
        "hu": (
            "a az és hogy nem is egy ez van de meg ha csak már el volt még mint azt le ki kell lehet vagy mert ezt "
            "úgy minden nagyon én te ő miért hogyan szerint után amely"
        ),
        "id": (
            "yang dan di itu dengan untuk tidak ini dari dalam akan pada juga saya ke karena tersebut bisa ada mereka "
            "lebih kata tahun sudah atau saat oleh menjadi orang ia telah adalah seperti sebagai bahwa dapat para apa"
        ),
        "vi": (
            "và của là có cho không được trong một người các với này đã những để khi từ thì cũng đến về ra tôi như "
            "lại nhiều ở phải vào năm trên sẽ nếu bạn gì"
        ),
    }.items()
}
_MARKS = {
    "ã": "pt", "õ": "pt", "ñ": "es", "¿": "es", "¡": "es", "ß": "de", "ł": "pl", "ę": "pl", "ż": "pl", "ě": "cs",
    "ř": "cs", "ů": "cs", "ı": "tr", "ş": "tr", "ğ": "tr", "ș": "ro", "ț": "ro", "ő": "hu", "ű": "hu", "ư": "vi",
    "ơ": "vi", "œ": "fr", "ê": "fr",
}  # fmt: skip
"""Letters and signs that, among these languages, one uses by far the most: each counts as one of its words."""
LANGUAGES = (*_SCRIPTS, *(name for kinds in _LETTERS_OF.values() for name, _ in kinds), *_WORDS)
"""ISO 639-1 codes of what can be recognised."""
_SPEAKERS: dict[str, tuple[str, ...]] = {}
for _name, _words in _WORDS.items():
    for _word in _words:
        _SPEAKERS[_word] = (*_SPEAKERS.get(_word, ()), _name)


def language_of(text: str) -> str:
    """The language of a text as an ISO 639-1 code, or `unknown`."""
    text = text[:MOST_CHARACTERS]
    return _by_script(text) or _by_words(text) or UNKNOWN


def _by_script(text: str) -> str | None:
    """By letters that only one language or a few use; None for Latin letters, or none."""
    if text.isascii():
        return None
    counts = Counter[str]()
    for run in _OF_A_SCRIPT.finditer(text):
        counts[run.lastgroup or ""] += len(run[0])
    latin = sum(len(word[0]) for word in _WORD.finditer(text)) - counts.total()
    if not counts or counts.total() < latin:
        return None
    if counts["ja"] and counts["ja"] * 10 > counts["zh"]:
        return "ja"  # Japanese writes half of its text in Chinese characters
    name, most = counts.most_common(1)[0]
    if 2 * most < counts.total():
        return None
    letters = Counter(text.lower())
    if name == "ru" and any(letters[letter] for letter in _RUSSIAN):
        return name
    for other, marks in _LETTERS_OF.get(name, ()):
        if any(letters[mark] for mark in marks):
            return other
    return name


def _by_words(text: str) -> str | None:
    """By the commonest words; a word that several languages share counts for each in part."""
    # Words in capitals are the keywords and names of code.
    words = [found.lower().replace("’", "'") for found in _WORD.findall(text) if len(found) == 1 or not found.isupper()]
    counts, said = Counter[str](), dict[str, float]()
    for word in words:
        speakers = _SPEAKERS.get(word, ())
        for name in speakers:
            counts[name] += 1
            said[name] = said.get(name, 0.0) + 1 / len(speakers)
    for mark, number in () if text.isascii() else Counter(text.lower()).items():
        if mark in _MARKS and (name := _MARKS[mark]) in said:
            counts[name] += number
            said[name] += number
    if not said:
        return None
    (most, name), *others = sorted(((share, name) for name, share in said.items()), reverse=True)
    if counts[name] < LEAST_WORDS or counts[name] < LEAST_SHARE * len(words):
        return None
    return name if not others or most > LEAD * others[0][0] else None
