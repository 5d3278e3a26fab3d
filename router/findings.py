"""What of a request should perhaps stay at home: personal data and secrets, found by rules, offline.

Findings are kinds, never the text that was found. The rules know forms (addresses, numbers with a check sum, keys);
they know no names (`entities.py`), no street addresses and nothing in pictures, sound or encoded files.
Every pattern reads a text once from left to right, however it is built.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from router.config import has_key_prefix
from router.redact import EMAIL, LONG_NUMBER

PII = ("email", "phone", "card", "iban", "ssn")
SECRETS = ("key", "password", "private_key")
NAMES = ("person", "place")
"""Found by no form: `router.entities` reads for them, where a rule asks."""
GROUPS: Mapping[str, tuple[str, ...]] = {"pii": PII, "secrets": SECRETS, "names": NAMES}
KINDS = (*PII, *SECRETS, *NAMES)


def kinds_of(named: Iterable[str]) -> frozenset[str]:
    """Kinds, with groups written out."""
    return frozenset(kind for name in named for kind in GROUPS.get(name, (name,)))


def found_in(values: Iterable[Any]) -> frozenset[str]:
    """Kinds of findings in messages, parameters or any other JSON values: every text that would be sent counts."""
    return frozenset(kind for text in texts_in(values) for kind in findings(text))


def findings(text: str) -> frozenset[str]:
    """Kinds of findings in one text."""
    text = as_read(text)
    rules = _RULES if _DIGIT.search(text) else _WITHOUT_DIGITS
    return frozenset(kind for kind, is_in in rules.items() if is_in(text))


def as_read(text: str) -> str:
    """A text as a model reads it: full-width letters and digits for what they stand for, without hidden characters."""
    return text if text.isascii() else _HIDDEN.sub("", unicodedata.normalize("NFKC", text))


def secrets_in(text: str) -> frozenset[str]:
    """Kinds of secrets in one text."""
    return frozenset(kind for kind in SECRETS if _RULES[kind](text))


def texts_in(values: Iterable[Any]) -> Iterator[str]:
    """Every text within JSON values but encoded media; JSON in a text is read as such, too."""
    waiting = list(values)
    while waiting:
        value = waiting.pop()
        if isinstance(value, str):
            if not _ENCODED.match(value):
                yield value
                if "\\u" in value:
                    waiting += _unescaped(value)
        elif isinstance(value, Mapping):
            is_sound = isinstance(value.get("format"), str) and isinstance(value.get("data"), str)
            waiting += [item for key, item in value.items() if not (is_sound and key == "data")]
            waiting += [key for key in value if isinstance(key, str)]
        elif isinstance(value, (list, tuple)):
            waiting += value
        elif isinstance(value, (int, float)) and not isinstance(value, bool):
            yield str(value)


def _unescaped(text: str) -> list[Any]:
    try:
        return [json.loads(text)]
    except (ValueError, RecursionError):
        return []


_ENCODED = re.compile(r"data:[\w/+.-]{0,80};base64,")
_HIDDEN = re.compile(
    "[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180e\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufeff]"
)
_SEPARATOR = re.compile(r"\D+")


def _has_email(text: str) -> bool:
    return "@" in text and any(run[1] for run in EMAIL.finditer(text))


def _number_groups(text: str) -> Iterator[list[str]]:
    """Long numbers, each as its groups of digits."""
    for run in LONG_NUMBER.finditer(text):
        yield [group for group in _SEPARATOR.split(run[0]) if group]


def _has_card(text: str) -> bool:
    """A payment card: some neighbouring groups of digits are a number of a card network whose check digit is right."""
    for groups in _number_groups(text):
        for start in range(len(groups)):
            digits = ""
            for group in groups[start : start + 19]:
                digits += group
                if len(digits) > 19:
                    break
                if _CARD.fullmatch(digits) and luhn(digits):
                    return True
    return False


_CARD = re.compile(
    r"4(?:\d{12}|\d{15}|\d{18})|5[1-5]\d{14}|2[2-7]\d{14}|3[47]\d{13}|3[0689]\d{12}|35\d{14}|6(?:\d{15}|\d{18})"
    r"|(?:50|5[6-8])\d{14}", re.ASCII,
)  # fmt: skip
"""Visa, Mastercard, American Express, Diners, JCB, Discover, UnionPay and Maestro."""


def luhn(digits: str) -> bool:
    """Whether the last digit is the check digit of the others (ISO/IEC 7812-1)."""
    doubled = [2 * int(digit) for digit in digits[-2::-2]]
    return (sum(map(int, digits[-1::-2])) + sum(value - 9 if value > 9 else value for value in doubled)) % 10 == 0


_IBAN = re.compile(r"(?<![A-Za-z0-9])([A-Za-z]{2})(\d{2})[ -]?(?=[A-Za-z0-9])", re.ASCII)
_IBAN_LENGTHS = {
    country: int(length)
    for length, countries in {
        "15": "NO", "16": "BE", "18": "DK FI FO GL NL SD", "19": "MK SI", "20": "AT BA EE KZ LT LU XK MN",
        "21": "CH HR LI LV", "22": "BG BH CR DE GB GE IE ME RS VA", "23": "AE GI IL IQ OM SO TL",
        "24": "AD CZ ES MD PK RO SA SE SK TN VG", "25": "LY PT ST", "26": "IS TR", "27": "BI DJ FR GR IT MC MR SM",
        "28": "AL AZ BY CY DO GT HU LB NI PL SV", "29": "BR EG PS QA UA", "30": "JO KW MU", "31": "MT SC",
        "33": "RU",
    }.items()
    for country in countries.split()
}  # fmt: skip
"""Characters of an account number, by country (ISO 13616)."""


def _has_iban(text: str) -> bool:
    """An account number whose check sum (ISO 7064, modulo 97) is right."""
    for begin in _IBAN.finditer(text):
        length = _IBAN_LENGTHS.get(begin[1].upper())
        if length is None:
            continue
        # Written in groups of four, so that at most one separator stands before each group.
        account = re.sub(r"[ -]", "", text[begin.start() : begin.start() + 2 * length])[:length].upper()
        if len(account) == length and account.isascii() and account.isalnum():
            number = "".join(str(int(letter, 36)) for letter in account[4:] + account[:4])
            if int(number) % 97 == 1:
                return True
    return False


_PHONE = re.compile(
    r"(?<![\w.])(?:\+|00(?=[1-9]))\d(?:[ ().\u2010-\u2015/-]{0,2}\d){7,14}(?!\d)"
    r"|(?<![\w.-])\(?[2-9]\d\d\)?[ .-]{1,2}[2-9]\d\d[ .-]\d{4}(?![\w-])"
    r"|(?<![\w.-])\(?0\d{2,4}\)?[ /-]{1,3}\d(?:[ -]?\d){4,8}(?![\w-])"
)
_SSN = re.compile(r"(?<![\w-])(?!000|666|9)\d{3}-(?!00)\d{2}-(?!0000)\d{4}(?![\w-])")
_WORD = re.compile(r"[\w+/=.-]{16,}")
_PASSWORD = re.compile(
    r"(?i)(?<![a-z])(?:password|passwd|passwort|pwd|secret|api[_-]?key|access[_-]?token|auth[_-]?token|client[_-]?secret)"
    r"[\"']{0,2}[ \t]{0,4}(?:=|:|:=|=>| is )[ \t]{0,4}[\"']?(?![<{$\[(*]|none\b|null\b|true\b|false\b|str\b|string\b"
    r"|required\b|optional\b)(?=[^\s\"']{0,64}[\d#$%&*+@^~])[^\s\"',;]{6,}"
)  # fmt: skip
_LOGIN = re.compile(r"[a-z]://[^\s/:@]{1,64}:[^\s/@]{1,128}@")
_PRIVATE = re.compile(r"-----BEGIN [A-Z ]{0,30}PRIVATE KEY")


def _is_key(word: str) -> bool:
    return len(word) >= 20 and has_key_prefix(word) and any(map(str.isdigit, word))


_RULES: Mapping[str, Callable[[str], bool]] = {
    "email": _has_email,
    "phone": lambda text: _PHONE.search(text) is not None,
    "card": _has_card,
    "iban": _has_iban,
    "ssn": lambda text: _SSN.search(text) is not None,
    "key": lambda text: any(_is_key(part) for word in _WORD.findall(text) for part in re.split(r"[=/.]", word)),
    "password": lambda text: _PASSWORD.search(text) is not None or _LOGIN.search(text) is not None,
    "private_key": lambda text: _PRIVATE.search(text) is not None,
}
_DIGIT = re.compile(r"\d")
_OF_DIGITS = ("phone", "card", "iban", "ssn")
_WITHOUT_DIGITS = {kind: is_in for kind, is_in in _RULES.items() if kind not in _OF_DIGITS}
"""Where a text has no digit, half of the scans find nothing."""
