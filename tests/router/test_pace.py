"""`max_latency_ms`: what is known of how long models take, who is left out for it, and where a cascade ends for it."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest
from sums import MODELS, QUESTION, answers, lay_down, prompts, recorded

import router
from router import flow
from router.decisions import Pace
from router.errors import NoRouteError
from router.pace import LEAST_CALLS, RECENT_S, PaceMemory, TimeLimit
from router.predict import Predictor
from router.predict.train import train
from router.reproduce import reproduce
from router.types import Attempt, Call, Deployment, Reply

NOW_S = 1_800_000_000.0
SECONDS = {"tiny": 0.2, "small": 0.3, "large": 2.0}
FIXED = """
version: 1
models:
  - {id: slow, call: fake/slow}
  - {id: quick, call: fake/quick}
rules:
  - {when: {tags: {kind: spare}}, candidates: [slow], strategy: fixed, max_latency_ms: 1000, fallback: [slow]}
  - {candidates: [slow, quick], strategy: fixed, max_latency_ms: 1000}
"""
LEARNED = """
version: 1
artifact: artifact
data: {store_text: full}
models:
  - {id: tiny, call: replay/tiny, price: {input: 0.1, output: 0.1}}
  - {id: small, call: replay/small, price: {input: 0.12, output: 0.12}}
  - {id: large, call: replay/large, price: {input: 6, output: 6}}
tasks:
  sums: {bar: {max_drop: 0.03, vs: large, confidence: 0.9}}
rules:
  - when: {task: sums}
    candidates: [tiny, small, large]
    strategy: cascade
    max_latency_ms: LIMIT
"""


def tried(model: str, latency_s: float, *, error: str | None = None) -> Attempt:
    return Attempt(model=model, call="x", outcome="error" if error else "ok", error=error, latency_s=latency_s)


def pace(model: str, median_s: float, p95_s: float) -> Pace:
    return Pace(model=model, median_s=median_s, p95_s=p95_s, calls=9, of="attempts")


# --- what is known ---


def test_a_few_calls_say_nothing_and_enough_of_them_their_median_and_95th_percentile() -> None:
    memory = PaceMemory()
    memory.note("t", [tried("m", 1.0)] * (LEAST_CALLS - 1), NOW_S)
    assert memory.known(NOW_S)("m", "t") is None
    memory.note("t", [tried("m", 3.0)], NOW_S)
    assert memory.known(NOW_S)("m", "t") == Pace(model="m", median_s=1.0, p95_s=3.0, calls=LEAST_CALLS, of="attempts")


def test_calls_of_one_task_do_not_speak_for_another() -> None:
    memory = PaceMemory()
    memory.note("essays", [tried("m", 30.0)] * 10, NOW_S)
    assert memory.known(NOW_S)("m", "labels") is None


def test_a_timeout_counts_as_slow_and_a_refusal_as_nothing() -> None:
    memory = PaceMemory()
    memory.note(None, [tried("m", 1.0)] * 5 + [tried("m", 60.0, error="ProviderTimeoutError: m")], NOW_S)
    memory.note(None, [tried("m", 0.01, error="RateLimitedError: m")] * 50, NOW_S)
    known = memory.known(NOW_S)("m", None)
    assert known is not None
    assert (known.median_s, known.p95_s) == (1.0, 60.0)


def test_what_was_slow_an_hour_ago_is_tried_again() -> None:
    memory = PaceMemory()
    memory.note(None, [tried("m", 9.0)] * 10, NOW_S)
    assert memory.known(NOW_S + RECENT_S / 2)("m", None) is not None
    assert memory.known(NOW_S + RECENT_S)("m", None) is None


def test_an_artifact_knows_the_latency_of_its_outcomes_by_task(timed: Path) -> None:
    predictor = Predictor.load(timed / "artifact")
    of_sums, of_others = predictor.pace("large", "sums"), predictor.pace("large", "poems")
    assert of_sums is not None
    assert of_sums.of == "outcomes"
    assert SECONDS["large"] < of_sums.median_s < of_sums.p95_s < 1.1 * SECONDS["large"]
    assert of_others == of_sums  # of an unknown task: of all of them
    assert predictor.pace("nobody", "sums") is None


# --- what fits ---


def test_a_call_fits_by_its_95th_percentile_and_a_cascade_by_the_medians_before_its_last() -> None:
    limit = TimeLimit(most_ms=1_000, paces={"a": pace("a", 0.3, 0.9), "b": pace("b", 0.2, 0.8)})
    assert limit.fault(["a"]) is None
    assert limit.fault(["b", "a"]) == "b then a may take 1.10 s, above max_latency_ms 1,000"
    assert limit.fault(["a", "unknown"]) is None
    assert TimeLimit(most_ms=800, paces=limit.paces).fault(["a"]) is not None


class Curious:
    """Wants every model that fits into the time that is left."""

    def __init__(self, seconds: float) -> None:
        self.seconds, self.heard = seconds, [""]

    def hear(self, call: Call, reply: Reply) -> None:
        self.heard.append(call.model)

    def wants(self, model: str, left_s: float | None) -> bool:
        return left_s is None or self.seconds <= left_s

    def standing(self) -> str:
        return self.heard[-1]

    def check(self, model: str) -> None:
        """Asks no verifier."""

    def checked(self, reply: Reply | None) -> None:
        """Hears none."""


@pytest.mark.parametrize(("latest_s", "asked"), [(None, 3), (100.0, 3), (3.0, 3), (2.9, 2), (0.0, 1)])
def test_no_rung_starts_that_cannot_end_in_time_but_the_first_always_does(latest_s: float | None, asked: int) -> None:
    plan = [
        [Call(request_id="r", model=name, deployment=Deployment(call=name), kind="chat", messages=(), params={},
              timeout_s=1.0)]
        for name in ("a", "b", "c")
    ]  # fmt: skip
    steps, now_s = flow.run(plan, now_s=0.0, listener=Curious(1.0), latest_s=latest_s), 0.0
    next(steps)
    calls = 1
    with pytest.raises(StopIteration):
        while True:
            now_s += 1.0
            steps.send(flow.Heard(now_s=now_s, outcome=Reply(payload={})))
            calls += 1
    assert calls == asked


# --- in a router ---


def taught(serving: router.Router, model: str, seconds: float, *, task: str | None = None) -> None:
    """The router has seen a model take so long, just now."""
    assert serving._kit.books.paces is not None
    serving._kit.books.paces.note(task, [tried(model, seconds)] * 10, time.time())


def test_a_slow_candidate_is_out_with_its_reason_and_an_unknown_one_is_let_through(tmp_path: Path) -> None:
    (tmp_path / "policy.yaml").write_text(FIXED, encoding="utf-8")
    with router.Router(tmp_path / "policy.yaml", tmp_path / "state") as serving:
        before = serving.explain(QUESTION)
        assert before.plan == ("slow", "quick")
        assert "unknown, and let through: slow, quick" in before.explain()
        taught(serving, "slow", 3.1)
        after = serving.complete(QUESTION).decision
    assert after.plan == ("quick",)
    (out,) = [one for one in after.candidates if one.model == "slow"]
    assert out.reason == "95 of 100 calls take up to 3.10 s, above max_latency_ms 1,000"
    assert out.latency_s == 3.1
    assert after.facts is not None
    assert [one.model for one in after.facts.paces or ()] == ["slow"]


def test_a_fallback_may_be_slow(tmp_path: Path) -> None:
    (tmp_path / "policy.yaml").write_text(FIXED, encoding="utf-8")
    with router.Router(tmp_path / "policy.yaml", tmp_path / "state") as serving:
        taught(serving, "slow", 3.1)
        assert serving.explain(QUESTION, tags={"kind": "spare"}).plan == ("slow",)
        taught(serving, "quick", 1.1)
        with pytest.raises(NoRouteError, match=r"quick: 95 of 100 calls take up to 1\.10 s"):
            serving.complete(QUESTION)


def test_the_next_process_knows_what_the_ledger_knows(tmp_path: Path) -> None:
    (tmp_path / "policy.yaml").write_text(FIXED, encoding="utf-8")
    with router.Router(tmp_path / "policy.yaml", tmp_path / "state") as serving:
        for _ in range(LEAST_CALLS):
            serving.complete(QUESTION)
    with router.Router(tmp_path / "policy.yaml", tmp_path / "state") as serving:
        known = serving.explain(QUESTION).facts
    assert known is not None
    assert [(one.model, one.calls) for one in known.paces or ()] == [("slow", LEAST_CALLS)]


def with_latency(table: pa.Table) -> pa.Table:
    rows = table.to_pylist()
    taken = [SECONDS[row["model"]] * (1 + 0.1 * (number % 97) / 97) for number, row in enumerate(rows)]
    return table.append_column("latency_s", pa.array(taken))


@pytest.fixture(scope="module")
def timed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An artifact of sums whose latency was recorded, and evidence."""
    place = tmp_path_factory.mktemp("timed")
    trained, report = train(with_latency(answers(1_500, seed=1)))
    assert "cascade" in report.promoted
    lay_down(trained, place)
    return place


@pytest.fixture
def limited(timed: Path, tmp_path: Path) -> Callable[[int], router.Router]:
    def build(limit_ms: int) -> router.Router:
        policy = timed / f"policy{limit_ms}.yaml"
        policy.write_text(LEARNED.replace("LIMIT", str(limit_ms)), encoding="utf-8")
        return router.Router(policy, tmp_path / "state", recorded())

    return build


def test_a_cascade_that_fits_is_served(limited: Callable[[int], router.Router]) -> None:
    with limited(5_000) as serving:
        decision = serving.explain(prompts()[0], task="sums")
    assert decision.strategy == "cascade"
    assert decision.max_latency_ms == 5_000
    assert {one.model for one in decision.candidates if one.latency_s} == set(MODELS)


def test_a_cascade_that_may_take_too_long_is_a_single_call_and_says_so(
    limited: Callable[[int], router.Router],
) -> None:
    with limited(2_400) as serving:  # the last rung alone would fit
        decision = serving.explain(prompts()[0], task="sums")
    assert decision.strategy == "single"
    assert decision.plan[0] == "large"
    assert decision.promise is not None
    assert "the learned cascade takes too long" in decision.promise
    assert "above max_latency_ms 2,400" in decision.promise


def test_a_running_cascade_asks_nobody_for_whom_no_time_is_left_and_says_so(
    limited: Callable[[int], router.Router],
) -> None:
    with limited(2_600) as serving:
        taught(serving, "tiny", 0.0, task="sums")
        taught(serving, "small", 0.0, task="sums")
        taught(serving, "large", 2.6, task="sums")  # fits, until the clock has moved at all
        done = [serving.complete(messages, task="sums") for messages in prompts()]
    late = [one for one in done if one.decision.late]
    assert late
    for one in late:
        assert one.decision.late == ("large",)
        assert "large" not in [attempt.model for attempt in one.attempts]
        assert "no time was left to ask large" in one.decision.explain()


def test_a_decision_under_a_limit_of_latency_comes_out_again(
    limited: Callable[[int], router.Router], timed: Path, tmp_path: Path
) -> None:
    with limited(2_400) as serving:
        taught(serving, "large", 2.0, task="sums")
        done = serving.complete(prompts()[0], task="sums")
        again = reproduce(done.id, serving.ledger, tmp_path / "state", timed / "policy2400.yaml")
    assert again.is_same, again
