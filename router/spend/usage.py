"""What a call used: the provider's figures where they are possible, else our own count.

A bill rests on these numbers, so each token is counted once: running totals of a stream are merged, never added, and
no token stands in two meters.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from router.spend.prices import SERVED_UNASKED, STANDARD
from router.spend.shapes import Figures, figures_of, tier_of
from router.tokens import count_tokens
from router.types import Call, Usage, message_texts

MOST_TOKENS = 100_000_000
"""More than any call can use; a provider that reports more is wrong."""
INPUT_PARTS = ("cached_input_tokens", "cache_write_tokens", "cache_write_1h_tokens", "audio_input_tokens",
               "image_input_tokens")  # fmt: skip
OUTPUT_PARTS = ("reasoning_tokens", "audio_output_tokens", "image_output_tokens")
CACHED = INPUT_PARTS[:3]
MODES = ("speed", "inference_geo")
"""Parameters that choose a tier of their own."""


def usage_of(given: Any, call: Call, text: str, answered_tier: object = None) -> Usage:
    """The provider's usage where it is possible, else our own count.

    Missing, negative, absurd or non-integer figures, cached tokens above the input, and no output tokens for a
    text are impossible; a bill must not rest on them.

    Args:
        given: usage as the provider or litellm reports it, in any of the shapes of `router.spend.shapes`.
        call: what was sent.
        text: what came back.
        answered_tier: the answer's own `service_tier`.
    """
    raw = given if isinstance(given, Mapping) else {}
    tier = tier_of(raw, answered_tier, tier_asked(call.params))
    figures = figures_of(raw)
    if figures is not None and call.kind == "embedding":
        figures = {**figures, "output_tokens": 0, **dict.fromkeys(OUTPUT_PARTS, 0)}
    usage = None if figures is None else normalised(figures, tier)
    if usage is not None and usage.input_tokens > 0 and (usage.output_tokens > 0 or not text):
        return usage
    return _counted(call, text, tier)


def normalised(figures: Figures, tier: str = "standard") -> Usage | None:
    """Figures under our names as a `Usage` in which no token is in two meters, or None when they are impossible."""
    if not all(type(figure) is int and 0 <= figure <= MOST_TOKENS for figure in figures.values()):
        return None
    if sum(figures.get(name, 0) for name in CACHED) > figures["input_tokens"]:
        return None
    fitted = dict(figures)
    for whole, parts in (("input_tokens", INPUT_PARTS), ("output_tokens", OUTPUT_PARTS)):
        left = figures[whole]
        for name in parts:  # sound may be reported with what of it was cached, or thought: that is counted already
            fitted[name] = min(figures.get(name, 0), left)
            left -= fitted[name]
    return Usage(**fitted, service_tier=tier)


def merged(reports: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """One usage out of a stream's reports, in whatever order they come.

    Providers repeat running totals, some leaving out or zeroing what they said before (Anthropic's `message_start`
    and `message_delta`): each raw figure counts with the most that was reported of it, and only then is it added to
    another. Merging sums instead would count cached tokens twice.
    """
    whole: dict[str, Any] = {}
    for report in reports:
        for name, value in report.items():
            whole[name] = _more(whole.get(name), value)
    return whole


def _more(before: Any, now: Any) -> Any:
    if type(before) is int and type(now) is int:
        return max(before, now)
    if isinstance(before, Mapping) and isinstance(now, Mapping):
        return merged((before, now))
    return before if now is None else now


def tier_asked(params: Mapping[str, Any]) -> str | None:
    """The service tier that a request asks for, or None when it leaves the choice to the provider."""
    extra = params.get("extra_body")
    places = (params, extra) if isinstance(extra, Mapping) else (params,)
    named = next((at["service_tier"] for at in places if isinstance(at.get("service_tier"), str)), None)
    return None if named in (None, "auto") else tier_of({}, named)


def tiers_of(params: Mapping[str, Any]) -> tuple[str, ...]:
    """As which service tiers a request may be served, for a bound on its cost."""
    asked = tier_asked(params)
    if asked is not None:
        return (STANDARD, asked)
    extra = params.get("extra_body")
    places = (params, extra) if isinstance(extra, Mapping) else (params,)
    modes = [tier for at in places if (tier := tier_of({k: v for k, v in at.items() if k in MODES})) != STANDARD]
    return (*SERVED_UNASKED, *modes)


def answer_text(payload: Mapping[str, Any]) -> str:
    """All text an answer holds, in every choice, tool calls included."""
    messages = [choice.get("message") or {} for choice in payload.get("choices") or ()]
    extra = [message.get("reasoning_content") or "" for message in messages]
    return "\n".join([*(part for message in messages for part in message_texts(message)), *filter(None, extra)])


def input_characters(call: Call) -> int:
    """Characters of text that a call sends, without what formats and parameters add."""
    if call.kind == "embedding":
        given = call.params["input"]
        return sum(len(one) for one in (given if isinstance(given, list) else [given]) if isinstance(one, str))
    return sum(len(part) for message in call.messages for part in message_texts(message))


def _counted(call: Call, text: str, tier: str) -> Usage:
    made = 0
    if call.kind == "embedding":
        texts = call.params["input"] if isinstance(call.params["input"], list) else [call.params["input"]]
        read = sum(count_tokens(str(one)) for one in texts)
    else:
        read = sum(4 + sum(count_tokens(part) for part in message_texts(message)) for message in call.messages) + 3
        made = count_tokens(text) if text else 0
    return Usage(input_tokens=read, output_tokens=made, service_tier=tier, source="counted")
