"""Feedback through the whole router: written by one process, heard by the next decision."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import router
from router.errors import PolicyError
from router.policy import load_policy
from router.predict.learner import Learner
from router.reproduce import reproduce
from router.spend.ledger import Ledger

HELLO = [{"role": "user", "content": "hello there"}]
POLICY = """
version: 1
models:
  - {id: small, call: fake/small, price: {input: 1, output: 4}}
  - {id: large, call: fake/large, price: {input: 10, output: 40}}
tasks: {qa: {bar: 0.9}}
rules: [{when: {task: qa}, candidates: [small, large], LEARNING}, {candidates: [large], strategy: fixed}]
"""
LEARNS = "learning: {from_feedback: true}"
EXPLORES = "learning: {from_feedback: true, explore: 0.5}"


def evidence(folder: Path, model: str, mean: float, created: str = "2020-01-01T00:00:00Z") -> None:
    folder.mkdir(exist_ok=True)
    row = {
        "version": 1, "task": "qa", "model": model, "model_version": None, "run_id": "e1", "suite_sha256": "0",
        "n": 400, "mean": mean, "lower": mean - 0.02, "confidence": 0.95, "metric": "pass", "scorer": "exact",
        "price": None, "created": created, "expires": None,
    }  # fmt: skip
    (folder / f"qa--{model}.json").write_text(json.dumps(row), encoding="utf-8")


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Any]:
    """Makes routers over one state, with the rule's learning as given."""
    made: list[router.Router] = []

    def build(learning: str) -> router.Router:
        path = tmp_path / "policy.yaml"
        path.write_text(POLICY.replace("LEARNING", learning), encoding="utf-8")
        for model, mean in (("small", 0.94), ("large", 0.97)):
            if not (tmp_path / "evidence" / f"qa--{model}.json").exists():
                evidence(tmp_path / "evidence", model, mean)
        made.append(router.Router(path, tmp_path / "state", router.FakeTransport({})))
        return made[-1]

    yield build
    for one in made:
        one.close()


def teach(one: router.Router, scores: list[float], large: float | None = None) -> router.Completion:
    """Score so many answers as given; those of the large model by `large`, if given."""
    for score in scores:
        done = one.complete(HELLO, task="qa")
        one.record_feedback(done.id, score if large is None or done.model == "small" else large)
    return one.complete(HELLO, task="qa")


def test_feedback_teaches_nothing_unless_the_policy_says_so(make: Any) -> None:
    done = teach(make("cache: false"), [0.0] * 40)
    assert (done.model, done.decision.feedback_row) == ("small", 0)


def test_bad_feedback_moves_traffic_to_the_next_model_at_the_next_request(make: Any) -> None:
    done = teach(make(LEARNS), [0.0] * 20, large=1.0)
    assert done.model == "large"
    small = next(one for one in done.decision.candidates if one.model == "small")
    assert small.reason.startswith("feedback: mean 0.8")
    assert done.decision.feedback_row == 20


def test_another_process_hears_of_it(make: Any) -> None:
    first = make(LEARNS)
    second = make(LEARNS)
    teach(first, [0.0] * 20, large=1.0)
    assert second.explain(HELLO, task="qa").plan[0] == "large"


def test_an_alarm_stops_routing_down_until_it_is_acknowledged(make: Any) -> None:
    one = make(LEARNS)
    teach(one, [0.6] * 60)
    decision = one.explain(HELLO, task="qa")
    assert decision.plan[0] == "large"
    assert Learner(one.ledger).now().watches["qa"].raised
    one.ledger.append_acknowledgement("qa", "looked into it")
    assert "qa" not in Learner(one.ledger).now().watches
    assert "alarm" not in one.explain(HELLO, task="qa").explain()


def test_new_evidence_starts_a_model_afresh(make: Any, tmp_path: Path) -> None:
    one = make(LEARNS)
    teach(one, [0.0] * 20, large=1.0)
    one.ledger.append_acknowledgement("qa")
    assert one.explain(HELLO, task="qa").plan[0] == "large"
    evidence(tmp_path / "evidence", "small", 0.94, created="2090-01-01T00:00:00Z")
    assert make(LEARNS).explain(HELLO, task="qa").plan[0] == "small"


def test_only_the_first_score_of_an_answer_counts(make: Any) -> None:
    one = make(LEARNS)
    done = one.complete(HELLO, task="qa")
    for score in (1.0, 0.0, 0.0):
        one.record_feedback(done.id, score)
    learner = Learner(one.ledger)
    assert learner.now().tallies["qa", "small"].n == 1
    assert learner.now().tallies["qa", "small"].total == 1.0
    assert learner.now() is learner.now()


def test_reading_bit_by_bit_gives_what_reading_at_once_gives(make: Any) -> None:
    one = make(LEARNS)
    learner = Learner(one.ledger)
    for number in range(8):
        teach(one, [number % 2])
        learner.now()
    assert learner.now() == Learner(one.ledger).now()


def test_a_past_decision_comes_out_again_though_feedback_has_come_since(make: Any, tmp_path: Path) -> None:
    make(EXPLORES)
    with (tmp_path / "policy.yaml").open("a", encoding="utf-8") as file:
        file.write("data: {store_text: full}")
    one = router.Router(tmp_path / "policy.yaml", tmp_path / "state", router.FakeTransport({}))
    before = [one.complete(HELLO, task="qa") for _ in range(12)]
    teach(one, [0.0] * 20, large=1.0)
    later = [one.complete(HELLO, task="qa") for _ in range(3)]
    one.ledger.append_acknowledgement("qa")
    teach(one, [0.0] * 3)
    for done in (*before, *later):
        again = reproduce(done.id, one.ledger, tmp_path / "state", tmp_path / "policy.yaml")
        assert (again.is_same, again.differences) == (True, ()), again.why
    one.close()


def test_the_decision_in_the_ledger_tells_its_propensities(make: Any) -> None:
    one = make(EXPLORES)
    done = [one.complete(HELLO, task="qa") for _ in range(40)]
    assert {answer.model for answer in done} == {"small", "large"}
    for answer in done:
        row = one.ledger.request(answer.id)
        assert row is not None
        told = json.loads(row["decision"])
        assert told["propensity"] == (0.75 if answer.model == "small" else 0.25)
        assert {c["model"]: c["propensity"] for c in told["candidates"]} == {"small": 0.75, "large": 0.25}


def test_tool_loops_are_never_explored(make: Any) -> None:
    one = make(EXPLORES)
    tools = [{"type": "function", "function": {"name": "look", "parameters": {}}}]
    loop = [*HELLO, {"role": "assistant", "content": "", "tool_calls": []}, {"role": "tool", "content": "x"}]
    for _ in range(20):
        assert one.explain(HELLO, task="qa", tools=tools).plan[0] == "small"
        assert one.explain(loop, task="qa").plan[0] == "small"
        assert one.explain(HELLO).propensity == 1.0


def test_acknowledgements_are_append_only(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger.sqlite3")
    ledger.append_acknowledgement("qa", "why")
    with pytest.raises(Exception, match="append-only"):
        ledger.rows("DELETE FROM acknowledgements")
    ledger.close()


@pytest.mark.parametrize(
    ("learning", "problem"),
    [
        ("learning: {explore: 0.1}", "`explore` needs `from_feedback: true`"),
        ("learning: {from_feedback: true, explore: 0.7}", "0.5"),
        ("learning: {from_feedback: maybe}", "from_feedback"),
        ("strategy: fixed, learning: {from_feedback: true}", "learns nothing; remove `learning`"),
        ("learning: {from_feedbak: true}", "did you mean 'from_feedback'"),
    ],
)
def test_mistakes_in_a_policy_are_named_with_their_line(tmp_path: Path, learning: str, problem: str) -> None:
    path = tmp_path / "policy.yaml"
    path.write_text(POLICY.replace("LEARNING", learning), encoding="utf-8")
    with pytest.raises(PolicyError, match=r"policy\.yaml:7") as caught:
        load_policy(path)
    assert problem in str(caught.value)


def test_the_policys_learning_holds_where_the_rule_says_nothing(tmp_path: Path) -> None:
    path = tmp_path / "policy.yaml"
    path.write_text(POLICY.replace("LEARNING", "cache: false") + LEARNS, encoding="utf-8")
    policy = load_policy(path)
    assert policy.learns
    assert [policy.learning_of(rule).from_feedback for rule in policy.rules] == [True, False]
