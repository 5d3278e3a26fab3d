"""Reasons why two alike questions may still need different answers, each with a name.

A vector hardly sees a number, a "not" or the order of two words. What it misses is compared here as text. A veto is a
difference of a *trait*; `void` says when an answer has shown that it does not depend on that trait.

Two traits are there against people: `letters`, because the embedder reads neither hidden characters nor scripts that it
does not know, so that texts which differ in them alone have one vector; and `orders`, because whoever plants an answer
has to tell the model what to say. No number of planted entries makes these two void. Reading takes time linear in the
text, whatever is in it.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass

VERSION = 2
"""Goes up when a veto changes; part of every partition."""

_INVISIBLE = re.compile("[\u00ad\u200b-\u200f\u202a-\u202e\u2060-\u2064\ufeff]")
_WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)?")
_NUMBER = re.compile(r"(?<![\w.])[-+]?\d[\d,]*(?:\.\d+)?")
_CODE = re.compile(r"`([^`]+)`|\"([^\"]+)\"|“([^“”]+)”|(?<!\w)['‘]([^'‘’]+)['’](?!\w)")
_RUN = re.compile(r"[\w./:-]+")
_DIGIT, _LETTER = re.compile(r"\d"), re.compile(r"[^\W\d_]")
_SYMBOL = re.compile("[$€£¥₹%°]")

_NUMERALS = {
    word: str(value)
    for value, word in enumerate(
        "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen "
        "seventeen eighteen nineteen twenty".split()
    )
    if word != "one"  # "which one", "no one": mostly a pronoun
} | {word: str(value) for value, word in enumerate("third fourth fifth sixth seventh eighth ninth tenth".split(), 3)}
_NEGATIONS = frozenset(
    "not no never none nothing nobody nowhere neither nor without cannot avoid except excluding unable "
    "dont doesnt didnt isnt arent wasnt werent wont wouldnt cant couldnt shouldnt hasnt havent hadnt".split()
)
_FRESH = frozenset(
    "today tonight tomorrow yesterday now currently current latest newest recent recently price prices weather "
    "forecast live upcoming".split()
)
_UNITS = frozenset(
    "km kilometers kilometres mile miles meter meters metre metres feet foot inch inches cm mm kg kilogram kilograms "
    "pound pounds lb lbs gram grams ounce ounces oz celsius fahrenheit kelvin liter liters litre litres gallon gallons "
    "usd eur gbp dollar dollars euro euros yen rupees second seconds minute minutes hour hours day days week weeks "
    "month months year years mb gb tb kb "
    "monday tuesday wednesday thursday friday saturday sunday "
    "january february march april june july august september october november december "
    "english french german spanish italian portuguese dutch russian chinese japanese korean arabic hindi".split()
)
"""Of measure, and other words of small closed sets, of which one stands for another in the same sentence."""
_ORDERS = frozenset(
    "ignore disregard override pretend roleplay persona jailbreak answer reply respond say output repeat instead "
    "instruction instructions prompt prompts json xml yaml csv".split()
)
_OPPOSITES = (
    "open close", "opened closed", "open closed", "opening closing", "start stop", "start end", "begin end",
    "enable disable", "enabled disabled", "activate deactivate", "lock unlock", "freeze unfreeze", "block unblock",
    "increase decrease", "raise lower", "buy sell", "send receive", "sent received", "deposit withdraw",
    "deposit withdrawal", "import export", "upload download", "install uninstall", "add remove", "add delete",
    "create delete", "encrypt decrypt", "encode decode", "before after", "above below", "over under", "minimum maximum",
    "min max", "first last", "largest smallest", "highest lowest", "best worst", "more less", "most least", "hot cold",
    "left right", "north south", "east west", "up down", "on off", "in out", "safe unsafe", "legal illegal",
    "possible impossible", "true false", "male female", "morning evening", "ascending descending", "push pull",
    "accept reject", "accept decline", "allow deny", "arrival departure", "arrive depart", "login logout",
    "advantages disadvantages", "pros cons", "lend borrow", "win lose", "pass fail", "always never", "with without",
    "today tomorrow", "yesterday today", "gain lose", "old new", "hire fire", "public private",
)  # fmt: skip
_AGAINST: dict[str, set[str]] = {}
for _pair in _OPPOSITES:
    _one, _other = _pair.split()
    _AGAINST.setdefault(_one, set()).add(_other)
    _AGAINST.setdefault(_other, set()).add(_one)


@dataclass(frozen=True, slots=True)
class Traits:
    """What of a text is compared letter by letter."""

    words: tuple[str, ...]
    """Folded words in their order."""
    vocabulary: frozenset[str]
    numbers: tuple[str, ...]
    negations: bool
    """Whether the number of negations is odd."""
    units: frozenset[str]
    ids: tuple[str, ...]
    code: tuple[str, ...]
    """Spans in backticks or double quotes."""
    fresh: frozenset[str]
    """Words that ask for what changes by the hour."""
    letters: tuple[str, ...]
    """Words with a character that is no ASCII, hidden ones included."""
    orders: frozenset[str]
    """Words that tell the model what or how to answer."""


def normal(text: str) -> str:
    """NFKC and one space between words, so that letters of another width are the same letters.

    Letters of another script that only look alike stay different, and hidden characters stay: the model reads them.
    """
    return " ".join(unicodedata.normalize("NFKC", text).split())


def traits(text: str) -> Traits:
    """Read a text's traits; 20 to 60 µs for a short question."""
    whole = normal(text)
    clean = _INVISIBLE.sub("", whole)
    words = tuple(word.replace("’", "'").replace("'", "") for word in _WORD.findall(clean.casefold()))
    numbers = [found.replace(",", "").lstrip("+") for found in _NUMBER.findall(clean)]
    numbers += [_NUMERALS[word] for word in words if word in _NUMERALS]
    vocabulary = frozenset(words)
    return Traits(
        words=words,
        vocabulary=vocabulary,
        numbers=tuple(sorted(numbers)),
        negations=sum(word in _NEGATIONS for word in words) % 2 == 1,
        units=vocabulary & _UNITS | frozenset(_SYMBOL.findall(clean)),
        ids=tuple(sorted(_ids(clean.casefold()))),
        code=tuple(sorted("".join(spans) for spans in _CODE.findall(clean))),
        fresh=vocabulary & _FRESH,
        letters=() if whole.isascii() else tuple(sorted(_letters(whole.casefold()))),
        orders=vocabulary & _ORDERS,
    )


def _ids(text: str) -> list[str]:
    """Runs that mix letters and digits, mail addresses and links."""
    found = [run.strip("./:-") for run in _RUN.findall(text)]
    mixed = [run for run in found if len(run) > 1 and _DIGIT.search(run) and _LETTER.search(run)]
    return mixed + [word for word in text.split() if "@" in word.strip("@") or "://" in word]


def _letters(text: str) -> list[str]:
    """Words that are no ASCII, apart from typographic punctuation and signs that count as units."""
    found = []
    for word in text.split():
        if not word.isascii():
            bare = "".join(one for one in _SYMBOL.sub("", word) if unicodedata.category(one)[0] != "P")
            found += [] if bare.isascii() else [bare]
    return found


BY_TRAIT = {"numbers": "numbers", "negation": "negations", "units": "units", "ids": "ids", "code": "code",
            "freshness": "fresh", "letters": "letters", "orders": "orders"}  # fmt: skip
"""Vetoes that are a plain difference of one trait -> the trait."""
NEVER_VOID = ("letters", "orders")
"""Vetoes that stand whatever the entries say, because whoever they are against may have written these."""
NAMES = (*BY_TRAIT, "opposites", "order")


def vetoes(asked: Traits, stored: Traits) -> tuple[str, ...]:
    """Names of all vetoes between a question and a stored one; the same both ways, and none between equal texts."""
    found = [name for name, trait in BY_TRAIT.items() if getattr(asked, trait) != getattr(stored, trait)]
    mine, theirs = asked.vocabulary - stored.vocabulary, stored.vocabulary - asked.vocabulary
    if any(_AGAINST.get(word, set()) & theirs for word in mine):
        found.append("opposites")
    if asked.words != stored.words and sorted(asked.words) == sorted(stored.words):
        found.append("order")
    return tuple(found)


def void(name: str, same_answer: Iterable[Traits]) -> bool:
    """Whether stored questions with one and the same answer show that this trait does not matter to it.

    They do when three of them or more have two values of the trait or more: the answer was right for either.
    """
    if name not in BY_TRAIT or name in NEVER_VOID:
        return False
    values = [getattr(stored, BY_TRAIT[name]) for stored in same_answer]
    return len(values) >= 3 and len(set(values)) >= 2
