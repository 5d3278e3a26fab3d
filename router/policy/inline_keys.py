"""Keys, passwords and private keys that stand in a policy's files, wherever they were put."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from router.config import Path_, withheld
from router.findings import secrets_in
from router.policy.finding import Finding, warning
from router.policy.policy import Policy

_COMMENT = re.compile(r"(?:^|\s)#")
_ADVICE = "put it into an environment variable and give that one's name (`api_key_env`); who has read the file has it"
_WORDS = {"key": "a key", "password": "a password", "private_key": "a private key"}


def inline_keys(policy: Policy) -> list[Finding]:
    """What looks like a secret in the values, keys and comments of a policy's files; it is never repeated.

    Texts under `given` of a test are left out: a test of a rule for secrets has to have one made up.
    """
    document = policy.document
    told: dict[str, Finding] = {}
    for where, key, text in _texts(document.values):
        is_given = where[:1] == ("tests",) and "given" in where
        if not is_given and (kinds := secrets_in(f"{key}: {text}") or secrets_in(text)):
            finding = warning(policy, where, _about(kinds))
            told.setdefault(finding.text, finding)
    for path, text in document.sources:
        for number, line in enumerate(text.splitlines(), 1):
            if "#" in line and (begin := _COMMENT.search(line)) and (kinds := secrets_in(line[begin.start() :])):
                column = begin.end()
                finding = Finding(level="warning", text=f"{path}:{number}:{column}: {_about(kinds)}")
                told.setdefault(finding.text, finding)
    return list(told.values())


def hushed(words: str) -> str:
    """Words out of a policy for a message, withheld where one of them could be a secret."""
    return "..." if secrets_in(words) else withheld(words)


def _about(kinds: frozenset[str]) -> str:
    what = " and ".join(_WORDS[kind] for kind in sorted(kinds))
    return f"what looks like {what} stands in the file; {_ADVICE}"


def _texts(values: Any) -> Iterator[tuple[Path_, str, str]]:
    """Every text among values, with its path and the key that it stands behind; keys are texts, too."""
    waiting: list[tuple[Path_, str, Any]] = [((), "", values)]
    while waiting:
        where, key, value = waiting.pop()
        if isinstance(value, str):
            yield where, key, value
        elif isinstance(value, dict):
            for name, inner in reversed(value.items()):
                waiting += [((*where, name), name, inner), ((*where, name), "", name)]
        elif isinstance(value, list):
            waiting += [((*where, i), key, inner) for i, inner in reversed(list(enumerate(value)))]
