"""A model in the shadow is asked what was answered, after it was, and nobody who waits for an answer hears of it."""

from __future__ import annotations

import asyncio
import json
import time
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from loopback import Provider, disconnect, malformed, reply, stall, status, tool_call
from shaded import HI, LONG_S, POLICY, SHADOW, Make, missed, rows, standing

import router
from router.errors import ProviderUnavailableError
from router.shadows import SUFFIX
from router.spend.texts import TextReader


def test_the_answer_is_served_as_ever_and_the_shadow_has_a_row_of_its_own(make: Make, provider: Provider) -> None:
    provider.script("old", [reply("The answer is 4.")])
    provider.script("new", [reply("The answer is 4")])
    one = make()
    done = one.complete(HI, task="sums", team="a", customer="acme", run_id="r", tags={"plan": "pro"})
    assert (done.text, done.model, len(done.attempts)) == ("The answer is 4.", "old", 1)
    assert done.cost_usd == Decimal("0.000007")
    (row,) = rows(one)
    assert (row["id"], row["model_served"], row["outcome"], row["cache"]) == (done.id + SUFFIX, "new", "ok", "off")
    assert (row["team"], row["customer"], row["run_id"], row["tags"]) == ("a", "acme", "r", '{"plan": "pro"}')
    assert (row["task"], row["rule"]) == ("sums", "chat")
    assert json.loads(row["decision"])["shadow_of"] == done.id
    (call,) = one.ledger.attempts(row["id"])
    assert (call["role"], call["cost_pusd"]) == ("shadow", 28_000_000)
    found = standing(one)
    assert (found["name"], found["n"], found["same"]["share"], found["errors"]) == ("chat/new", 1, 1.0, {})
    assert (found["cost"]["ratio"], found["missed"]) == (4.0, {})


def test_what_is_asked_is_what_was_asked(make: Make, provider: Provider) -> None:
    tools = [{"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}]
    provider.script("old", [reply("x")])
    list(
        make().complete(
            HI, temperature=0.5, max_tokens=7, tools=tools, stream=True, stream_options={"include_usage": True}
        )
    )
    time_is_up = time.monotonic() + 30
    while not provider.requests_for("new") and time.monotonic() < time_is_up:
        time.sleep(0.01)
    asked, again = provider.requests_for("old")[0].body, provider.requests_for("new")[0].body
    assert asked.pop("stream") and asked.pop("stream_options")
    assert not again.pop("stream", False)
    assert "stream_options" not in again
    assert {**asked, "model": "new"} == again


def test_a_shadow_that_stalls_delays_nobody_and_close_ends_without_it(make: Make, provider: Provider) -> None:
    provider.always("new", stall(LONG_S))
    one = make(("data:", "budgets: [{limit_usd: 1}]\ndata:"))
    began_s = time.monotonic()
    done = [one.complete(HI, max_tokens=5) for _ in range(20)]
    assert {each.text for each in done} == {"one two three"}
    one.close()
    assert time.monotonic() - began_s < LONG_S / 2
    found = rows(one)
    assert {(row["outcome"], row["error"]) for row in found} == {("cut", "RouterClosed: the router was closed")}
    assert {one.ledger.attempts(row["id"])[0]["cost_pusd"] for row in found} == {None}  # it may be billed
    assert len(found) + missed(one)["the router was closed"] == 20
    assert not one.ledger.holds.live()


@pytest.mark.parametrize(
    ("step", "error"),
    [
        (status(500), "ProviderUnavailableError"),
        (status(429, retry_after=30), "RateLimitedError"),
        (status(400), "BadRequestError"),
        (status(401), "AuthenticationFailedError"),
        (disconnect(), "ProviderUnavailableError"),
        (malformed(), "ProviderUnavailableError"),
    ],
    ids=["500", "429", "400", "401", "disconnect", "malformed"],
)
def test_what_goes_wrong_in_the_shadow_is_counted_and_seen_by_nobody(
    make: Make, provider: Provider, step: Any, error: str
) -> None:
    provider.always("new", step)
    one = make()
    assert one.complete(HI).text == "one two three"
    found = standing(one)
    assert (found["n"], list(found["errors"]), found["same"], found["unknown"]) == (1, [error], None, 0)
    assert len(provider.requests_for("new")) == 1  # never twice: what it refuses, requests may need
    assert rows(one)[0]["outcome"] == "error"


@pytest.mark.parametrize(
    ("served", "shadow", "is_same"),
    [
        (reply("The answer is 4."), reply("So the answer is 4"), True),
        (reply("The answer is 4."), reply("The answer is 5."), False),
        (reply('{"a": 1, "b": [2]}'), reply('{"b": [2], "a": 1.0}'), True),
        (reply('{"a": 1}'), reply('{"a": 2}'), False),
        (reply("Positive"), reply("positive."), True),
        (reply("Positive"), reply("negative"), False),
        (tool_call("look", {"x": 1, "y": 2}), tool_call("look", {"y": 2, "x": 1}, call_id="other"), True),
        (tool_call("look", {"x": 1}), tool_call("look", {"x": 2}), False),
        (tool_call("look", {"x": 1}), reply("I do not know."), False),
        (reply("yes"), reply(""), False),
        (reply("same words " * 60), reply("same  words " * 60), True),
    ],
)
def test_whether_both_say_the_same(make: Make, provider: Provider, served: Any, shadow: Any, is_same: bool) -> None:
    provider.script("old", [served])
    provider.script("new", [shadow])
    one = make()
    one.complete(HI)
    assert standing(one)["same"]["share"] == float(is_same)


def test_of_prose_beyond_the_embedder_nobody_can_tell(make: Make, provider: Provider) -> None:
    provider.script("old", [reply("First there is this, and then that. " * 60)])
    provider.script("new", [reply("Then that, but first there is this. " * 60)])
    one = make()
    one.complete(HI)
    assert (standing(one)["same"], standing(one)["unknown"]) == (None, 1)


def test_a_stream_is_shadowed_when_it_has_ended_and_not_when_it_was_cut(make: Make, provider: Provider) -> None:
    one = make()
    cut = one.complete(HI, stream=True)
    next(cut)
    cut.close()
    whole = one.complete(HI, stream=True)
    next(whole)
    assert rows(one) == []
    list(whole)
    assert [row["id"] for row in rows(one)] == [whole.completion.id + SUFFIX]
    found = standing(one)
    assert (found["same"]["share"], found["served_latency_s"]) == (1.0, None)


def test_a_request_on_an_event_loop_is_shadowed_and_the_loop_goes_on(make: Make, provider: Provider) -> None:
    provider.always("new", stall(1.0))
    one = make()

    async def serve() -> list[Any]:
        streamed = await one.acomplete(HI, stream=True)
        async for _ in streamed:
            pass
        return [streamed.completion, *await asyncio.gather(*(one.acomplete(HI) for _ in range(3)))]

    began_s = time.monotonic()
    done = asyncio.run(serve())
    assert time.monotonic() - began_s < 30
    assert sorted(row["id"] for row in rows(one)) == sorted(each.id + SUFFIX for each in done)


def test_a_rule_that_keeps_no_text_keeps_none_of_the_shadows(make: Make, provider: Provider, tmp_path: Path) -> None:
    secret = "the patient is called Zebedee"
    one = make((SHADOW, f"{SHADOW}    data: {{log: none}}\n"))
    provider.script("new", [reply(secret), status(400, message=f"refused: {secret}")])
    for _ in range(2):
        one.complete([{"role": "user", "content": secret}])
    assert [row["error"] for row in rows(one)] == [None, "BadRequestError"]
    one.close()
    for file in (tmp_path / "state").rglob("*"):
        assert not file.is_file() or b"Zebedee" not in file.read_bytes(), file


def test_where_text_is_kept_the_shadows_is_kept_too_and_evals_draw_what_was_served(
    make: Make, tmp_path: Path, provider: Provider
) -> None:
    provider.script("new", [reply("another answer")])
    one = make()
    done = one.complete(HI, task="chat")
    assert one._shadows.settle(30)
    with TextReader(tmp_path / "state") as reader:
        kept = reader.text(done.id + SUFFIX)
        assert kept is not None
        assert (kept.response, kept.model, reader.requests(["chat"])) == ("another answer", "new", [(done.id, "chat")])


def test_the_caller_may_change_the_messages_at_once(make: Make, provider: Provider) -> None:
    provider.script("new", [stall(0.5)] * 4)
    one = make()
    for _ in range(6):  # the last ones wait for a thread
        messages = [{"role": "user", "content": "as it was"}]
        one.complete(messages)
        messages[0]["content"] = "changed"
    rows(one)
    assert {each.body["messages"][0]["content"] for each in provider.requests_for("new")} == {"as it was"}


def test_a_shadow_is_asked_whole_and_knows_nothing_of_streams(tmp_path: Path) -> None:
    (tmp_path / "p.yaml").write_text(
        POLICY.replace("openai/", "fake/").replace('api_base: "URL", ', ""), encoding="utf-8"
    )
    transport = router.FakeTransport()
    with router.Router(tmp_path / "p.yaml", tmp_path / "state", transport) as one:
        list(one.complete(HI, stream=True, stream_options={"include_usage": True}))
        assert one._shadows.settle(30)
    served, shadow = transport.calls
    assert (served.stream, shadow.stream, shadow.role) == (True, False, "shadow")
    assert (dict(served.params), dict(shadow.params)) == ({"stream_options": {"include_usage": True}}, {})


def test_a_transport_that_breaks_breaks_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "p.yaml").write_text(
        POLICY.replace("openai/", "fake/").replace('api_base: "URL", ', ""), encoding="utf-8"
    )
    broken = router.FakeTransport({"new": ProviderUnavailableError("down")})
    with router.Router(tmp_path / "p.yaml", tmp_path / "state", broken) as one:
        assert one.complete(HI).model == "old"
        assert standing(one)["errors"] == {"ProviderUnavailableError": 1}
