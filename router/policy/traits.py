"""What rules ask about one request; each thing is worked out once, when the first rule asks for it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from functools import cached_property
from typing import Any
from zoneinfo import ZoneInfo

from router.findings import as_read, found_in, texts_in
from router.language import language_of
from router.tokens import count_request
from router.types import TAG_NAMES, Request, message_texts

UsedOf = Callable[[str], float | None]
"""Used share of a budget, by its name; None where the request is not booked on it."""
_PARTS = {
    "text": None, "refusal": None, "image_url": "image", "image": "image", "input_image": "image",
    "input_audio": "audio", "audio": "audio", "video_url": "video", "video": "video", "input_video": "video",
}  # fmt: skip
"""Of OpenAI's kinds of content; what is not listed is a file."""


def used_unknown(name: str) -> None:
    """Of a budget that nobody keeps."""


class Traits:
    """A request as rules see it.

    Args:
        request: what is asked.
        task: its task, if known.
        now: the moment.
        used: how much of a budget is used.
        told: what an earlier decision about the same request had seen (`Facts.asked`), and is not worked out again.
        size: upper bound of its input tokens, where not to be counted here.
    """

    def __init__(
        self, request: Request, *, task: str | None, now: datetime, used: UsedOf = used_unknown,
        told: Mapping[str, Any] | None = None, size: Callable[[], int] | None = None,
    ) -> None:  # fmt: skip
        self._request, self.task, self.now, self._used, self._told = request, task, now, used, told or {}
        self._size = size or (lambda: count_request(request))
        self._clocks: dict[str, tuple[int, int]] = {}
        self.asked: dict[str, Any] = {}
        """What was worked out and cannot be read off a ledger row; holds no text."""

    @cached_property
    def tags(self) -> Mapping[str, str]:
        """Named and free-form tags that are set."""
        tags = self._request.tags
        named = {name: value for name in TAG_NAMES if (value := getattr(tags, name)) is not None}
        return {**tags.extra, **named}

    @cached_property
    def input_tokens(self) -> int:
        """Upper bound of the input tokens."""
        return self._size()

    @property
    def language(self) -> str:
        """Of the last user message; of all texts where there is none."""
        return str(self._once("language", lambda: language_of(self._last_words())))

    @property
    def modalities(self) -> list[str]:
        """What the request carries beside text; `text` where that is all."""
        found: list[str] = self._once("modality", self._carried)
        return found

    def clock(self, zone: str) -> tuple[int, int]:
        """Day of the week, from Monday as 0, and minutes since midnight in a time zone."""
        known = self._clocks.get(zone)
        if known is None:
            here = self.now.astimezone(ZoneInfo(zone))
            known = self._clocks[zone] = here.weekday(), here.hour * 60 + here.minute
        return known

    @property
    def has_tools(self) -> bool:
        """Whether it offers tools to call."""
        params = self._request.params
        return bool(params.get("tools") or params.get("functions"))

    @property
    def findings(self) -> list[str]:
        """Kinds of personal data and secrets in everything that would be sent."""
        found: list[str] | None = self.asked.get("findings")  # a thousand rules may ask
        return found if found is not None else self._once("findings", self._found)

    @property
    def names(self) -> list[str]:
        """Kinds of names in the same; reading for them takes milliseconds, so only rules that ask do it.

        Raises:
            ConfigurationError: nothing on this machine finds names.
        """
        found: list[str] | None = self.asked.get("names")
        return found if found is not None else self._once("names", self._named)

    def used(self, name: str) -> float | None:
        """Used share of a budget."""
        shares: dict[str, float | None] = self.asked.setdefault("used", {})
        if name not in shares:
            told = self._told.get("used", {})
            shares[name] = told[name] if name in told else self._used(name)
        return shares[name]

    def _once(self, name: str, work: Callable[[], Any]) -> Any:
        if name not in self.asked:
            self.asked[name] = self._told[name] if name in self._told else work()
        return self.asked[name]

    def _found(self) -> list[str]:
        return sorted(found_in([*self._request.messages, self._request.params]))

    def _named(self) -> list[str]:
        from router.entities import named_in  # only with a library that few have

        texts = texts_in([*self._request.messages, self._request.params])
        return sorted(named_in(as_read(text) for text in texts))

    def _last_words(self) -> str:
        said = (message for message in reversed(self._request.messages) if message.get("role") == "user")
        return "\n".join(text for message in [*said][:1] for text in message_texts(message)) or self._request.text

    def _carried(self) -> list[str]:
        kinds = {
            _PARTS.get(str(part.get("type") or "text"), "file")
            for message in self._request.messages
            if isinstance(content := message.get("content"), (list, tuple))
            for part in content
            if isinstance(part, Mapping)
        }
        return sorted(kind for kind in kinds if kind) or ["text"]
