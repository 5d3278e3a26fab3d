"""What a learned plan loses is looked for in answers of the model that it is held against."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
from sums import prompts, recorded

import router
from router._request import chat_request
from router.decide import decide
from router.predict import Predictor
from router.predict.alarm import watch
from router.predict.online import Experience
from router.reproduce import reproduce


@pytest.fixture
def audited(folder: Path) -> Path:
    """The policy, with every second answer for an audit."""
    policy = (folder / "policy.yaml").read_text(encoding="utf-8")
    (folder / "audited.yaml").write_text(policy + "learning: {from_feedback: true, explore: 0.5}\n", encoding="utf-8")
    return folder / "audited.yaml"


def test_an_alarm_trusts_no_learned_plan(audited: Path, tmp_path: Path) -> None:
    with router.Router(audited, tmp_path / "state", recorded()) as serving:
        predictor = Predictor.load(audited.parent / "artifact")
        experience = Experience(row=1, watches={"sums": watch([(0.0, 0.9)] * 30)})
        asked = chat_request(prompts()[0], task="sums")
        ruling = decide(asked, serving.policy, predictor, datetime.now(UTC), experience)
    assert (ruling.decision.plan[0], ruling.decision.strategy, ruling.listener) == ("large", "single", None)
    assert ruling.decision.promise is None


def test_a_drop_is_audited_by_the_model_that_it_is_held_against(audited: Path, tmp_path: Path) -> None:
    with router.Router(audited, tmp_path / "state", recorded()) as serving:
        done = [serving.complete(messages, task="sums") for messages in prompts()[:40]]
        audits = [one for one in done if one.decision.strategy == "single"]
        assert 8 <= len(audits) <= 32
        for one in audits:
            assert [attempt.model for attempt in one.attempts] == ["large"]
            assert one.decision.promise == (
                "audit: drawn for large alone with a chance of 0.5, to hear what the learned plan loses"
            )
        assert {one.decision.propensity for one in done} == {0.5}
        assert all(one.decision.strategy == "cascade" for one in done if one not in audits)
        found = reproduce(audits[0].id, serving.ledger, tmp_path / "state", audited)
        assert (found.is_same, found.differences) == (True, ())
        tools = [{"type": "function", "function": {"name": "add"}}]
        for messages in prompts()[:20]:  # an agent's loop goes on as it began
            assert serving.explain(messages, task="sums", tools=tools).propensity == 1.0


def test_a_learned_plan_that_loses_more_than_its_drop_raises_an_alarm(audited: Path, tmp_path: Path) -> None:
    with router.Router(audited, tmp_path / "state", recorded()) as serving:
        for messages in prompts():
            done = serving.complete(messages, task="sums")
            serving.record_feedback(done.id, float(done.decision.strategy == "single"))
        decision = serving.explain(prompts()[0], task="sums")
    assert (decision.plan[0], decision.strategy) == ("large", "single")
    told = next(one.reason for one in decision.candidates if one.model == "tiny")
    assert "where at most 0.03 was promised" in told or "max_drop" in told
