"""Taking out of recorded text what names a person or opens a door, before it is written down.

Runs on the way of a request, so every pattern reads a text once from left to right, however it is built.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any

from router.config import is_secretive

Redaction = Callable[[str], str]

# The address is an optional tail of a run: a run without one is then passed over once, not once a letter.
EMAIL = re.compile(r"[\w.+-]+(@[\w-]+(?:\.[\w-]+)+)?")
# Between digits also the spaces and dashes that typesetters and models use.
LONG_NUMBER = re.compile(r"(?<![\w.])\+?\d(?:[ \u00a0\u2009\u202f()/.\u2010-\u2015-]{0,2}\d){7,}(?!\w)")
_WORD = re.compile(r"[\w+/=.-]{16,}")
_OF_THE_FORMAT = re.compile(r"[a-z_]{1,30}")
"""Roles, types and keys of a message: words of OpenAI's format, no text of people."""
_TEXT_PARTS = ("text", "refusal")


def builtin(text: str) -> str:
    """E-mail addresses, long numbers (telephones, cards, accounts) and what looks like a key become `[...]`.

    It knows no names of people, no street addresses and no passwords.
    """
    if "@" in text:
        text = EMAIL.sub(lambda run: "[email]" if run[1] else run[0], text)
    text = _WORD.sub(lambda word: "[key]" if is_secretive(word[0]) else word[0], text)
    return LONG_NUMBER.sub("[number]", text)


def cleaned(value: Any, clean: Redaction = builtin) -> Any:
    """Messages, an answer or any other JSON value with every text in it redacted.

    Text that is JSON (structured answers, the arguments of tool calls) is redacted value by value and stays JSON.
    Pictures, sound and files cannot be redacted: `[image_url]` and the like stand in their place. Ids of tool calls
    that look like a key are numbered, so that calls and results still belong together.
    """
    return _Cleaner(clean).of(value)


class _Cleaner:
    """One redaction over one value; remembers the ids it has renamed."""

    def __init__(self, clean: Redaction) -> None:
        self._clean = clean
        self._ids: dict[str, str] = {}
        self._is_message = True
        """Whether what is read is a message, and not JSON that stands in its text."""

    def of(self, value: Any) -> Any:
        if isinstance(value, str):
            return self._text(value)
        if isinstance(value, Mapping):
            return {self._key(key): self._item(key, item) for key, item in value.items()}
        if isinstance(value, (list, tuple)):
            return [self.of(item) for item in value]
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            return value if (text := self._clean(str(value))) == str(value) else text
        return value

    def _key(self, key: Any) -> Any:
        return key if not isinstance(key, str) or _OF_THE_FORMAT.fullmatch(key) else self._clean(key)

    def _item(self, key: Any, item: Any) -> Any:
        if isinstance(item, str) and key in ("role", "type") and _OF_THE_FORMAT.fullmatch(item):
            return item
        if isinstance(item, str) and key in ("id", "tool_call_id") and self._clean(item) != item:
            return self._ids.setdefault(item, f"id_{len(self._ids) + 1}")
        if key == "content" and self._is_message and isinstance(item, (list, tuple)):
            return [self._part(part) for part in item]
        return self.of(item)

    def _part(self, part: Any) -> Any:
        kind = part.get("type") if isinstance(part, Mapping) else None
        if isinstance(kind, str) and kind not in _TEXT_PARTS:
            return {"type": "text", "text": f"[{self._clean(kind)}]"}
        return self.of(part)

    def _text(self, text: str) -> str:
        if text.lstrip()[:1] in ("{", "["):
            was_message, self._is_message = self._is_message, False
            try:
                given = json.loads(text)
                if (kept := self.of(given)) != given:
                    return json.dumps(kept, ensure_ascii=False)
            except (ValueError, RecursionError):
                pass  # no JSON, or nested too deep to be read as such: a text like others
            finally:
                self._is_message = was_message
        return self._clean(text)
