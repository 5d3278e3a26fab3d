"""Two policies over a ledger: decided again, weighed where the first model was left to chance, budgets in time."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from sums import answers

from router import NoRouteError, Router
from router.simulate import Comparison, compare
from router.simulate.gates import Limits, judge
from router.simulate.pairs import Pair, Side, Simulated
from router.simulate.party import Party
from router.simulate.past import Habits, Past, read
from router.simulate.traffic import from_ledger
from router.simulate.view import View
from router.spend.ledger import Ledger
from router.transports.replay import ReplayTransport

POLICY = """\
version: 1
models:
  - {{id: tiny, call: replay/tiny, price: {{input: 1, output: 1}}, max_output_tokens: 20}}
  - {{id: large, call: replay/large, price: {{input: 60, output: 60}}, max_output_tokens: 20}}
  - {{id: other, call: replay/other, price: {{input: 1, output: 2}}, max_output_tokens: 20}}
rules:
  - {{when: {{tags: {{team: dark}}}}, candidates: [other], strategy: fixed, max_cost_usd: 0}}
  - {{{rule}}}
{more}"""
EXPLORING = "candidates: [tiny, large], bar: 0, learning: {from_feedback: true, explore: 0.5}"
ROWS = answers(400).to_pylist()
PROMPTS = list(dict.fromkeys(row["prompt"] for row in ROWS))[:390]

Simulate = Callable[..., Comparison]


def policy(folder: Path, rule: str, more: str = "") -> Path:
    path = folder / f"{abs(hash((rule, more)))}.yaml"
    path.write_text(POLICY.format(rule=rule, more=more), encoding="utf-8")
    return path


def fixed(*models: str) -> str:
    return f"candidates: [{', '.join(models)}], strategy: fixed"


@pytest.fixture
def simulate(tmp_path: Path) -> Simulate:
    """Serves sums under one rule, with feedback on the first `scored` but those of `unheard`, then
    simulates another rule on that."""

    def run(served: str, after: str, before: str | None = None, *, scored: int = 390, more: str = "", dark: int = 0,
            by: str | None = None, unheard: str = "") -> Comparison:  # fmt: skip
        known = {(row["prompt"], row["model"]): row["quality"] for row in ROWS}
        with Router(policy(tmp_path, served), tmp_path / "s", ReplayTransport.of_rows(ROWS, by="prompt")) as live:
            for number, prompt in enumerate(PROMPTS):
                asked = [{"role": "user", "content": prompt}]
                if number < dark:
                    with pytest.raises(NoRouteError):
                        live.complete(asked, task="sums", tags={"team": "dark"})
                team = f"t{number % 2}"
                done = live.complete(asked, task="sums", tags={"team": team})
                if number < scored and team != unheard:
                    live.record_feedback(done.id, known[prompt, done.model])
            parties = [
                Party.load(policy(tmp_path, before)) if before else None,
                Party.load(policy(tmp_path, after, more)),
            ]
            found = from_ledger(live.ledger, *parties, datetime.now(UTC))  # type: ignore[arg-type]
            return compare(found, [by] if by else [])

    return run


def test_what_exploring_saw_says_what_another_model_is_worth(simulate: Simulate) -> None:
    found = simulate(EXPLORING, fixed("large"), fixed("tiny"))
    total = found.total
    assert total.extrapolated == 0
    assert found.effective_n is not None
    assert found.effective_n > 50
    assert total.quality.low is not None
    assert total.quality.high is not None
    assert 0 < total.quality.low < 0.92 - 0.6 < total.quality.high
    # Who is asked is left to chance, so that an interval of 95 % may miss: by three of its half widths it does not.
    assert total.cost.value == pytest.approx(59, rel=0.12)
    assert total.cost.low is not None
    assert total.cost.high is not None
    assert total.cost.high - total.cost.low < 12
    assert total.cost.low - 5 < 59 < total.cost.high + 5
    assert judge(found, Limits(cost_change=0.05))[0].verdict == "failed"


def test_evidence_that_is_wrong_is_mended_by_what_was_seen(simulate: Simulate, tmp_path: Path) -> None:
    (tmp_path / "evidence").mkdir()
    for model in ("tiny", "large"):
        evidence = {
            "version": 1, "task": "sums", "model": model, "model_version": model, "run_id": "r", "n": 100,
            "suite_sha256": "0" * 64, "mean": 0.3, "lower": 0.2, "confidence": 0.95, "metric": "accuracy",
            "scorer": "numeric", "created": "2026-01-01T00:00:00Z", "expires": None,
        }  # fmt: skip
        (tmp_path / "evidence" / f"sums--{model}.json").write_text(json.dumps(evidence), encoding="utf-8")
    after = simulate(EXPLORING, fixed("large"), fixed("tiny")).total.after
    assert after.quality == pytest.approx(0.92, abs=0.2)


def test_what_was_never_tried_is_extrapolated_and_proves_nothing(simulate: Simulate) -> None:
    found = simulate(fixed("tiny"), fixed("large"))
    assert found.total.extrapolated == 1
    assert found.total.cost.value is not None
    assert found.total.cost.worst is not None
    assert found.total.cost.best is not None
    assert found.total.cost.worst + 1 < 0.55 * (found.total.cost.value + 1), "no answer of its length was seen"
    assert found.total.cost.best + 1 > 1.9 * (found.total.cost.value + 1)
    assert found.effective_n == 0
    assert found.total.quality.worst is not None
    assert found.total.quality.worst < -0.55
    assert [gate.verdict for gate in judge(found, Limits(quality_drop=0.9))] == ["not enough evidence"]


CHANGED_FOR_T1 = "when: {tags: {team: t1}}, candidates: [large], strategy: fixed"
REST = "  - {candidates: [tiny], strategy: fixed}\n"


def test_scores_of_requests_that_stay_say_nothing_of_those_that_change(simulate: Simulate) -> None:
    found = simulate(fixed("tiny"), CHANGED_FOR_T1, more=REST, unheard="t1")
    assert (found.total.changed, found.effective_n) == (0.5, 0)
    (gate,) = judge(found, Limits(quality_drop=0.01))
    assert (gate.verdict, gate.why[:26]) == ("not enough evidence", "0 effective scored answers")
    assert found.total.quality.ends is not None
    # Half of the requests may lose all that they had, or win what they lacked.
    assert found.total.quality.ends[1] - found.total.quality.ends[0] == pytest.approx(0.5)


def test_the_policy_that_served_changes_nothing(simulate: Simulate) -> None:
    total = simulate(fixed("tiny"), fixed("tiny", "large")).total
    assert (total.changed, total.cost.low, total.cost.high, total.quality.low, total.quality.high) == (0, 0, 0, 0, 0)


def test_a_change_that_nobody_is_asked_by_needs_no_scores(simulate: Simulate) -> None:
    found = simulate(fixed("tiny"), fixed("tiny"), scored=0)
    assert found.effective_n is None
    assert found.total.unknown == {"quality": 390}


def test_who_was_denied_is_among_the_requests_and_who_is_no_longer_is_counted(simulate: Simulate) -> None:
    found = simulate(fixed("tiny"), fixed("tiny"), dark=20)
    assert found.total.requests == 410
    assert found.total.before.denied.value == found.total.after.denied.value == pytest.approx(20 / 410)
    assert (found.total.denied.low, found.total.denied.high) == (0, 0)


@pytest.mark.parametrize(
    ("budget", "denied"),
    [
        ("{limit_requests: 100, window: day}", 290),
        ("{scope: {team: t0}, limit_requests: 50, window: day}", 145),
        ('{scope: {team: "*"}, limit_requests: 50, window: day}', 290),
        ("{scope: {model: tiny}, limit_requests: 100, window: day}", 290),
        ("{limit_concurrent: 1}", 0),
        ("{limit_usd: 0.00404, window: day, at: {100%: notify}}", 0),
        ("{limit_usd: 0.004, window: day}", 187),
    ],
    ids=["all", "one team", "each team", "a model", "at once", "notify", "dollars, with the worst case of the next"],
)
def test_budgets_deny_in_the_order_of_time(simulate: Simulate, budget: str, denied: int) -> None:
    if datetime.now(UTC) + timedelta(seconds=30) > datetime.now(UTC).replace(hour=23, minute=59, second=59):
        pytest.skip("a day ends within this test")
    found = simulate(fixed("tiny"), fixed("tiny"), more=f"budgets: [{budget}]\n", by="team")
    count = round((found.total.after.denied.value or 0) * 390)
    assert abs(count - denied) <= (12 if "usd" in budget else 0)
    if denied:
        assert found.total.cost.value is not None
        assert found.total.cost.value < -0.3
        assert found.total.denied.low is not None
        assert found.total.denied.low > 0


def test_a_budget_that_asks_for_cheaper_routes_is_heard(simulate: Simulate) -> None:
    budget = "budgets: [{limit_requests: 200, window: day, at: {50%: downgrade, 200%: notify}}]\n"
    found = simulate(fixed("large"), fixed("large", "tiny"), more=budget)
    assert found.models["after"] == {"tiny": 290, "large": 100}


def test_a_policy_that_reads_text_says_that_none_is_stored(simulate: Simulate) -> None:
    from router.errors import ConfigurationError

    with pytest.raises(ConfigurationError, match="reads the text of requests, and none is stored"):
        simulate(fixed("tiny"), "when: {language: en}, " + fixed("tiny"))


def test_a_limit_on_latency_goes_by_the_calls_of_the_ledger(tmp_path: Path) -> None:
    with Router(policy(tmp_path, fixed("tiny")), tmp_path / "s", ReplayTransport.of_rows(ROWS, by="prompt")) as live:
        for prompt in PROMPTS[:20]:
            live.complete([{"role": "user", "content": prompt}], task="sums")
        calls = live.ledger.rows("SELECT latency_s FROM attempts")
        assert max(call["latency_s"] for call in calls) > 0.00001
        pasts = read(live.ledger, [], None, 0, None).pasts
    slow = [replace(past, calls=[{**past.calls[0], "latency_s": 2.0}]) for past in pasts]
    limited = Party.load(policy(tmp_path, "max_latency_ms: 1000, " + fixed("tiny", "large")))
    for known, first in ((pasts, "tiny"), (slow, "large")):
        ruling = View(limited, Habits(known), datetime.now(UTC)).decide(known[0])
        assert not isinstance(ruling, str)
        assert ruling.decision.plan[0] == first


def test_a_pinned_model_that_the_new_policy_lacks_is_denied(tmp_path: Path) -> None:
    with Router(policy(tmp_path, fixed("tiny")), tmp_path / "s", ReplayTransport.of_rows(ROWS, by="prompt")) as live:
        for row in ROWS[:60:3]:
            live.complete([{"role": "user", "content": row["prompt"]}], model="large")
    lean = tmp_path / "lean.yaml"
    lean.write_text(
        "version: 1\nmodels: [{id: tiny, call: replay/tiny}]\nrules: [{candidates: tiny, strategy: fixed}]\n"
    )
    ledger = Ledger(tmp_path / "s" / "ledger.sqlite3")
    found = compare(from_ledger(ledger, None, Party.load(lean), datetime.now(UTC)))
    ledger.close()
    assert found.denials == {"the policy lists no model 'large'": 20}


def test_what_evals_and_judges_asked_is_no_traffic(tmp_path: Path) -> None:
    serves = policy(tmp_path, fixed("large"))
    with Router(serves, tmp_path / "s", ReplayTransport.of_rows(ROWS, by="prompt")) as live:
        for workflow in ("eval", "eval-judge", None, "support"):
            asked = [{"role": "user", "content": PROMPTS[0]}]
            live.complete(asked, model="tiny" if workflow else None, task="sums", workflow=workflow)
        found = from_ledger(live.ledger, None, Party.load(serves), datetime.now(UTC))
    assert compare(found).total.requests == 2


def test_the_mean_of_a_few_answers_is_known_no_better_than_by_a_few(tmp_path: Path) -> None:
    with Router(policy(tmp_path, fixed("tiny")), tmp_path / "s", ReplayTransport.of_rows(ROWS, by="prompt")) as live:
        for prompt in PROMPTS[:200]:
            live.complete([{"role": "user", "content": prompt}], task="sums")
        pasts = read(live.ledger, [], None, 0, None).pasts
    served = ["tiny"] * 20 + ["large"] * 180  # for good: what tiny would have answered since, its mean alone tells
    after, draws = Party.load(policy(tmp_path, fixed("tiny"))), np.random.default_rng(0)

    def paid(past: Past, model: str, length: float) -> float:
        return (past.input_tokens + length) * {"tiny": 1e-6, "large": 60e-6}[model]

    held = 0
    for _ in range(100):
        here, there, elsewhere = draws.lognormal(4, 0.6, (3, 200)).round()
        made = [
            replace(past, action=model, chances={model: 1.0}, cost_usd=paid(past, model, length),
                    answer={**(past.answer or {}), "model": model, "output_tokens": int(length)},
                    calls=[{**past.calls[0], "model": model, "output_tokens": int(length)}])
            for past, model, length in zip(pasts, served, here, strict=True)
        ]  # fmt: skip
        view = View(after, Habits(made), datetime.now(UTC))
        ruling = view.decide(made[0])
        assert not isinstance(ruling, str)
        pairs = []
        for past in made:
            was, (will, plain) = Side(action=past.action, cost_usd=past.cost_usd), view.sides(past, ruling.decision)
            pairs.append(Pair(cluster=past.cluster, scope=past.scope, a=was, b=will, plain=(was, plain)))
        low, high = compare(Simulated(pairs=pairs)).total.cost.ends or (0.0, 0.0)
        before = sum(map(paid, pasts, served, there))
        came = sum(map(paid, pasts, ["tiny"] * 200, elsewhere)) / before - 1
        held += low <= came <= high
    assert held >= 80
