"""Token log-probabilities: as a signal that training learns, and as a cascade asks a provider for them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from loopback import Provider, Step, reply, status
from sums import QUESTION, TINY_AND_LARGE, answers, lay_down

import router
from router.answers import mean_logprob
from router.outcomes import read_outcomes, write_outcomes
from router.predict import Predictor
from router.predict.artifact import Artifact
from router.predict.evaluate import TrainReport
from router.predict.train import train

POLICY = """
version: 1
artifact: artifact
models:
  - {id: tiny, call: openai/tiny, api_base: "URL", price: {input: 0.05, output: 0.05}}
  - {id: large, call: openai/large, api_base: "URL", price: {input: 6, output: 6}}
tasks:
  sums: {bar: {max_drop: 0.05, vs: large, confidence: 0.9}}
rules:
  - {when: {task: sums}, candidates: [tiny, large], strategy: cascade}
"""
SURE, UNSURE = -0.05, -0.75


def outcomes(queries: int, *, share: float = 1.0, seed: int = 1) -> pa.Table:
    """Sums, which a model is surer of where it is right; `share` of the answers tell how sure."""

    def sureness(random: np.random.Generator, right: bool) -> dict[str, float | None]:
        luck, tells = random.normal(), random.random() < share
        return {"logprob": min(0.0, (-0.15 if right else -0.55) + 0.15 * luck) if tells else None}

    return answers(queries, seed=seed, models=TINY_AND_LARGE, more=sureness)


def saving(report: TrainReport) -> float:
    """What the held-out cascade saves against the best constant model, at hardly any loss."""
    (verdict,) = [one for one in report.verdicts if one.strategy == "cascade"]
    (against,) = [one for one in verdict.comparisons if one.versus == "best constant"]
    assert against.quality_difference > -0.01
    return 1.0 - against.cost_ratio


@pytest.fixture(scope="module")
def trained() -> tuple[Artifact, TrainReport]:
    return train(outcomes(1_200))


# --- training ---


def test_a_cascade_gains_where_log_probabilities_tell_and_the_more_so_the_more_of_them_there_are(
    trained: tuple[Artifact, TrainReport],
) -> None:
    without, half = (saving(train(outcomes(1_200, share=share))[1]) for share in (0.0, 0.5))
    assert without < 0.1
    assert without + 0.15 < half < saving(trained[1]) - 0.1


def test_without_log_probabilities_an_artifact_is_what_it_was_before_there_were_any() -> None:
    table = outcomes(300, share=0.0)
    assert "sureness_weights" not in train(table)[0].arrays
    assert train(table)[0].sha256 == train(table.drop_columns(["logprob"]))[0].sha256


def test_an_answer_that_tells_nothing_is_judged_by_the_rest_and_is_still_calibrated() -> None:
    """Half of the rows have none: the chance of either half is what comes true in it."""
    table = outcomes(2_400, share=0.5)
    predictor = Predictor(train(table)[0])
    chances: dict[bool, list[tuple[float, float]]] = {True: [], False: []}
    for row in outcomes(1_000, share=0.5, seed=7).to_pylist():
        if row["model"] == "tiny":
            chance = judged(predictor, row["response"], row["logprob"], row["prompt"])
            chances[row["logprob"] is not None].append((chance, row["quality"]))
    for found in chances.values():
        expected, came = np.array(found).T
        assert abs(expected.mean() - came.mean()) < 0.06
    spread = {tells: np.std([chance for chance, _ in found]) for tells, found in chances.items()}
    assert spread[True] > spread[False] + 0.15


def judged(predictor: Predictor, response: str, logprob: float | None, prompt: str = "What is 123 + 456?") -> float:
    """P(the first answer clears)."""
    task, leaf = predictor.labels("sums", None)
    for price in predictor.dial(50, "cascade").tolist():
        choice = predictor.choice(price, task, leaf)
        if choice is not None and choice.ladder is not None:
            expected = predictor.predict_many([prompt], ["sums"], [None]).quality[0]
            climb = predictor.climb(choice, expected, prompt, task, leaf)
            climb.hear(predictor.models.index("tiny"), response, 8, logprob)
            return climb.chance
    raise AssertionError("no price at which the ladder is climbed")


def test_a_sure_answer_is_worth_more_than_an_unsure_one_and_an_absurd_one_not_the_world(
    trained: tuple[Artifact, TrainReport],
) -> None:
    predictor = Predictor(trained[0])
    sure, silent, unsure, absurd = (
        judged(predictor, "The answer is 579.", logprob) for logprob in (SURE, None, UNSURE, -9_999.0)
    )
    assert sure > silent > unsure >= absurd > 0.0


# --- tables ---


def test_the_column_may_have_gaps_but_no_probability_above_one(tmp_path: Path) -> None:
    for name in ("t.parquet", "t.jsonl", "t.csv"):
        write_outcomes(tmp_path / name, outcomes(30, share=0.5).to_pylist())
        read = read_outcomes(tmp_path / name)["logprob"]
        assert 0 < read.null_count < 60, name
    write_outcomes(tmp_path / "bad.parquet", [{**row, "logprob": 0.5} for row in outcomes(30).to_pylist()])
    with pytest.raises(router.RouterError, match=r"row 1: logprob is 0\.5"):
        read_outcomes(tmp_path / "bad.parquet")


@pytest.mark.parametrize(
    ("choices", "mean"),
    [
        ([{"logprobs": {"content": [{"logprob": -1.0}, {"logprob": -3}]}}], -2.0),
        ([{"logprobs": {"content": [{"logprob": 1e-9}]}}], 0.0),
        ([{"logprobs": {"content": [{"logprob": -1.0}, {"logprob": None}]}}], None),
        ([{"logprobs": {"content": [{"logprob": "-1"}]}}], None),
        ([{"logprobs": {"content": [{"logprob": float("nan")}]}}], None),
        ([{"logprobs": {"content": []}}], None),
        ([{"logprobs": {"content": None}}], None),
        ([{"logprobs": {"content": "odd"}}], None),
        ([{"logprobs": "odd"}], None),
        ([{}], None),
        ([], None),
    ],
)
def test_what_a_provider_sends_is_read_or_left_alone(choices: list[Any], mean: float | None) -> None:
    assert mean_logprob({"choices": choices}) == mean


# --- in a router, over HTTP ---


@pytest.fixture
def serving(trained: tuple[Artifact, TrainReport], provider: Provider, tmp_path: Path) -> Iterator[router.Router]:
    assert "cascade" in trained[1].promoted
    lay_down(trained[0], tmp_path, TINY_AND_LARGE)
    (tmp_path / "policy.yaml").write_text(POLICY.replace("URL", provider.url), encoding="utf-8")
    with router.Router(tmp_path / "policy.yaml", tmp_path / "state") as made:
        yield made


def answer(text: str, logprob: float) -> Step:
    tokens = [{"token": word, "logprob": logprob, "bytes": None, "top_logprobs": []} for word in text.split()]
    message = {"role": "assistant", "content": text}
    told = {"content": tokens, "refusal": None}
    return reply(text, choices=[{"index": 0, "message": message, "finish_reason": "stop", "logprobs": told}])


def test_a_live_cascade_asks_for_them_stops_where_they_are_sure_and_hands_none_over(
    serving: router.Router, provider: Provider
) -> None:
    provider.always("large", reply("The answer is 579."))
    provider.always("tiny", answer("The answer is 579.", SURE))
    sure = serving.complete(QUESTION, task="sums")
    provider.always("tiny", answer("The answer is 579.", UNSURE))
    unsure = serving.complete(QUESTION, task="sums")
    assert sure.decision.strategy == "cascade"
    assert [attempt.model for attempt in sure.attempts] == ["tiny"]
    assert [attempt.model for attempt in unsure.attempts] == ["tiny", "large"]
    assert provider.requests_for("tiny")[0].body["logprobs"] is True
    assert "logprobs" not in sure.choices[0]


def test_a_caller_who_asks_for_them_gets_them(serving: router.Router, provider: Provider) -> None:
    provider.always("tiny", answer("The answer is 579.", SURE))
    done = serving.complete(QUESTION, task="sums", logprobs=True)
    assert len(done.choices[0]["logprobs"]["content"]) == 4


def test_a_provider_that_stops_telling_costs_calls_and_no_quality(serving: router.Router, provider: Provider) -> None:
    for model in TINY_AND_LARGE:
        provider.always(model, reply("The answer is 579."))
    done = serving.complete(QUESTION, task="sums")
    assert [attempt.model for attempt in done.attempts] == ["tiny", "large"]


def test_a_server_that_refuses_to_tell_is_asked_without(serving: router.Router, provider: Provider) -> None:
    provider.script("tiny", [status(400, message="logprobs are not supported"), reply("The answer is 579.")])
    provider.always("large", reply("The answer is 579."))
    done = serving.complete(QUESTION, task="sums")
    first, second = provider.requests_for("tiny")
    assert "logprobs" in first.body
    assert "logprobs" not in second.body
    assert [attempt.outcome for attempt in done.attempts if attempt.model == "tiny"] == ["error", "ok"]


def test_a_single_call_does_not_ask_for_them(serving: router.Router, provider: Provider) -> None:
    serving.complete(QUESTION, model="tiny")
    assert "logprobs" not in provider.requests_for("tiny")[0].body
