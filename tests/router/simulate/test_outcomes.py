"""Two policies over an outcome table: the real decision and flow, prices of each policy, no call."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from sums import MODELS, answers, lay_down

from router import Router
from router.predict.train import train
from router.simulate import Comparison, compare
from router.simulate.gates import Limits, judge
from router.simulate.outcomes import from_outcomes
from router.simulate.party import Party
from router.transports.replay import ReplayTransport

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
POLICY = """\
version: 1
models:
  - {{id: tiny, call: replay/tiny, price: {{input: 1, output: 1}}, max_output_tokens: 100}}
  - {{id: large, call: replay/large, price: {{input: 60, output: 60}}, max_output_tokens: 100}}
  - {{id: other, call: replay/NAME, price: {{input: 1, output: 2}}, max_output_tokens: 100}}
rules:
  - {{{rule}}}
{more}"""


def party(folder: Path, rule: str, more: str = "") -> Party:
    path = folder / f"{abs(hash((rule, more)))}.yaml"
    path.write_text(POLICY.format(rule=rule, more=more), encoding="utf-8")
    return Party.load(path)


def fixed(*models: str, more: str = "") -> str:
    return f"candidates: [{', '.join(models)}], strategy: fixed{more}"


def simulated(folder: Path, before: str, after: str, table: pa.Table | None = None, **names: str) -> Comparison:
    found = from_outcomes(answers(200) if table is None else table, party(folder, before), party(folder, after), NOW,
                          names)  # fmt: skip
    return compare(found)


def test_the_same_routes_change_nothing_for_certain(tmp_path: Path) -> None:
    total = simulated(tmp_path, fixed("tiny"), fixed("tiny", "large")).total
    assert total.changed == 0
    assert (total.cost.low, total.cost.high, total.quality.low, total.quality.high) == (0, 0, 0, 0)


def test_each_policy_pays_its_own_prices_on_the_tokens_of_the_table(tmp_path: Path) -> None:
    table = answers(200)
    total = simulated(tmp_path, fixed("large"), fixed("tiny"), table).total
    rows = table.to_pylist()
    for name, price, told in (("large", 60, total.before), ("tiny", 1, total.after)):
        own = [row for row in rows if row["model"] == name]
        paid = sum(row["input_tokens"] + row["output_tokens"] for row in own) * price / 1e6 / len(own)
        assert told.cost_usd == pytest.approx(paid)
        assert told.quality == pytest.approx(sum(row["quality"] for row in own) / len(own))
    assert total.quality.low is not None
    assert total.quality.high is not None
    assert total.quality.low < -0.25 < total.quality.high
    assert total.denied.value == 0
    assert (total.denied.low or 0) < 0 < (total.denied.high or 0), "that nobody was denied yet is no proof"


def test_a_limit_sends_the_dear_model_s_requests_to_its_fallback_or_nowhere(tmp_path: Path) -> None:
    limit = ", max_cost_usd: 0.001"
    found = simulated(tmp_path, fixed("large"), fixed("large", more=limit))
    assert found.total.after.denied.value == 1
    assert found.denials == {"no model may serve (rule 1 (line 7))": 200}
    found = simulated(tmp_path, fixed("large"), fixed("large", more=f"{limit}, fallback: [tiny]"))
    assert found.models["after"] == {"tiny": 200}
    assert found.total.after.denied.value == 0


@pytest.mark.parametrize(
    ("names", "extrapolated"),
    [({}, 1.0), ({"other": "small"}, 0.0)],
    ids=["a model that the table does not know", "named"],
)
def test_what_the_table_does_not_know_is_extrapolated_and_said(
    tmp_path: Path, names: dict[str, str], extrapolated: float
) -> None:
    found = simulated(tmp_path, fixed("large"), fixed("other"), **names)
    assert found.total.extrapolated == extrapolated
    assert bool(found.notes) == bool(extrapolated)
    if extrapolated:
        assert "answers the table does not have (other 200 queries)" in found.notes[0]
        assert found.total.quality.worst is not None
        assert found.total.quality.worst < -0.9
        assert found.total.cost.worst is not None


def test_an_artifact_s_cascade_climbs_as_the_router_does_and_its_own_table_is_in_sample(tmp_path: Path) -> None:
    table, fresh = answers(600), answers(150, seed=5)
    lay_down(train(table)[0], tmp_path)
    models = "\n".join(f"  - {{id: {name}, call: replay/{name}, price: {{input: {price}, output: {price}}}}}"
                       for name, (_, price) in MODELS.items())  # fmt: skip
    path = tmp_path / "cascade.yaml"
    path.write_text(
        f"version: 1\nartifact: artifact\nmodels:\n{models}\n"
        "tasks: {sums: {bar: {max_drop: 0.05, vs: large, confidence: 0.8}}}\n"
        "rules:\n  - {when: {task: sums}, candidates: [tiny, small, large], strategy: cascade}\n",
        encoding="utf-8",
    )
    cascade = Party.load(path)
    found = from_outcomes(fresh, party(tmp_path, fixed("large")), cascade, NOW)
    assert found.notes == ()
    asked = {pair.b.action for pair in found.pairs}
    assert len(asked) > 1, "nothing ever climbs"
    known = {(row["prompt"], row["model"]): row for row in fresh.to_pylist()}
    with Router(path, tmp_path / "live", ReplayTransport.of_rows(fresh.to_pylist(), by="prompt")) as live:
        for pair, prompt in zip(found.pairs, dict.fromkeys(fresh["prompt"].to_pylist()), strict=False):
            done = live.complete([{"role": "user", "content": prompt}], task="sums")
            assert pair.b.action == " > ".join(one.model for one in done.attempts)
            assert pair.b.cost_usd == pytest.approx(float(done.cost_usd))
            assert pair.b.quality == known[prompt, done.model]["quality"]
    again = from_outcomes(table, party(tmp_path, fixed("large")), cascade, NOW)
    assert any("in-sample: the artifact of the new policy was trained on 100%" in note for note in again.notes)


def test_a_limit_on_latency_goes_by_the_times_of_the_table(tmp_path: Path) -> None:
    def more(random: Any, right: bool) -> dict[str, Any]:
        return {"latency_s": float(random.uniform(1, 2))}

    slow = answers(60, more=more)
    quick = pa.Table.from_pylist([
        row | {"latency_s": row["latency_s"] / 10} if row["model"] == "tiny" else row for row in slow.to_pylist()
    ])  # fmt: skip
    limited = fixed("large", "tiny", more=", max_latency_ms: 500")
    found = simulated(tmp_path, fixed("large"), limited, quick)
    assert found.models["after"] == {"tiny": 60}
    assert found.total.latency.value is not None
    assert -0.95 < found.total.latency.value < -0.85
    assert simulated(tmp_path, fixed("large"), limited, slow).denials == {"no model may serve (rule 1 (line 7))": 60}


def test_times_of_requests_that_stay_say_nothing_of_those_that_change(tmp_path: Path) -> None:
    def more(random: Any, right: bool) -> dict[str, Any]:
        return {"latency_s": 1.0}

    def told(row: dict[str, Any]) -> dict[str, Any]:
        if row["query_id"] >= "q0040":
            return row | {"task": "others"}
        return row | {"latency_s": None} if row["model"] == "tiny" else row

    rows = [told(row) for row in answers(60, more=more).to_pylist()]
    changed = "when: {task: sums}, " + fixed("tiny")
    after = party(tmp_path, changed, "  - {candidates: [large], strategy: fixed}\n")
    found = compare(from_outcomes(pa.Table.from_pylist(rows), party(tmp_path, fixed("large")), after, NOW))
    (gate,) = judge(found, Limits(latency_change=0.1))
    assert (gate.verdict, gate.why) == ("not enough evidence", "unknown of 40 requests")


def test_three_requests_that_took_as_long_elsewhere_tell_no_interval(tmp_path: Path) -> None:
    def more(random: Any, right: bool) -> dict[str, Any]:
        return {"latency_s": 1.0}

    total = simulated(tmp_path, fixed("large"), fixed("tiny"), answers(3, more=more)).total
    assert (total.latency.value, total.latency.ends) == (0, None)


def test_groups_are_by_task_subtask_and_the_tags_of_further_columns(tmp_path: Path) -> None:
    def more(random: Any, right: bool) -> dict[str, Any]:
        return {"team": "search", "subtask": "easy", "plan": "gold"}

    found = from_outcomes(answers(30, more=more), party(tmp_path, fixed("large")), party(tmp_path, fixed("tiny")), NOW)
    (group,) = compare(found, ["team", "subtask", "plan"]).groups
    assert group.scope == {"team": "search", "subtask": "easy", "plan": "gold"}
    assert group.requests == 30


def test_budgets_of_a_table_are_said_to_be_left_out(tmp_path: Path) -> None:
    tight = party(tmp_path, fixed("tiny"), "budgets: [{limit_usd: 0, window: day}]\n")
    found = from_outcomes(answers(30), party(tmp_path, fixed("tiny")), tight, NOW)
    assert any("budgets, which are not simulated" in note for note in found.notes)
