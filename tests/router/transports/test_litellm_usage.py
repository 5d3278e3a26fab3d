"""Usage through litellm: what each provider reported on the wire is what is billed, streamed or whole."""

from __future__ import annotations

import json
from typing import Any

import pytest
from litellm_calls import Ask
from loopback import Provider, malformed, reply

from router._stream import assemble
from router.spend.usage import answer_text, usage_of
from router.types import Call, Usage


def billed(ask: Ask, call: Call) -> Usage:
    answer = ask(call)
    payload: Any = assemble(answer) if call.stream else answer
    return usage_of(payload.get("usage"), call, answer_text(payload), payload.get("service_tier"))


READ = {"input_tokens": 10, "cache_read_input_tokens": 900, "cache_creation_input_tokens": 90,
        "cache_creation": {"ephemeral_5m_input_tokens": 60, "ephemeral_1h_input_tokens": 30}}  # fmt: skip
CLAUDE = Usage(input_tokens=1000, output_tokens=42, cached_input_tokens=900, cache_write_tokens=60,
               cache_write_1h_tokens=30)  # fmt: skip


def lines(events: list[dict[str, Any]]) -> bytes:
    return "".join(f"event: {one['type']}\ndata: {json.dumps(one)}\n\n" for one in events).encode()


@pytest.mark.parametrize("is_repeated", [False, True], ids=["delta tells the output", "delta repeats everything"])
def test_anthropics_start_and_delta_are_billed_once(ask: Ask, make: Any, provider: Provider, is_repeated: bool) -> None:
    message = {"id": "m", "type": "message", "role": "assistant", "content": [], "model": "c", "stop_reason": None}
    end = {**(READ if is_repeated else {}), "output_tokens": 42}
    stream = lines([
        {"type": "message_start", "message": {**message, "usage": {**READ, "output_tokens": 1}}},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "good day"}},
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": end},
        {"type": "message_stop"},
    ])  # fmt: skip
    provider.script("claude-x", [malformed(stream)])
    base = provider.url.removesuffix("/v1")
    assert billed(ask, make(via="anthropic", model="claude-x", api_base=base, stream=True)) == CLAUDE


def test_anthropics_whole_answer_is_billed_the_same(ask: Ask, make: Any, provider: Provider) -> None:
    body = {"id": "m", "type": "message", "role": "assistant", "model": "c", "stop_reason": "end_turn",
            "content": [{"type": "text", "text": "good day"}], "usage": {**READ, "output_tokens": 42}}  # fmt: skip
    provider.script("claude-x", [malformed(json.dumps(body).encode())])
    base = provider.url.removesuffix("/v1")
    assert billed(ask, make(via="anthropic", model="claude-x", api_base=base)) == CLAUDE


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_deepseeks_cache_hits_are_billed_as_cached(ask: Ask, make: Any, provider: Provider, stream: bool) -> None:
    usage = {"prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 120, "prompt_cache_hit_tokens": 64,
             "prompt_cache_miss_tokens": 36, "completion_tokens_details": {"reasoning_tokens": 5}}  # fmt: skip
    provider.script("chat-x", [reply("fine", usage=usage)])
    truth = Usage(input_tokens=100, output_tokens=20, cached_input_tokens=64, reasoning_tokens=5)
    assert billed(ask, make(via="deepseek", model="chat-x", stream=stream)) == truth


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_openais_answer_is_billed_as_the_tier_that_served_it(
    ask: Ask, make: Any, provider: Provider, stream: bool
) -> None:
    usage = {"prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 120,
             "prompt_tokens_details": {"cached_tokens": 40, "audio_tokens": 0},
             "completion_tokens_details": {"reasoning_tokens": 5, "audio_tokens": 0}}  # fmt: skip
    provider.script("small", [reply("fine", usage=usage, service_tier="flex")])
    truth = Usage(input_tokens=100, output_tokens=20, cached_input_tokens=40, reasoning_tokens=5, service_tier="flex")
    assert billed(ask, make(stream=stream, service_tier="auto")) == truth


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_geminis_thoughts_are_billed_as_output(ask: Ask, make: Any, provider: Provider, stream: bool) -> None:
    def part(made: int, **more: Any) -> dict[str, Any]:
        content = {"role": "model", "parts": [{"text": "good day"}]}
        usage = {"promptTokenCount": 1000, "cachedContentTokenCount": 600, "candidatesTokenCount": made,
                 "thoughtsTokenCount": 200, "totalTokenCount": 1200 + made,
                 "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 900},
                                         {"modality": "AUDIO", "tokenCount": 100}]}  # fmt: skip
        return {"candidates": [{"content": content, "index": 0, **more}], "usageMetadata": usage}

    parts = [part(40), part(100, finishReason="STOP")]
    body = "".join(f"data: {json.dumps(one)}\n\n" for one in parts) if stream else json.dumps(parts[-1])
    provider.script("None", [malformed(body.encode())])  # the model stands in Gemini's address, not in its body
    truth = Usage(input_tokens=1000, output_tokens=300, cached_input_tokens=600, audio_input_tokens=100,
                  reasoning_tokens=200)  # fmt: skip
    assert billed(ask, make(via="gemini", model="gemini-x", stream=stream)) == truth
