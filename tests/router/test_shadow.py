"""A model in the shadow is asked what was answered, after it was, and nobody who waits for an answer hears of it."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from loopback import Provider, disconnect, malformed, reply, stall, status, tool_call

import router
from router._shadows import ShadowPool
from router.cli import cli
from router.errors import BudgetExceededError, PolicyError, ProviderUnavailableError
from router.facts import differences
from router.net_savings import net_savings
from router.policy import load_policy
from router.policy.canary import Canary
from router.policy.shadow import Shadow
from router.reproduce import reproduce
from router.shadows import SUFFIX, Shadows
from router.spend.statement_rows import calls, requests
from router.spend.texts import TextReader
from router.spend.units import units
from router.trial_run import try_policy

POLICY = """\
version: 1
models:
  - {id: old, call: openai/old, api_base: "URL", api_key_env: CLEARBAR_KEY, price: {input: 1, output: 1}}
  - {id: new, call: openai/new, api_base: "URL", api_key_env: CLEARBAR_KEY, price: {input: 4, output: 4}, context: 5000}
rules:
  - name: chat
    candidates: old
    bar: 0
    shadow: {model: new, percent: 100%}
data: {store_text: full}
"""
SHADOW = "    shadow: {model: new, percent: 100%}\n"
HI = [{"role": "user", "content": "one two three"}]
LONG_S = 60.0
Make = Callable[..., router.Router]


@pytest.fixture
def make(tmp_path: Path, provider: Provider, monkeypatch: pytest.MonkeyPatch) -> Iterator[Make]:
    monkeypatch.setenv("CLEARBAR_KEY", "k")
    made: list[router.Router] = []

    def build(*changes: tuple[str, str]) -> router.Router:
        text = POLICY
        for old, new in changes:
            assert old in text
            text = text.replace(old, new)
        (tmp_path / "p.yaml").write_text(text.replace("URL", provider.url), encoding="utf-8")
        made.append(router.Router(tmp_path / "p.yaml", tmp_path / "state"))
        return made[-1]

    yield build
    for one in made:
        one.close()


def standing(one: router.Router) -> dict[str, Any]:
    """What is known of the one shadow there is, once all is done."""
    assert one._shadows.settle(30)
    (found,) = Shadows(one.ledger).standing()
    return found


def rows(one: router.Router, strategy: str = "shadow") -> list[dict[str, Any]]:
    assert one._shadows.settle(30)
    return one.ledger.rows("SELECT * FROM requests WHERE strategy = ? ORDER BY seq", (strategy,))


def missed(one: router.Router) -> dict[str, int]:
    assert one._shadows.settle(30)
    return {why: n for one in Shadows(one.ledger).standing() for why, n in one["missed"].items()}


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


def test_a_customer_is_always_in_the_share_or_never_and_a_larger_share_keeps_who_was_in() -> None:
    names = [f"c{number}" for number in range(400)]
    shares = [Shadow.model_validate({"model": "new", "percent": share, "by": "customer"}) for share in ("5%", "20%")]
    few, more = ({name for name in names if one.draws("chat", name)} for one in shares)
    assert few < more
    assert (5 <= len(few) <= 40, 50 <= len(more) <= 110) == (True, True)


def test_who_meets_a_model_as_a_canary_is_not_who_has_it_in_the_shadow() -> None:
    told = {"model": "new", "percent": "30%", "by": "customer"}
    shadow, canary = Shadow.model_validate(told), Canary.model_validate(told)
    names = [f"c{number}" for number in range(400)]
    both = [name for name in names if shadow.draws("chat", name) and canary.draws("chat", name)]
    assert 15 <= len(both) <= 60  # 36, as chance has it


def test_only_the_drawn_customers_are_shadowed(make: Make) -> None:
    trial = Shadow.model_validate({"model": "new", "percent": "30%", "by": "customer"})
    names = [f"c{number}" for number in range(20)]
    one = make((SHADOW, "    shadow: {model: new, percent: 30%, by: customer}\n"))
    for name in [*names, *names]:
        one.complete(HI, customer=name)
    one.complete(HI)  # without the tag
    drawn = [name for name in names if trial.draws("chat", name)]
    assert 0 < len(drawn) < 20
    assert sorted(row["customer"] for row in rows(one)) == sorted(drawn * 2)


BUDGET = "budgets: [{limit_usd: 1, at: {0.0000001%: downgrade, 100%: deny}}]\ndata:"
FIRST = ("candidates: old", "candidates: [old, new]\n    strategy: fixed")
UNSHADOWED = {
    "a pinned model": ((), {"model": "old"}),
    "a request in a tool loop": ((), {"messages": [*HI, {"role": "tool", "tool_call_id": "x", "content": "4"}]}),
    "a tight budget": ((("data:", BUDGET),), {}),
    "a canary's request": ((("    shadow", "    canary: {model: new, percent: 100%}\n    shadow"),), {}),
    "a plan that begins with it": ((FIRST, ("shadow: {model: new", "shadow: {model: old")), {}),
}


@pytest.mark.parametrize(("changes", "options"), UNSHADOWED.values(), ids=UNSHADOWED)
def test_nobody_is_drawn_for(make: Make, changes: Any, options: Any) -> None:
    one = make(*changes)
    for _ in range(2):  # the second request meets the budget that the first one has begun
        done = one.complete(**{"messages": HI, "max_tokens": 5, **options})
    assert done.decision.shadow is None
    assert rows(one) == []
    if "budgets" in str(changes):  # which the first request began itself
        assert missed(one) == {"the budget everything usd month asks for cheaper routes": 1}


def test_an_answer_out_of_the_cache_has_no_shadow_and_a_shadow_leaves_nothing_there(
    make: Make, provider: Provider
) -> None:
    provider.always("new", reply("theirs"))
    one = make((SHADOW, f"{SHADOW}    cache: exact\n"))
    assert [one.complete(HI).cache for _ in range(3)] == ["miss", "exact", "exact"]
    assert len(rows(one)) == 1
    assert one.complete(HI).text == "one two three"


EUROPE = (("    shadow", "    data: {regions: [eu]}\n    shadow"), ("{id: old,", "{id: old, region: eu,"))
TOOLS = [{"type": "function", "function": {"name": "x"}}]
LONG = [{"role": "user", "content": "word " * 9000}]
BARRED = {
    "text that is too long": ((), {"messages": LONG}, "do not fit its context of N"),
    "data that may not go there": (EUROPE, {}, "may have the request's data"),
    "a model that is banned": ((("context: 5000", "status: banned"),), {}, "banned"),
    "a capability that it lacks": (
        (("context: 5000", "capabilities: [json]"),), {"tools": TOOLS}, "lacks the capability 'tools'"
    ),
    "a price above the caller's limit": ((), {"max_cost_usd": "0.00002", "max_tokens": 5}, "above max_cost_usd N"),
}  # fmt: skip


@pytest.mark.parametrize(("changes", "options", "why"), BARRED.values(), ids=BARRED)
def test_a_request_that_it_may_not_have_is_passed_over_and_counted(
    make: Make, provider: Provider, changes: Any, options: Any, why: str
) -> None:
    one = make(*changes)
    done = one.complete(**{"messages": HI, **options})
    assert done.decision.shadow is not None
    assert f"shadow: new cannot be asked: {done.decision.shadow.barred}" in done.decision.explain()
    ((told, n),) = missed(one).items()
    assert (why in told, n, provider.requests_for("new")) == (True, 1, [])


def test_a_model_on_trial_may_be_asked_in_the_shadow(make: Make) -> None:
    one = make(("context: 5000", "status: trial"))
    one.complete(HI)
    assert [row["model_served"] for row in rows(one)] == ["new"]


def test_a_budget_denies_the_shadow_alone(make: Make, provider: Provider) -> None:
    one = make(("data:", "budgets: [{scope: {model: new}, limit_usd: 0.00001}]\ndata:"))
    assert one.complete(HI, max_tokens=5).text == "one two three"
    assert (missed(one), provider.requests_for("new")) == ({"a budget has too little room": 1}, [])
    assert rows(one) == []


def test_no_shadow_waits_for_room_in_a_budget(make: Make, provider: Provider) -> None:
    one = make(("data:", "budgets: [{limit_concurrent: 10, at: {100%: wait}, wait: 60s}]\ndata:"))
    provider.script("old", [stall(5.0)])
    with ThreadPoolExecutor(1) as pool:
        slow = pool.submit(one.complete, HI)
        until_s = time.monotonic() + 30
        while not provider.requests_for("old") and time.monotonic() < until_s:
            time.sleep(0.01)
        one.complete(HI)
        assert missed(one) == {"a budget has too little room": 1}
        assert not slow.done()
    assert [row["id"] for row in rows(one)] == [slow.result().id + SUFFIX]


def test_a_budget_that_is_nearly_used_up_is_left_to_requests(make: Make, provider: Provider) -> None:
    one = make(("data:", "budgets: [{limit_requests: 20, window: month}]\ndata:"))
    served = 0
    while served < 30:
        try:
            one.complete(HI, max_tokens=5)
        except BudgetExceededError:
            break
        assert one._shadows.settle(30)
        served += 1
    asked = len(provider.requests_for("new"))
    assert (served, asked) == (15, 5)  # asked while there is room for ten more
    assert missed(one) == {"a budget has too little room": 10}


def test_what_a_shadow_costs_is_booked_on_its_budget(make: Make) -> None:
    one = make(("data:", "budgets: [{scope: {team: '*'}, limit_usd: 1}]\ndata:"))
    one.complete(HI, team="a", max_tokens=5)
    assert one._shadows.settle(30)
    ((_, balance),) = one.ledger.holds.accounts(one.policy.budgets.each)[0]
    assert (balance.settled, balance.held) == (30_000_000, 0)


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


def test_two_hundred_requests_at_once_are_all_answered_and_every_shadow_is_accounted_for(
    make: Make, provider: Provider
) -> None:
    one = make(("data:", "budgets: [{limit_usd: 1}]\ndata:"))
    with ThreadPoolExecutor(40) as pool:
        done = list(pool.map(lambda n: one.complete(HI, customer=f"c{n}", max_tokens=5), range(200)))
    assert {each.text for each in done} == {"one two three"}
    found = standing(one)
    assert found["n"] + sum(found["missed"].values()) == 200
    assert found["n"] == len(provider.requests_for("new")) > 20
    assert set(found["missed"]) <= {"too many others waited"}
    assert not one.ledger.holds.live()
    assert len(rows(one)) == found["n"]


def test_more_than_can_wait_are_passed_over_and_counted(make: Make, provider: Provider) -> None:
    provider.always("new", stall(1.0))
    one = make()
    one._shadows.close()
    one._shadows = ShadowPool(one.ledger, one._transport, threads=1, queue=2)
    for _ in range(8):
        one.complete(HI)
    found = standing(one)
    assert found["n"] + found["missed"]["too many others waited"] == 8
    assert 2 <= found["n"] < 8


def test_threads_end_when_there_is_nothing_left_to_do(make: Make) -> None:
    before = set(threading.enumerate())
    one = make()
    one._shadows.close()
    one._shadows = ShadowPool(one.ledger, one._transport, idle_s=0.05)

    def added() -> list[threading.Thread]:
        return [each for each in threading.enumerate() if each.name == "clearbar-shadow" and each not in before]

    for _ in range(5):
        one.complete(HI)
    assert len(rows(one)) == 5
    until_s = time.monotonic() + 30
    while time.monotonic() < until_s and added():
        time.sleep(0.02)
    assert not added()
    one.complete(HI)  # and start again
    assert len(rows(one)) == 6


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


def test_the_same_decision_comes_out_again(make: Make, tmp_path: Path) -> None:
    one = make((SHADOW, "    shadow: {model: new, percent: 40%, by: customer}\n"))
    for number in range(8):
        done = one.complete(HI, customer=f"c{number}")
        assert reproduce(done.id, one.ledger, tmp_path / "state", tmp_path / "p.yaml").is_same
    drawn = json.loads(next(row for row in rows(one, "single") if "shadow" in row["decision"])["decision"])
    assert drawn["shadow"] == {"name": "chat/new", "model": "new"}
    assert differences({**drawn, "shadow": None}, drawn) == [f"shadow: None then, {drawn['shadow']} now"]
    row = rows(one)[0]
    told = reproduce(row["id"], one.ledger, tmp_path / "state", tmp_path / "p.yaml")
    assert (told.is_same, told.why) == (
        None,
        f"it is the shadow of {row['id'].removesuffix(SUFFIX)}: nothing was decided",
    )


def test_a_run_is_not_stopped_for_its_shadows(make: Make) -> None:
    one = make(("data:", "breaker: {mode: on, limits: {calls: 6, cost_usd: 0.00004}}\ndata:"))
    for number in range(5):
        one.complete([{"role": "user", "content": f"step {number}"}], workflow="w", run_id="r")
        assert one._shadows.settle(30)
    assert len(rows(one)) == 5


FORKED = pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")


@FORKED
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_asks_for_itself_and_books_nothing_of_its_parents(make: Make, provider: Provider) -> None:
    provider.script("new", [stall(1.0)])
    one = make()
    one.complete(HI)
    until_s = time.monotonic() + 30
    while not provider.requests_for("new") and time.monotonic() < until_s:
        time.sleep(0.01)
    child = os.fork()
    if child == 0:  # no pytest in here: only exit codes
        code = 1
        try:
            one.complete(HI)
            code = 0 if one._shadows.settle(30) else 2
            one.close()
        finally:
            os._exit(code)
    assert os.waitpid(child, 0)[1] == 0
    found = standing(one)
    assert (found["n"], found["errors"]) == (2, {})


SERVES = """
import sys, time, router
one = router.Router(sys.argv[1], sys.argv[2])
one.complete([{"role": "user", "content": "hi"}], max_tokens=5)
print("served", flush=True)
sys.stdin.readline()
sys.exit(0)
"""


def _serving(one: router.Router, provider: Provider, tmp_path: Path) -> subprocess.Popen[str]:
    """Another process, whose request is answered and whose shadow is under way; it ends when it is told anything."""
    child = subprocess.Popen(
        [sys.executable, "-c", SERVES, str(one.policy.path), str(tmp_path / "state")],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONPATH": str(Path(router.__file__).parents[1])},
    )  # fmt: skip
    assert child.stdout is not None
    assert child.stdout.readline() == "served\n"
    until_s = time.monotonic() + 30
    while not provider.requests_for("new") and time.monotonic() < until_s:
        time.sleep(0.01)
    return child


def test_a_killed_process_leaves_no_hold_and_no_half_of_a_comparison(
    make: Make, provider: Provider, tmp_path: Path
) -> None:
    provider.always("new", stall(LONG_S))
    one = make(("data:", "budgets: [{limit_usd: 0.001}]\ndata:"))
    child = _serving(one, provider, tmp_path)
    child.send_signal(signal.SIGKILL)
    child.wait()
    assert Shadows(one.ledger).standing() == []
    provider.always("new", reply("hi"))
    for _ in range(3):
        one.complete(HI, max_tokens=5)  # what the dead one held is given back
    assert one._shadows.settle(30)
    assert not one.ledger.holds.live()


def test_a_process_ends_though_a_shadow_stalls(make: Make, provider: Provider, tmp_path: Path) -> None:
    provider.always("new", stall(LONG_S))
    child = _serving(make(), provider, tmp_path)
    child.communicate("\n", timeout=LONG_S / 2)
    assert child.returncode == 0


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


def test_what_a_shadow_costs_counts_and_its_request_counts_as_none(make: Make, tmp_path: Path) -> None:
    one = make()
    for _ in range(3):
        one.complete(HI, team="a", task="chat")
    assert one._shadows.settle(30)
    (all_,) = one.ledger.rollups.sums([])
    assert (all_["requests"], all_["errors"], all_["calls"], all_["cost_usd"]) == (3, 0, 6, Decimal("0.00009"))
    one.ledger.rollups.catch_up()
    assert one.ledger.rollups.sums([]) == one.ledger.scan([]) == [all_]
    assert set(one.ledger.latencies(["model"])) == {("old",)}
    assert {row["model"] for row in one.ledger.recent_calls(0)} == {"old"}
    (unit,) = units(one.ledger.rows, "action")
    assert (unit.units, unit.cost_usd, unit.runs) == (3, Decimal("0.00009"), 3)
    found = net_savings(one.ledger, one.policy)
    assert (found.requests, found.overhead_usd) == (3, {"models in the shadow": pytest.approx(0.000072)})
    month = f"{datetime.now(UTC):%Y-%m}"
    (asked,), (called,) = requests(one.ledger.rows, month, ["team"]), calls(one.ledger.rows, month, ["team"])
    assert (asked["requests"], called["calls"]) == (3, 6)


def test_a_shadow_that_fails_is_no_failed_request(make: Make, provider: Provider) -> None:
    provider.always("new", status(500))
    one = make()
    one.complete(HI)
    assert one._shadows.settle(30)
    for (all_,) in (one.ledger.rollups.sums([]), one.ledger.scan([])):
        assert (all_["requests"], all_["errors"], all_["failed"]) == (1, 0, 1)


def test_the_command_lists_and_forgets(make: Make, provider: Provider, tmp_path: Path) -> None:
    at, run = ["--state", str(tmp_path / "state")], CliRunner().invoke
    one = make()
    assert "no shadow has been drawn" in run(cli, ["policy", "shadow", "status", *at]).output
    provider.script("new", [*[reply("one two three")] * 9, reply("four"), status(500)])
    for _ in range(11):
        one.complete(HI)
        assert one._shadows.settle(30)
    one.complete(LONG)
    assert one._shadows.settle(30)
    lines = run(cli, ["policy", "shadow", "status", *at]).output.splitlines()
    assert lines[0].startswith("chat/new: 11 requests since 20")
    assert lines[1:3] == [
        "  without an answer: 1 (ProviderUnavailableError 1)",
        "  the same answer: 90.0% of 10 (95 %: 55.5% to 99.7%)",
    ]
    assert lines[3].startswith("  cost: 3.87 times that of what was served (95 %: 3.")
    assert lines[3].endswith(": $0.000232 against $0.000060")
    assert lines[-2:] == ["  drawn and not asked: 1", "    1: about N tokens do not fit its context of N"]
    (told,) = json.loads(run(cli, ["policy", "shadow", "status", "--json", *at]).output)["shadows"]
    assert (told["n"], told["same"]["n"], told["cost"]["n"]) == (11, 10, 10)
    assert run(cli, ["policy", "shadow", "reset", "chat/new", *at]).exit_code == 0
    again = run(cli, ["policy", "shadow", "reset", "chat/new", *at])
    assert (again.exit_code, "no shadow is called 'chat/new'" in again.output) == (1, True)
    assert len(rows(one)) == 11  # what was paid stays in the books


def test_past_decisions_tell_of_their_shadows(make: Make, tmp_path: Path) -> None:
    one = make()
    done = one.complete(HI)
    assert one._shadows.settle(30)
    at = ["--state", str(tmp_path / "state")]
    assert "shadow: new is drawn" in CliRunner().invoke(cli, ["explain", "--id", done.id, *at]).output
    told = CliRunner().invoke(cli, ["explain", "--id", done.id + SUFFIX, *at]).output
    assert f"in the shadow of {done.id}" in told
    assert "new (shadow)" in told


@pytest.mark.parametrize(
    ("shadow", "told"),
    [
        ("{model: nwe, percent: 5%}", "shadow: no model has the id 'nwe'; did you mean 'new'?"),
        ("{model: new, percent: 0}", "percent '0': must be a share such as 5%, above 0 and up to 100"),
        ("{model: new}", "key 'percent' is missing; add it"),
        ("{model: new, percent: 5%, rollback: {}}", "unknown key 'rollback'"),
        ("{model: old, percent: 5%}", "shadow: 'old' is the rule's only candidate, and nothing is learned"),
        ("new", "shadow 'new': must be such as {model: MODEL, percent: 5%}"),
    ],
)
def test_each_mistake_is_one_line_with_its_remedy(tmp_path: Path, shadow: str, told: str) -> None:
    (tmp_path / "p.yaml").write_text(POLICY.replace(SHADOW, f"    shadow: {shadow}\n"), encoding="utf-8")
    with pytest.raises(PolicyError) as caught:
        load_policy(tmp_path / "p.yaml")
    assert len(caught.value.problems) == 1, caught.value.problems
    assert told in caught.value.problems[0]


def test_a_shadow_moves_no_routes(tmp_path: Path) -> None:
    versions = []
    for text in (POLICY, POLICY.replace(SHADOW, "")):
        (tmp_path / "p.yaml").write_text(text, encoding="utf-8")
        versions.append(load_policy(tmp_path / "p.yaml"))
    assert versions[0].routes_version == versions[1].routes_version
    assert versions[0].version != versions[1].version


def test_a_policys_tests_say_whose_shadow_is_asked(tmp_path: Path) -> None:
    cases = """
tests:
  - {given: {text: hi}, expect: {shadow: new}}
  - {given: {text: hi}, expect: {shadow: false}}
  - {given: {text: hi, model: old}, expect: {shadow: false}}
  - {given: {text: hi, model: old}, expect: {shadow: new}}
"""
    (tmp_path / "p.yaml").write_text(POLICY + cases, encoding="utf-8")
    tried = try_policy(load_policy(tmp_path / "p.yaml"), None, datetime.now(UTC))
    assert [[miss.shown() for miss in one.misses] for one in tried] == [
        [], ["shadow: expected false, came new"], [], ["shadow: expected new, came false"],
    ]  # fmt: skip
    (tmp_path / "p.yaml").write_text(POLICY + cases.replace("shadow: new", "shadow: nwe", 1), encoding="utf-8")
    with pytest.raises(PolicyError, match="shadow: no model has the id 'nwe'; did you mean 'new'"):
        load_policy(tmp_path / "p.yaml")
