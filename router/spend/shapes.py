"""The usage figures of each provider, raw and as litellm reports them, under the names of `Usage`.

What they count differs: Anthropic and Bedrock leave what a prompt cache read or wrote out of the input, Gemini reports
thinking beside the answer, OpenAI counts all of it inside. Here input and output are always everything.
The values are unchecked; `router.spend.usage` decides whether they are possible.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

Raw = Mapping[str, Any]
Figures = dict[str, Any]
"""Meter of `Usage` -> what the provider reported for it."""

CACHE_APART = ("cache_read_input_tokens", "cache_creation_input_tokens", "cache_creation")
TIERS = {"batches": "batch", "default": "standard", "auto": "standard", "on_demand": "standard", "scale": "standard",
         "standard_only": "standard"}  # fmt: skip


def figures_of(usage: Raw) -> Figures | None:
    """A provider's usage under our names, or None when its shape is not known."""
    for marks, read in SHAPES:
        if any(mark in usage for mark in marks):
            return read(usage)
    return None


def tier_of(usage: Raw, answered: object = None, asked: object = None) -> str:
    """What a call was served as, by the usage, else by the answer, else by what the request asked for.

    Anthropic's fast mode and its regional processing have a price of their own: `fast`, `us`, `fast us`.
    """
    named = next((word for word in (usage.get("service_tier"), answered, asked) if isinstance(word, str) and word), "")
    word = named.lower()[:40]
    tier = TIERS.get(word, word) or "standard"
    if tier != "standard":
        return tier
    return (
        " ".join(word for name, word in (("speed", "fast"), ("inference_geo", "us")) if usage.get(name) == word) or tier
    )


def _openai_chat(usage: Raw) -> Figures:
    """OpenAI's chat completions, whoever serves them (DeepSeek, xAI, Mistral, Groq ...), and everything of litellm."""
    read, made = usage.get("prompt_tokens"), usage.get("completion_tokens", 0)
    into, out = _part(usage, "prompt_tokens_details"), _part(usage, "completion_tokens_details")
    cached = _first(
        into.get("cached_tokens"), usage.get("prompt_cache_hit_tokens"), usage.get("cache_read_input_tokens")
    )
    writes = _first(into.get("cache_write_tokens"), into.get("cache_creation_tokens"),
                    usage.get("cache_creation_input_tokens"))  # fmt: skip
    thought = _first(out.get("reasoning_tokens"))
    # Most count thinking inside the output. Those that do not show it by a sum that only so adds up.
    if (
        _are_counts(read, made, thought)
        and thought
        and (thought > made or usage.get("total_tokens") == read + made + thought)
    ):
        made += thought
    return {
        "input_tokens": read,
        "output_tokens": made,
        "cached_input_tokens": cached,
        **_writes(writes, _part(into, "cache_creation_token_details") or _part(usage, "cache_creation")),
        **_seen_and_heard(into),
        "reasoning_tokens": thought,
        "audio_output_tokens": _first(out.get("audio_tokens")),
        "image_output_tokens": _first(out.get("image_tokens")),
    }


def _openai_responses(usage: Raw) -> Figures:
    """OpenAI's responses: the same under other names."""
    into, out = _part(usage, "input_tokens_details"), _part(usage, "output_tokens_details")
    return {
        "input_tokens": usage.get("input_tokens"),
        "output_tokens": usage.get("output_tokens", 0),
        "cached_input_tokens": _first(into.get("cached_tokens")),
        "cache_write_tokens": _first(into.get("cache_write_tokens")),
        **_seen_and_heard(into),
        "reasoning_tokens": _first(out.get("reasoning_tokens")),
        "audio_output_tokens": _first(out.get("audio_tokens")),
        "image_output_tokens": _first(out.get("image_tokens")),
    }


def _anthropic(usage: Raw) -> Figures:
    """Anthropic's messages: `input_tokens` leaves out what the cache read and wrote."""
    parts = _rows(usage, "iterations") or [usage]  # a conversation that was shortened on the way: each round is billed
    cached, written = (_total(parts, f"cache_{verb}_input_tokens") for verb in ("read", "creation"))
    return {
        "input_tokens": _sum(_total(parts, "input_tokens"), cached, written),
        "output_tokens": _total(parts, "output_tokens"),
        "cached_input_tokens": cached,
        **_writes(written, _part(usage, "cache_creation")),
        "reasoning_tokens": _first(_part(usage, "output_tokens_details").get("thinking_tokens")),
    }


def _gemini(usage: Raw) -> Figures:
    """Gemini's `usageMetadata`, in either spelling.

    Thinking stands beside the candidates, unless the total shows it inside; what a tool read stands beside the
    prompt; what was cached, inside.
    """
    name = {_camel(key): value for key, value in usage.items()}
    cached, thought = _first(name.get("cachedContentTokenCount")), _first(name.get("thoughtsTokenCount"))
    read = _sum(name.get("promptTokenCount"), _first(name.get("toolUsePromptTokenCount")))
    made = _first(name.get("candidatesTokenCount"), name.get("responseTokenCount"))
    is_inside = _are_counts(made, thought, read) and thought <= made and name.get("totalTokenCount") == read + made
    return {
        "input_tokens": read,
        "output_tokens": made if is_inside else _sum(made, thought),
        "cached_input_tokens": cached,
        "audio_input_tokens": _fresh(name, "AUDIO"),
        "image_input_tokens": _sum(_fresh(name, "IMAGE"), _fresh(name, "VIDEO")),
        "reasoning_tokens": thought,
        "audio_output_tokens": _modal(name, "candidatesTokensDetails", "AUDIO"),
        "image_output_tokens": _modal(name, "candidatesTokensDetails", "IMAGE"),
    }


def _bedrock(usage: Raw) -> Figures:
    """Bedrock's Converse: as Anthropic, the input leaves out what the cache read and wrote."""
    cached = _first(usage.get("cacheReadInputTokens"), usage.get("cacheReadInputTokenCount"))
    written = _first(usage.get("cacheWriteInputTokens"), usage.get("cacheWriteInputTokenCount"))
    by_age = [one for one in _rows(usage, "cacheDetails") if one.get("ttl") == "1h"]
    return {
        "input_tokens": _sum(usage.get("inputTokens"), cached, written),
        "output_tokens": usage.get("outputTokens", 0),
        "cached_input_tokens": cached,
        **_writes(written, {"ephemeral_1h_input_tokens": _total(by_age, "inputTokens")}),
    }


SHAPES: tuple[tuple[tuple[str, ...], Callable[[Raw], Figures]], ...] = (
    (("prompt_tokens", "completion_tokens"), _openai_chat),
    (CACHE_APART, _anthropic),
    (("promptTokenCount", "prompt_token_count", "totalTokenCount", "total_token_count"), _gemini),
    (("inputTokens", "outputTokens"), _bedrock),
    (("input_tokens", "output_tokens"), _openai_responses),
)
"""What a shape is known by, in the order in which they are looked for."""


def _writes(written: Any, by_age: Raw) -> Figures:
    """Cache writes by how long they are kept; without details all are for minutes."""
    hour = _first(by_age.get("ephemeral_1h_input_tokens"))
    if not _are_counts(written, hour):
        return {"cache_write_tokens": written, "cache_write_1h_tokens": hour}
    return {"cache_write_tokens": max(0, written - hour), "cache_write_1h_tokens": hour}


def _seen_and_heard(details: Raw) -> Figures:
    """OpenAI counts cached sound and pictures among all sound and pictures, and says how many of them were cached."""
    cached = _part(details, "cached_tokens_details")

    def fresh(name: str) -> Any:
        found, old = _first(details.get(name)), _first(cached.get(name))
        return max(0, found - old) if _are_counts(found, old) else found

    return {
        "audio_input_tokens": fresh("audio_tokens"),
        "image_input_tokens": _sum(fresh("image_tokens"), fresh("video_tokens")),
    }


def _fresh(name: Raw, kind: str) -> Any:
    found, old = _modal(name, "promptTokensDetails", kind), _modal(name, "cacheTokensDetails", kind)
    return max(0, found - old) if _are_counts(found, old) else found


def _modal(name: Raw, group: str, kind: str) -> Any:
    rows = [row for row in _rows(name, group) if str(row.get("modality", "")).upper().endswith(kind)]
    return _sum(*(_first(row.get("tokenCount"), row.get("token_count")) for row in rows))


def _rows(usage: Raw, name: str) -> list[Raw]:
    found = usage.get(name)
    return [row for row in found if isinstance(row, Mapping)] if isinstance(found, list) else []


def _part(usage: Raw, name: str) -> Raw:
    found = usage.get(name)
    return found if isinstance(found, Mapping) else {}


def _first(*values: Any) -> Any:
    """The first that was reported, else 0."""
    return next((value for value in values if value is not None), 0)


def _total(parts: Iterable[Raw], name: str) -> Any:
    return _sum(*(_first(part.get(name)) for part in parts))


def _sum(*values: Any) -> Any:
    """Their sum; the first that is no count, or the first that is negative, if there is one."""
    wrong = [value for value in values if not _are_counts(value) or value < 0]
    return wrong[0] if wrong else sum(values)


def _are_counts(*values: Any) -> bool:
    return all(type(value) is int for value in values)


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(word.title() for word in rest)
