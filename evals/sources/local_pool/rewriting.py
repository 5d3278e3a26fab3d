"""The same words in another form; a program can check the result."""

from __future__ import annotations

import json
from random import Random

from evals.sources.local_pool.words import ANIMALS, COLOURS, FRUITS, MONTHS, NOUNS, Draft

_SIZES = ("big", "small", "tiny", "huge")
_TENS = "twenty thirty forty fifty sixty seventy eighty ninety".split()
_ONES = "one two three four five six seven eight nine".split()
_PLURALS = {
    "box": "boxes", "city": "cities", "child": "children", "mouse": "mice", "leaf": "leaves", "foot": "feet",
    "bus": "buses", "baby": "babies", "knife": "knives", "tooth": "teeth", "dish": "dishes", "story": "stories",
    "man": "men", "woman": "women", "wolf": "wolves", "berry": "berries", "church": "churches", "goose": "geese",
}  # fmt: skip


def upper_case(random: Random) -> Draft:
    """All letters large."""
    words = " ".join(_words(random, random.randint(2, 4)))
    return Draft("Write the words in upper case. Example: big house -> BIG HOUSE", f"{words} ->", words.upper())


def snake_case(random: Random) -> Draft:
    """A name for a variable."""
    words = _words(random, random.randint(2, 3))
    shown = " ".join(word.capitalize() for word in words)
    return Draft(
        "Write the words in snake_case. Example: Big Old House -> big_old_house", f"{shown} ->", "_".join(words)
    )


def iso_date(random: Random) -> Draft:
    """A date as YYYY-MM-DD."""
    day, month, year = random.randint(1, 28), random.randint(1, 12), random.randint(1990, 2030)
    return Draft(
        "Write the date as YYYY-MM-DD. Example: 3 May 2020 -> 2020-05-03",
        f"{day} {MONTHS[month - 1]} {year} ->",
        f"{year}-{month:02d}-{day:02d}",
    )


def plural(random: Random) -> Draft:
    """The plural of a noun, with a colour before it."""
    noun, colour = random.choice(list(_PLURALS)), random.choice(COLOURS)
    word = random.choice((*_SIZES, "nice", "strange", "famous", "simple"))
    return Draft(
        "Write the plural. Example: old grey dog -> old grey dogs",
        f"{word} {colour} {noun} ->",
        f"{word} {colour} {_PLURALS[noun]}",
    )


def json_list(random: Random) -> Draft:
    """Words as a JSON list."""
    words = _words(random, random.randint(2, 4))
    return Draft(
        'Write the words as a JSON list on one line. Example: red, blue -> ["red", "blue"]',
        f"{', '.join(words)} ->",
        json.dumps(words),
    )


def digits(random: Random) -> Draft:
    """A number in figures."""
    tens, ones = random.randrange(len(_TENS)), random.randrange(1, 10)
    words = " ".join(_words(random, 1))
    return Draft(
        "Write the number in digits. Example: thirty-one houses -> 31 houses",
        f"{_TENS[tens]}-{_ONES[ones - 1]} {words}s ->",
        f"{(tens + 2) * 10 + ones} {words}s",
    )


def last_word(random: Random) -> Draft:
    """The last of some words, with a large first letter."""
    words = _words(random, random.randint(3, 5))
    return Draft(
        "Write the last word, capitalized. Example: big old house -> House",
        f"{' '.join(words)} ->",
        words[-1].capitalize(),
    )


def last_first(random: Random) -> Draft:
    """Words in reverse order."""
    words = _words(random, random.randint(2, 4))
    return Draft(
        "Write the words in reverse order. Example: big old house -> house old big",
        f"{' '.join(words)} ->",
        " ".join(words[::-1]),
    )


def _words(random: Random, count: int) -> list[str]:
    return random.sample([*NOUNS, *ANIMALS, *FRUITS], count)


KINDS = {
    "upper_case": upper_case,
    "snake_case": snake_case,
    "iso_date": iso_date,
    "plural": plural,
    "json_list": json_list,
    "digits": digits,
    "last_word": last_word,
    "last_first": last_first,
}
