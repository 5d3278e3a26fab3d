"""Reasons why two alike questions may still need different answers, each with a name.

A vector hardly sees a number, a "not" or the order of two words. What it misses is compared here as text. A veto is a
difference of a *trait*; `void` says when an answer has shown that it does not depend on that trait.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass

VERSION = 1
"""Goes up when a veto changes; part of every partition."""

_INVISIBLE = re.compile("[\u00ad\u200b-\u200f\u202a-\u202e\u2060-\u2064\ufeff]")
_WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)?")
_NUMBER = re.compile(r"(?<![\w.])[-+]?\d[\d,]*(?:\.\d+)?")
_CODE = re.compile(r"`([^`]+)`|\"([^\"]+)\"|“([^”]+)”")
_ID = re.compile(r"\b(?=[\w./:-]*\d)(?=[\w./:-]*[^\W\d_])[\w][\w./:-]*\w\b|\S+@\S+|https?://\S+")

_NUMERALS = {
    word: str(value)
    for value, word in enumerate(
        "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen "
        "seventeen eighteen nineteen twenty".split()
    )
    if word != "one"  # "which one", "no one": mostly a pronoun
}
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
    "month months year years mb gb tb kb".split()
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


def normal(text: str) -> str:
    """NFKC, no invisible characters, one space between words: look-alikes by width or zero-width joiners fall together.

    Letters of another script that only look alike stay different, so they make another text.
    """
    return " ".join(_INVISIBLE.sub("", unicodedata.normalize("NFKC", text)).split())


def traits(text: str) -> Traits:
    """Read a text's traits; 20 to 60 µs for a short question."""
    clean = normal(text)
    words = tuple(word.replace("’", "'").replace("'", "") for word in _WORD.findall(clean.casefold()))
    numbers = [found.replace(",", "").lstrip("+") for found in _NUMBER.findall(clean)]
    numbers += [_NUMERALS[word] for word in words if word in _NUMERALS]
    vocabulary = frozenset(words)
    return Traits(
        words=words,
        vocabulary=vocabulary,
        numbers=tuple(sorted(numbers)),
        negations=sum(word in _NEGATIONS for word in words) % 2 == 1,
        units=vocabulary & _UNITS,
        ids=tuple(sorted(found.casefold() for found in _ID.findall(clean))),
        code=tuple(sorted("".join(spans) for spans in _CODE.findall(clean))),
        fresh=vocabulary & _FRESH,
    )


BY_TRAIT = {"numbers": "numbers", "negation": "negations", "units": "units", "ids": "ids", "code": "code",
            "freshness": "fresh"}  # fmt: skip
"""Vetoes that are a plain difference of one trait -> the trait."""
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
    if name not in BY_TRAIT:
        return False
    values = [getattr(stored, BY_TRAIT[name]) for stored in same_answer]
    return len(values) >= 3 and len(set(values)) >= 2
