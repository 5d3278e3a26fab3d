"""Every provider's figures become the same meters, and no token is counted twice."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from router._stream import assemble
from router.spend.usage import INPUT_PARTS, OUTPUT_PARTS, input_characters, merged, tiers_of, usage_of
from router.types import Call, Deployment, Usage

Raw = dict[str, Any]


def call(kind: Any = "chat", **params: Any) -> Call:
    return Call(
        request_id="r", model="m", deployment=Deployment(call="fake/m"), kind=kind,
        messages=({"role": "user", "content": "four words are here"},), params=params, timeout_s=1.0,
    )  # fmt: skip


def openai(one: Usage) -> Raw:
    return {
        "prompt_tokens": one.input_tokens, "completion_tokens": one.output_tokens,
        "total_tokens": one.input_tokens + one.output_tokens,
        "prompt_tokens_details": {"cached_tokens": one.cached_input_tokens, "audio_tokens": one.audio_input_tokens,
                                  "image_tokens": one.image_input_tokens},
        "completion_tokens_details": {"reasoning_tokens": one.reasoning_tokens,
                                      "audio_tokens": one.audio_output_tokens},
    }  # fmt: skip


def responses(one: Usage) -> Raw:
    return {
        "input_tokens": one.input_tokens, "output_tokens": one.output_tokens,
        "input_tokens_details": {"cached_tokens": one.cached_input_tokens},
        "output_tokens_details": {"reasoning_tokens": one.reasoning_tokens},
    }  # fmt: skip


def xai(one: Usage) -> Raw:
    """Thinking beside the completion, told by the total."""
    return {
        "prompt_tokens": one.input_tokens, "completion_tokens": one.output_tokens - one.reasoning_tokens,
        "total_tokens": one.input_tokens + one.output_tokens,
        "prompt_tokens_details": {"cached_tokens": one.cached_input_tokens},
        "completion_tokens_details": {"reasoning_tokens": one.reasoning_tokens},
    }  # fmt: skip


def anthropic(one: Usage) -> Raw:
    written = one.cache_write_tokens + one.cache_write_1h_tokens
    return {
        "input_tokens": one.input_tokens - one.cached_input_tokens - written,
        "output_tokens": one.output_tokens,
        "cache_read_input_tokens": one.cached_input_tokens,
        "cache_creation_input_tokens": written,
        "cache_creation": {"ephemeral_5m_input_tokens": one.cache_write_tokens,
                           "ephemeral_1h_input_tokens": one.cache_write_1h_tokens},
        "service_tier": "standard",
    }  # fmt: skip


def bedrock(one: Usage) -> Raw:
    written = one.cache_write_tokens + one.cache_write_1h_tokens
    return {
        "inputTokens": one.input_tokens - one.cached_input_tokens - written, "outputTokens": one.output_tokens,
        "totalTokens": one.input_tokens + one.output_tokens,
        "cacheReadInputTokens": one.cached_input_tokens, "cacheWriteInputTokens": written,
        "cacheDetails": [{"ttl": "5m", "inputTokens": one.cache_write_tokens},
                         {"ttl": "1h", "inputTokens": one.cache_write_1h_tokens}],
    }  # fmt: skip


def gemini(one: Usage) -> Raw:
    plain = one.input_tokens - one.cached_input_tokens - one.audio_input_tokens - one.image_input_tokens
    return {
        "promptTokenCount": one.input_tokens, "cachedContentTokenCount": one.cached_input_tokens,
        "candidatesTokenCount": one.output_tokens - one.reasoning_tokens, "thoughtsTokenCount": one.reasoning_tokens,
        "totalTokenCount": one.input_tokens + one.output_tokens,
        "promptTokensDetails": [{"modality": "TEXT", "tokenCount": plain + one.cached_input_tokens},
                                {"modality": "AUDIO", "tokenCount": one.audio_input_tokens},
                                {"modality": "IMAGE", "tokenCount": one.image_input_tokens}],
        "cacheTokensDetails": [{"modality": "TEXT", "tokenCount": one.cached_input_tokens}],
        "candidatesTokensDetails": [{"modality": "AUDIO", "tokenCount": one.audio_output_tokens}],
    }  # fmt: skip


def deepseek(one: Usage) -> Raw:
    return {
        "prompt_tokens": one.input_tokens, "completion_tokens": one.output_tokens,
        "prompt_cache_hit_tokens": one.cached_input_tokens,
        "prompt_cache_miss_tokens": one.input_tokens - one.cached_input_tokens,
        "completion_tokens_details": {"reasoning_tokens": one.reasoning_tokens},
    }  # fmt: skip


def through_litellm(one: Usage) -> Raw:
    """As litellm 1.106 reports an answer of Anthropic's: everything inside, and the cache's part told three times."""
    written = one.cache_write_tokens + one.cache_write_1h_tokens
    return {
        "prompt_tokens": one.input_tokens, "completion_tokens": one.output_tokens,
        "total_tokens": one.input_tokens + one.output_tokens,
        "prompt_tokens_details": {
            "cached_tokens": one.cached_input_tokens, "cache_creation_tokens": written, "cache_write_tokens": written,
            "cache_creation_token_details": {"ephemeral_5m_input_tokens": one.cache_write_tokens,
                                             "ephemeral_1h_input_tokens": one.cache_write_1h_tokens}},
        "cache_read_input_tokens": one.cached_input_tokens, "cache_creation_input_tokens": written,
        "completion_tokens_details": {"reasoning_tokens": one.reasoning_tokens},
    }  # fmt: skip


CACHE = {"cache_write_tokens", "cache_write_1h_tokens"}
MEDIA = {"audio_input_tokens", "image_input_tokens", "audio_output_tokens"}
THOUGHT = {"reasoning_tokens"}
TOLD: dict[str, tuple[Callable[[Usage], Raw], set[str]]] = {
    "openai": (openai, MEDIA | THOUGHT), "responses": (responses, THOUGHT), "xai": (xai, THOUGHT),
    "anthropic": (anthropic, CACHE), "bedrock": (bedrock, CACHE), "gemini": (gemini, MEDIA | THOUGHT),
    "deepseek": (deepseek, THOUGHT), "litellm": (through_litellm, CACHE | THOUGHT),
}  # fmt: skip
"""Each shape, with the meters it can tell beyond input, output and cached."""
COUNT = st.integers(0, 100_000)


@st.composite
def used(draw: st.DrawFn, meters: set[str]) -> Usage:
    """Some usage with the meters given."""
    parts = {name: draw(COUNT) for name in [*meters, "cached_input_tokens"]}
    read = sum(parts.get(name, 0) for name in INPUT_PARTS) + draw(st.integers(1, 100_000))
    made = sum(parts.get(name, 0) for name in OUTPUT_PARTS) + draw(st.integers(1, 100_000))
    return Usage(input_tokens=read, output_tokens=made, **parts)


def shapes() -> st.SearchStrategy[tuple[str, Usage]]:
    return st.sampled_from(sorted(TOLD)).flatmap(lambda name: st.tuples(st.just(name), used(TOLD[name][1])))


@given(shapes())
def test_every_providers_figures_become_the_same_meters(case: tuple[str, Usage]) -> None:
    name, truth = case
    assert usage_of(TOLD[name][0](truth), call(), "fine") == truth


@given(shapes(), st.integers(0, 2**32), st.integers(1, 6))
def test_a_streams_running_totals_count_once_in_whatever_order_they_come(
    case: tuple[str, Usage], seed: int, parts: int
) -> None:
    name, truth = case
    whole, chance = TOLD[name][0](truth), random.Random(seed)
    # Each report leaves out, or tells in part, what the last one tells whole.
    reports = [{key: _less(value, chance) for key, value in whole.items() if chance.random() < 0.7}
               for _ in range(parts)]  # fmt: skip
    reports += [whole, whole]
    chance.shuffle(reports)
    assert usage_of(merged(reports), call(), "fine") == truth
    chunks = [{"choices": [{"delta": {"content": "x"}}], "usage": one} for one in reports]
    assert usage_of(assemble(chunks)["usage"], call(), "fine") == truth


def _less(value: Any, chance: random.Random) -> Any:
    if isinstance(value, Mapping):
        return {key: _less(inner, chance) for key, inner in value.items()}
    return chance.randint(0, value) if isinstance(value, int) else value


def test_anthropics_start_and_delta_are_one_usage() -> None:
    start = {"input_tokens": 10, "cache_read_input_tokens": 900, "cache_creation_input_tokens": 90, "output_tokens": 1}
    delta = {"input_tokens": 10, "cache_read_input_tokens": 900, "cache_creation_input_tokens": 90, "output_tokens": 42}
    short = {"output_tokens": 42}
    for last in (delta, short):
        assert usage_of(merged([start, last]), call(), "fine") == Usage(
            input_tokens=1000, output_tokens=42, cached_input_tokens=900, cache_write_tokens=90
        )


values: st.SearchStrategy[Any] = st.none() | st.booleans() | st.integers(-5, 500) | st.text(max_size=3)
NAMES = sorted({key for tell, meters in TOLD.values() for one in [Usage(input_tokens=9, output_tokens=9)]
                for key, value in tell(one).items() for key in [key, *(value if isinstance(value, dict) else ())]}
               | {"iterations", "total_tokens"})  # fmt: skip
nested = st.recursive(
    values, lambda inner: st.dictionaries(st.sampled_from(NAMES), inner, max_size=8) | st.lists(inner, max_size=3),
    max_leaves=20,
)  # fmt: skip


@settings(deadline=None)  # the first own count loads a table
@given(st.dictionaries(st.sampled_from(NAMES), nested, max_size=10), st.sampled_from(["", "fine"]))
def test_whatever_is_reported_no_meter_is_negative_and_no_token_in_two(given: Raw, text: str) -> None:
    usage = usage_of(given, call(), text)
    counts = {one.name: getattr(usage, one.name) for one in fields(Usage) if one.name.endswith("_tokens")}
    assert all(type(count) is int and count >= 0 for count in counts.values())
    assert sum(counts[name] for name in INPUT_PARTS) <= usage.input_tokens
    assert sum(counts[name] for name in OUTPUT_PARTS) <= usage.output_tokens


def test_litellms_own_translation_agrees_with_ours() -> None:
    from router.transports.litellm import _litellm

    _litellm()
    from litellm.llms.anthropic.chat.transformation import AnthropicConfig
    from litellm.llms.vertex_ai.gemini.vertex_and_google_ai_studio_gemini import VertexGeminiConfig

    raw = {"input_tokens": 10, "cache_read_input_tokens": 900, "cache_creation_input_tokens": 90, "output_tokens": 42,
           "cache_creation": {"ephemeral_5m_input_tokens": 60, "ephemeral_1h_input_tokens": 30}}  # fmt: skip
    theirs = AnthropicConfig().calculate_usage(usage_object=raw, reasoning_content=None).model_dump(warnings=False)
    assert usage_of(theirs, call(), "fine") == usage_of(raw, call(), "fine")
    truth = Usage(input_tokens=1000, output_tokens=300, cached_input_tokens=500, audio_input_tokens=100,
                  reasoning_tokens=200)  # fmt: skip
    answer: Any = {"usageMetadata": gemini(truth)}
    theirs = VertexGeminiConfig._calculate_usage(answer).model_dump(warnings=False)
    assert usage_of(theirs, call(), "fine") == truth


@pytest.mark.parametrize(
    ("given", "answered", "params", "tier"),
    [
        ({}, None, {}, "standard"), ({}, "default", {}, "standard"), ({}, "flex", {}, "flex"),
        ({}, None, {"service_tier": "priority"}, "priority"), ({}, "default", {"service_tier": "flex"}, "standard"),
        ({"service_tier": "batch"}, None, {}, "batch"), ({"speed": "fast"}, None, {}, "fast"),
        ({"speed": "fast", "inference_geo": "us"}, None, {}, "fast us"),
        ({"inference_geo": "global"}, None, {}, "standard"),
    ],
    ids=str,
)  # fmt: skip
def test_the_service_tier_is_what_was_served_else_what_was_asked(
    given: Raw, answered: Any, params: Raw, tier: str
) -> None:
    full = {"prompt_tokens": 5, "completion_tokens": 5, **given}
    assert usage_of(full, call(**params), "fine", answered).service_tier == tier


def test_a_request_may_be_served_as_what_it_asks_for_or_as_what_a_provider_chooses() -> None:
    assert tiers_of({"service_tier": "flex"}) == ("standard", "flex")
    assert set(tiers_of({})) == {"standard", "batch", "flex", "priority"}
    assert "fast" in tiers_of({"extra_body": {"speed": "fast"}})


def test_characters_are_those_of_the_text_that_is_sent() -> None:
    assert input_characters(call()) == len("four words are here")
    assert input_characters(call("embedding", input=["ab", "cde", [1, 2]])) == 5
