"""One answer out of its chunks, whole or cut."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router._stream import assemble
from router.transports.shapes import chat_chunks, chat_payload


def chunk(
    delta: dict[str, Any] | None = None, index: int = 0, finish: str | None = None, **rest: Any
) -> dict[str, Any]:
    choice = {"index": index, "delta": delta or {}, "finish_reason": finish}
    if "logprobs" in rest:
        choice["logprobs"] = rest.pop("logprobs")
    return {"id": "x", "object": "chat.completion.chunk", "model": "m-1", "choices": [choice], **rest}


def message(*chunks: dict[str, Any]) -> dict[str, Any]:
    made: dict[str, Any] = assemble(list(chunks))["choices"][0]["message"]
    return made


def test_texts_follow_each_other() -> None:
    answer = assemble(
        [
            chunk({"role": "assistant", "content": ""}),
            chunk({"content": "a "}),
            chunk({"content": "b"}),
            chunk(finish="stop"),
        ]
    )
    assert answer == {
        "id": "x",
        "object": "chat.completion",
        "model": "m-1",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "a b"}, "finish_reason": "stop"}],
    }


def test_several_choices_are_kept_apart_and_in_order() -> None:
    answer = assemble([chunk({"content": "b"}, 1), chunk({"content": "a"}), chunk({"content": "B"}, 1, "stop")])
    assert [(c["index"], c["message"]["content"], c["finish_reason"]) for c in answer["choices"]] == [
        (0, "a", None), (1, "bB", "stop"),
    ]  # fmt: skip


def call(
    index: int | None, id: str | None = None, name: str | None = None, arguments: str | None = None
) -> dict[str, Any]:
    part: dict[str, Any] = {"index": index, "id": id, "type": "function" if id else None}
    return chunk({"tool_calls": [{**part, "function": {"name": name, "arguments": arguments}}]})


@pytest.mark.parametrize(
    "chunks",
    [
        pytest.param([call(0, "c0", "find", ""), call(0, None, None, '{"q"'), call(0, None, None, ": 1}"),
                      call(1, "c1", "list", "{}")], id="one after the other"),
        pytest.param([call(0, "c0", "find", '{"q"'), call(1, "c1", "list", "{}"), call(0, None, None, ": 1}")],
                     id="mixed"),
        pytest.param([call(None, "c0", "find", '{"q"'), call(None, None, None, ": 1}"), call(None, "c1", "list", "{}")],
                     id="without an index"),
        pytest.param([call(0, "c0", "find", '{"q"'), call(0, "c0", None, ": 1}"), call(1, "c1", "list", "{}")],
                     id="with the id repeated"),
    ],
)  # fmt: skip
def test_tool_calls_that_come_in_pieces_are_whole_again(chunks: list[dict[str, Any]]) -> None:
    made = message(*chunks)
    assert made["content"] is None
    assert made["tool_calls"] == [
        {"id": "c0", "type": "function", "function": {"name": "find", "arguments": '{"q": 1}'}},
        {"id": "c1", "type": "function", "function": {"name": "list", "arguments": "{}"}},
    ]


def test_a_function_call_of_the_old_form_is_whole_again() -> None:
    parts = [{"name": "find", "arguments": ""}, {"arguments": '{"q"'}, {"arguments": ": 1}"}]
    made = message(*(chunk({"function_call": part}) for part in parts))
    assert made["function_call"] == {"name": "find", "arguments": '{"q": 1}'}


def test_thoughts_refusals_and_sound_are_joined() -> None:
    made = message(
        chunk({"reasoning_content": "why "}), chunk({"reasoning_content": "not", "refusal": "no"}),
        chunk({"thinking_blocks": [{"t": 1}]}), chunk({"thinking_blocks": [{"t": 2}]}),
        chunk({"audio": {"id": "a1", "data": "AA"}}), chunk({"audio": {"id": "a1", "data": "BB", "transcript": "hi"}}),
    )  # fmt: skip
    assert (made["reasoning_content"], made["refusal"], made["content"]) == ("why not", "no", "")
    assert made["thinking_blocks"] == [{"t": 1}, {"t": 2}]
    assert made["audio"] == {"id": "a1", "data": "AABB", "transcript": "hi"}


def test_logprobs_follow_each_other() -> None:
    answer = assemble(
        [chunk({"content": "a"}, logprobs={"content": [{"token": "a"}], "refusal": None}),
         chunk({"content": "b"}, logprobs={"content": [{"token": "b"}]}), chunk(logprobs=None)]
    )  # fmt: skip
    assert answer["choices"][0]["logprobs"] == {"content": [{"token": "a"}, {"token": "b"}], "refusal": []}


def test_the_last_usage_counts() -> None:
    answer = assemble([chunk({"content": "a"}, usage={"completion_tokens": 1}), chunk(usage=None),
                       {"choices": [], "usage": {"completion_tokens": 9}}])  # fmt: skip
    assert answer["usage"] == {"completion_tokens": 9}


@pytest.mark.parametrize(
    "chunks",
    [
        pytest.param([], id="nothing came"),
        pytest.param([{"choices": []}], id="an empty chunk"),
        pytest.param([{"choices": None}], id="a chunk without choices"),
        pytest.param([{"choices": [{}]}], id="a choice without anything"),
        pytest.param([{"choices": [{"delta": None, "index": None}]}], id="a choice of nothing"),
    ],
)
def test_almost_nothing_is_still_an_answer(chunks: list[dict[str, Any]]) -> None:
    answer = assemble(chunks)
    assert all(c["message"] == {"role": "assistant", "content": ""} for c in answer["choices"])
    assert all(c["finish_reason"] is None for c in answer["choices"])


def test_a_cut_stream_keeps_what_came_and_has_no_end() -> None:
    answer = assemble([chunk({"content": "half a"}), chunk({"content": " sentence"})])
    assert answer["choices"][0]["message"]["content"] == "half a sentence"
    assert answer["choices"][0]["finish_reason"] is None
    assert "usage" not in answer


def test_unknown_fields_of_the_provider_are_kept() -> None:
    answer = assemble(
        [chunk({"content": "a"}, system_fingerprint="fp"), chunk(system_fingerprint=None, citations=["c"])]
    )
    assert (answer["system_fingerprint"], answer["citations"]) == ("fp", ["c"])


@given(st.text(max_size=40))
def test_an_answer_made_into_chunks_is_the_same_answer(text: str) -> None:
    whole = chat_payload("m", text, input_tokens=3, output_tokens=4)
    assert assemble(list(chat_chunks(whole))) == whole


def test_a_tool_call_made_into_chunks_is_the_same_answer() -> None:
    whole = chat_payload("m", "", input_tokens=3, output_tokens=4)
    tool_call = {"id": "c0", "type": "function", "function": {"name": "find", "arguments": "{}"}}
    whole["choices"][0] |= {"message": {"role": "assistant", "content": "", "tool_calls": [tool_call]}}
    assert assemble(list(chat_chunks(whole))) == whole


@pytest.mark.parametrize("content", ["two words", "", [{"type": "text", "text": "in parts"}]])
def test_a_whole_answer_in_chunks_is_the_same_answer(content: Any) -> None:
    message = {"role": "assistant", "content": content}
    whole = {"choices": [{"index": 0, "message": message, "finish_reason": "stop"}], "usage": {"total_tokens": 1}}
    assert assemble(list(chat_chunks(whole))) == {**whole, "object": "chat.completion"}


def test_an_answer_without_choices_is_an_empty_stream() -> None:
    assert assemble(list(chat_chunks({})))["choices"] == []
