"""A model on trial gets its share of the requests, always the same ones, and is rolled back when it fares badly."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from loopback import Provider, stall

import router
from router import FakeTransport
from router.canaries import Canaries
from router.cli import cli
from router.errors import PolicyError, ProviderUnavailableError
from router.policy import load_policy
from router.policy.canary import Canary
from router.reproduce import reproduce
from router.transports.dispatch import DispatchTransport

POLICY = """\
version: 1
models:
  - {id: old, call: fake/old, price: {input: 1, output: 1}}
  - {id: new, call: openai/new, price: {input: 2, output: 2}, context: 100}
rules:
  - name: chat
    candidates: old
    bar: 0
    cache: exact
    canary: {model: new, percent: 50%, by: customer, rollback: {errors: 5%, quality: 0.7}}
data: {store_text: full}
"""
HI = [{"role": "user", "content": "hello"}]
NAMES = [f"c{number}" for number in range(400)]
TRIAL = Canary.model_validate({"model": "new", "percent": "50%", "by": "customer"})
DRAWN = next(name for name in NAMES if TRIAL.draws("chat", name))
OTHER = next(name for name in NAMES if not TRIAL.draws("chat", name))
Make = Callable[..., router.Router]


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("CLEARBAR_KEY", "k")
    made: list[router.Router] = []

    def build(*changes: tuple[str, str], transport: Any = None, **replies: Any) -> router.Router:
        text = POLICY
        for old, new in changes:
            assert old in text
            text = text.replace(old, new)
        (tmp_path / "p.yaml").write_text(text, encoding="utf-8")
        made.append(router.Router(tmp_path / "p.yaml", tmp_path / "state", transport or FakeTransport(replies)))
        return made[-1]

    yield build
    for one in made:
        one.close()


def test_who_is_drawn_stays_drawn_and_a_larger_share_keeps_them() -> None:
    shares = [Canary.model_validate({"model": "new", "percent": percent}) for percent in ("5%", "20", "100%")]
    few, more, all_ = ({name for name in NAMES if one.draws("chat", name)} for one in shares)
    assert few < more < all_ == set(NAMES)
    assert (5 <= len(few) <= 40, 50 <= len(more) <= 110) == (True, True)
    assert {name for name in NAMES if shares[1].draws("other rule", name)} != more


def test_the_drawn_customers_get_the_new_model_and_nobody_else(make: Make) -> None:
    serving = make()
    mine, others = serving.complete(HI, customer=DRAWN), serving.complete(HI, customer=OTHER)
    assert (mine.model, mine.decision.plan, mine.decision.canary) == ("new", ("new", "old"), "chat/new")
    assert mine.decision.candidates[0].reason == "canary: 50 % of the requests, drawn by customer"
    assert (others.model, others.decision.canary) == ("old", None)
    assert (mine.decision.propensity, others.decision.propensity) == (0.5, 0.5)
    assert serving.complete(HI).decision.propensity == 1.0  # without the tag nothing is drawn


def test_what_a_canary_says_is_kept_for_nobody(make: Make) -> None:
    serving = make()
    assert [serving.complete(HI, customer=DRAWN).cache for _ in range(2)] == ["off", "off"]
    assert [serving.complete(HI, customer=OTHER).cache for _ in range(2)] == ["miss", "exact"]


def test_a_canary_that_fails_is_rolled_back_and_every_request_is_answered(make: Make) -> None:
    serving = make(new=ProviderUnavailableError("down"))
    answered = [serving.complete(HI, customer=DRAWN, patience_s=0, cache="no-cache") for _ in range(30)]
    assert {done.model for done in answered} == {"old"}
    tried = [done.decision.canary is not None for done in answered]
    assert (tried[0], tried[-1]) == (True, False)
    assert sum(tried) < 20
    why = Canaries(serving.ledger).stopped("chat/new")
    assert why is not None
    assert why.endswith("requests without its answer, above 5%")
    facts = answered[-1].decision.facts
    assert facts is not None
    assert facts.canary == why
    assert f"the canary was rolled back: {why}" in answered[-1].decision.explain()


def test_low_scores_roll_it_back_for_every_process(make: Make) -> None:
    serving, second = make(), make()
    for _ in range(60):
        done = serving.complete(HI, customer=DRAWN)
        if done.decision.canary:
            serving.record_feedback(done.id, 0.2)
    assert "below 0.7" in str(Canaries(serving.ledger).stopped("chat/new"))
    assert second.complete(HI, customer=DRAWN).model == "old"


def test_good_answers_and_scores_of_others_roll_nothing_back(make: Make) -> None:
    serving = make()
    for number in range(60):
        serving.record_feedback(serving.complete(HI, customer=DRAWN).id, 0.9)
        other = serving.complete([{"role": "user", "content": f"hello {number}"}], customer=OTHER)
        serving.record_feedback(other.id, 0.0)
    (told,) = Canaries(serving.ledger).standing()
    assert (told["why"], told["errors"], told["quality"]["n"]) == (None, {"n": 60, "share": 0.0}, 60)


def test_a_request_that_it_cannot_take_goes_the_usual_way(make: Make) -> None:
    serving = make()
    long = serving.complete([{"role": "user", "content": "hello " * 200}], customer=DRAWN)
    assert (long.model, long.decision.canary) == ("old", None)
    assert any("do not fit" in one.reason for one in long.decision.candidates)


def test_a_canary_never_gets_what_must_stay_at_home(make: Make) -> None:
    serving = make(("    cache: exact", "    data: {local_only: true}"))
    assert serving.complete(HI, customer=DRAWN).model == "old"


def test_a_budget_that_is_tight_tries_nothing(make: Make, tmp_path: Path) -> None:
    serving = make(("data:", "budgets: [{limit_usd: 1, at: {0.0001%: downgrade, 100%: deny}}]\ndata:"))
    serving.complete(HI, customer=OTHER)
    done = serving.complete(HI, customer=DRAWN)
    assert done.model == "old"
    assert reproduce(done.id, serving.ledger, tmp_path / "state", tmp_path / "p.yaml").is_same


@pytest.mark.parametrize("is_down", [False, True])
def test_a_decision_comes_out_the_same_again(make: Make, tmp_path: Path, is_down: bool) -> None:
    serving = make(**({"new": ProviderUnavailableError("down")} if is_down else {}))
    done = [serving.complete(HI, customer=DRAWN, patience_s=0, cache="no-cache") for _ in range(25)][-1]
    assert (done.decision.canary is None) is is_down
    assert reproduce(done.id, serving.ledger, tmp_path / "state", tmp_path / "p.yaml").is_same


def test_the_command_lists_and_starts_again(make: Make, tmp_path: Path) -> None:
    serving = make(new=ProviderUnavailableError("down"))
    for _ in range(25):
        serving.complete(HI, customer=DRAWN, patience_s=0, cache="no-cache")
    at, run = ["--state", str(tmp_path / "state")], CliRunner().invoke
    listed = run(cli, ["policy", "canary", "status", *at])
    assert (listed.exit_code, "chat/new: rolled back" in listed.output) == (1, True)
    as_json = json.loads(run(cli, ["policy", "canary", "status", "--json", *at]).output)
    assert as_json["canaries"][0]["errors"]["share"] == 1.0
    assert run(cli, ["policy", "canary", "reset", "chat/new", *at]).exit_code == 0
    assert run(cli, ["policy", "canary", "reset", "chat/new", *at]).exit_code == 1
    assert serving.complete(HI, customer=DRAWN, patience_s=0, cache="no-cache").decision.canary == "chat/new"


@pytest.mark.parametrize(
    ("canary", "told"),
    [
        ("{model: nwe, percent: 5%}", "canary: no model has the id 'nwe'; did you mean 'new'?"),
        ("{model: new, percent: 0}", "percent '0': must be a share such as 5%, above 0 and up to 100"),
        ("{model: new, percent: 101%}", "must be a share such as 5%"),
        ("{model: new}", "key 'percent' is missing; add it"),
        ("{model: new, percent: 5%, rollback: {quality: 70}}", "quality '70': must be less than or equal to 1"),
        ("{model: new, percent: 5%, rolback: {}}", "unknown key 'rolback'; did you mean 'rollback'?"),
    ],
)
def test_each_mistake_is_one_line_with_its_remedy(tmp_path: Path, canary: str, told: str) -> None:
    start, end = POLICY.index("{model: new"), POLICY.index("\ndata:")
    (tmp_path / "p.yaml").write_text(POLICY[:start] + canary + POLICY[end:], encoding="utf-8")
    with pytest.raises(PolicyError) as caught:
        load_policy(tmp_path / "p.yaml")
    assert len(caught.value.problems) == 1, caught.value.problems
    assert told in caught.value.problems[0]


@pytest.mark.parametrize("way", ["stream", "async", "async stream"])
def test_however_it_is_asked_it_is_watched(make: Make, way: str) -> None:
    serving = make(new=ProviderUnavailableError("down"))

    async def once() -> Any:
        done = await serving.acomplete(HI, customer=DRAWN, patience_s=0, cache="no-cache", stream="stream" in way)
        if "stream" in way:
            async for _ in done:
                pass
        return getattr(done, "completion", done)

    def plainly() -> Any:
        done = serving.complete(HI, customer=DRAWN, patience_s=0, cache="no-cache", stream=True)
        list(done)
        return done.completion

    done = [plainly() if way == "stream" else asyncio.run(once()) for _ in range(25)]
    assert {one.model for one in done} == {"old"}
    assert (done[0].decision.canary, done[-1].decision.canary) == ("chat/new", None)
    assert Canaries(serving.ledger).stopped("chat/new") is not None


def test_a_stream_that_it_answers_counts_for_it(make: Make) -> None:
    serving = make()
    list(serving.complete(HI, customer=DRAWN, stream=True))
    (told,) = Canaries(serving.ledger).standing()
    assert told["errors"] == {"n": 1, "share": 0.0}


def test_another_process_sees_at_once_that_it_was_rolled_back(make: Make, tmp_path: Path) -> None:
    serving = make(("percent: 50%, by: customer", "percent: 100%"), new=ProviderUnavailableError("down"))
    script = (
        "import sys, router\n"
        "one = router.Router(sys.argv[1], sys.argv[2], router.FakeTransport())\n"
        "for line in sys.stdin:\n"
        "    print(one.complete([{'role': 'user', 'content': line}], cache='no-cache').model, flush=True)\n"
    )
    root = str(Path(router.__file__).parents[1])
    child = subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path / "p.yaml"), str(tmp_path / "state")],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": root},
    )  # fmt: skip

    def asked() -> str:
        assert child.stdin is not None and child.stdout is not None
        print("hello", file=child.stdin, flush=True)
        return child.stdout.readline().strip()

    try:
        assert asked() == "new"
        while Canaries(serving.ledger).stopped("chat/new") is None:
            serving.complete(HI, patience_s=0, cache="no-cache")
        assert asked() == "old"
    finally:
        child.communicate()


@pytest.mark.parametrize(("latency_ms", "is_stopped"), [(1, True), (60_000, False)])
def test_slow_answers_roll_it_back(make: Make, provider: Provider, latency_ms: int, is_stopped: bool) -> None:
    provider.always("new", stall(0.01))
    serving = make(
        ("quality: 0.7", f"latency_ms: {latency_ms}"),
        ("call: openai/new", f"call: openai/new, api_base: '{provider.url}', api_key_env: CLEARBAR_KEY"),
        transport=DispatchTransport(),
    )
    for _ in range(25):
        done = serving.complete(HI, customer=DRAWN, cache="no-cache")
        if done.decision.canary is None:
            break
    (told,) = Canaries(serving.ledger).standing()
    assert (told["why"] is not None) is is_stopped
    assert told["errors"]["share"] == 0.0
    if is_stopped:
        assert told["why"].endswith("answers too late, above 5%")
    list(serving.complete(HI, customer=DRAWN, stream=True))
    (again,) = Canaries(serving.ledger).standing()
    assert again["latency"] == told["latency"]  # a stream ends when its reader likes
