"""Evidence carries a bar only if it is there, fresh, of the right version and metric, sure enough and high enough."""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from router.bounds import clopper_pearson_lower
from router.policy.evidence import Evidence, evidence_gap, least_samples, more_right, read_evidence, samples_for_mean
from router.policy.models import ModelEntry
from router.policy.schema import Bar

NOW = datetime(2026, 3, 1, tzinfo=UTC)
ROW: dict[str, Any] = {
    "version": 1, "task": "qa", "model": "small", "model_version": "v1", "run_id": "run-7", "suite_sha256": "ab",
    "n": 200, "mean": 0.9, "lower": 0.86, "confidence": 0.95, "metric": "accuracy", "scorer": "exact",
    "price": {"input": "1"}, "created": "2026-01-01T00:00:00Z", "expires": "2026-06-01T00:00:00Z",
}  # fmt: skip


def gap(*, bar: float = 0.8, confidence: float = 0.95, metric: str | None = None, **changes: Any) -> str | None:
    version = changes.pop("asked_version", None)
    return evidence_gap(
        Evidence.model_validate({**ROW, **changes}),
        task="qa",
        model=ModelEntry(id="small", call="fake/small", version=version),
        bar=Bar(min=bar, confidence=confidence),
        metric=metric,
        now=NOW,
    )


def no_evidence(bar: float) -> str | None:
    model = ModelEntry(id="small", call="fake/small")
    return evidence_gap(None, task="qa", model=model, bar=Bar.model_validate(bar), metric=None, now=NOW)


@pytest.mark.parametrize(
    "kept",
    [
        pytest.param({}, id="plain"),
        pytest.param({"bar": 0.86}, id="the bound equals the bar"),
        pytest.param({"asked_version": "v1"}, id="the version that is asked for"),
        pytest.param({"metric": "accuracy"}, id="the metric that is asked for"),
        pytest.param({"confidence": 0.9}, id="more confidence than asked for"),
        pytest.param({"expires": None}, id="never expires"),
        pytest.param({"expires": "2026-03-01T00:00:01"}, id="expires in a second, without a time zone"),
        pytest.param({"lower": 0.0, "bar": 0.0}, id="bar 0 asks for nothing"),
    ],
)
def test_good_evidence_carries_the_bar(kept: dict[str, Any]) -> None:
    assert gap(**kept) is None


@pytest.mark.parametrize(
    ("given", "told"),
    [
        pytest.param(
            {"expires": "2026-03-01T00:00:00Z"}, "run run-7 expired on 2026-03-01; evaluate again", id="expired"
        ),
        pytest.param({"asked_version": "v2"}, "no evidence for version v2 (run run-7 measured v1)", id="other version"),
        pytest.param({"asked_version": "v2", "model_version": None}, "for version v2", id="no version"),
        pytest.param({"metric": "f1"}, "no evidence by metric f1 (run run-7 measured accuracy)", id="other metric"),
        pytest.param({"confidence": 0.99}, "no evidence at confidence 0.99 (run run-7 has 0.95)", id="less confidence"),
        pytest.param(
            {"bar": 0.88}, "below bar 0.88: mean 0.900 on n=200, lower bound 0.860; about", id="below the bar"
        ),
        pytest.param({"bar": 0.88, "judge": {"labels": 40}}, "whether samples or labels are missing", id="judged"),
        pytest.param({"bar": 0.95, "judge": {"labels": 40}}, "no number of samples", id="a judge's mean below the bar"),
        pytest.param({"bar": 0.95}, "no number of samples at this mean would carry it", id="mean below the bar"),
    ],
)
def test_bad_evidence_says_what_is_missing(given: dict[str, Any], told: str) -> None:
    assert told in (gap(**given) or "nothing")


def test_missing_evidence_says_how_many_samples_are_needed() -> None:
    assert no_evidence(0.95) == "no evidence for task qa: needs at least 59 samples for bar 0.95"
    assert no_evidence(1.0) == "no evidence for task qa: no sample can carry bar 1; lower it"
    assert no_evidence(0.0) is None


@pytest.mark.parametrize("confidence", [0.6, 0.8, 0.9, 0.95, 0.99])
@pytest.mark.parametrize("bar", [0.01, 0.1, 0.2, 0.5, 0.75, 0.9, 0.95, 0.99, 0.999])
def test_least_samples_is_the_first_clopper_pearson_bound_that_reaches_the_bar(bar: float, confidence: float) -> None:
    from scipy.stats import beta

    def bound(n: int) -> float:
        return float(beta.ppf(1 - confidence, n, 1))  # n of n right

    n = least_samples(bar, confidence)
    assert bound(n) >= bar - 1e-9
    assert n == 1 or bound(n - 1) < bar


def test_published_least_samples() -> None:
    # The "rule of three" and its relatives: zero failures in 59 show 95 % at confidence 95 %, in 299 show 99 %.
    assert [least_samples(bar, 0.95) for bar in (0.9, 0.95, 0.99)] == [29, 59, 299]


@pytest.mark.parametrize(
    ("mean", "n", "bar"), [(0.85, 100, 0.9), (0.9, 200, 0.88), (0.5, 40, 0.95), (1.0, 10, 0.9), (0.0, 5, 0.5)]
)
def test_what_is_missing_if_all_are_right_is_near_the_exact_bound(mean: float, n: int, bar: float) -> None:
    more, right = more_right(mean, n, bar, 0.95), round(mean * n)
    exact = next(k for k in range(10_000) if clopper_pearson_lower(right + k, n + k, 0.95) >= bar)
    assert abs(more - exact) <= max(4, exact // 10)


def test_what_is_missing_is_found_at_once_however_much_there_is() -> None:
    assert more_right(0.5, 10**15, 0.999, 0.95) > 10**15
    assert more_right(0.5, 10, 1.0, 0.95) == 0


def test_a_bar_missed_says_how_many_samples_are_missing_at_this_mean_and_if_all_are_right() -> None:
    assert gap(bar=0.88) == (
        "below bar 0.88: mean 0.900 on n=200, lower bound 0.860; about 409 more at this mean would carry it, "
        "about 35 more if all of them are right"
    )


def test_samples_for_a_mean_are_enough_and_not_far_too_many() -> None:
    n = samples_for_mean(0.9, 0.85, 0.95)
    assert n is not None
    half_width = 1.645 * math.sqrt(0.9 * 0.1 / n)
    assert half_width == pytest.approx(0.05, rel=0.02)
    assert samples_for_mean(0.85, 0.85, 0.95) is None
    assert samples_for_mean(1.0, 0.95, 0.95) == 59


def put(folder: Path, name: str, content: object) -> None:
    text = content if isinstance(content, (str, bytes)) else json.dumps(content)
    (folder / name).write_bytes(text if isinstance(text, bytes) else text.encode())


def test_a_folder_is_read_by_task_and_model(tmp_path: Path) -> None:
    put(tmp_path, "qa--small.json", ROW)
    put(tmp_path, "qa--large.json", {**ROW, "model": "large", "later_key": 1})
    put(tmp_path, "notes.txt", "no evidence")
    found, problems = read_evidence(tmp_path)
    assert (set(found), problems) == ({("qa", "small"), ("qa", "large")}, [])
    assert read_evidence(tmp_path / "nosuch") == ({}, [])


@pytest.mark.parametrize(
    ("content", "told"),
    [
        pytest.param("{", "not readable as JSON", id="no JSON"),
        pytest.param(b"\xff\xfe", "not readable as JSON", id="no text"),
        pytest.param("[" * 100_000, "not readable as JSON", id="nested without end"),
        pytest.param([ROW], "the file: Input should be a valid dictionary", id="a list"),
        pytest.param({k: v for k, v in ROW.items() if k != "n"}, ": n: Field required", id="a key is missing"),
        pytest.param({**ROW, "version": 2}, ": version: ", id="another version"),
        pytest.param({**ROW, "n": 0}, ": n: ", id="no samples"),
        pytest.param({**ROW, "lower": 1.2}, ": lower: ", id="bound above 1"),
        pytest.param({**ROW, "lower": 0.95}, "lower 0.95 is above mean 0.9", id="bound above the mean"),
        pytest.param(json.dumps({**ROW, "mean": float("nan")}), ": mean: ", id="no number"),
        pytest.param({**ROW, "expires": "soon"}, ": expires: ", id="no date"),
    ],
)
def test_a_file_that_cannot_be_used_is_one_line_and_no_evidence(tmp_path: Path, content: object, told: str) -> None:
    put(tmp_path, "qa--small.json", content)
    found, problems = read_evidence(tmp_path)
    assert found == {}
    assert len(problems) == 1
    assert told in problems[0]
    assert problems[0].startswith(f"{tmp_path / 'qa--small.json'}: ")
    assert problems[0].endswith("write it again with `clearbar eval propose`")


def test_two_files_for_one_pair_count_for_nothing(tmp_path: Path) -> None:
    put(tmp_path, "a.json", ROW)
    put(tmp_path, "b.json", {**ROW, "lower": 0.1})
    put(tmp_path, "c.json", ROW)
    found, problems = read_evidence(tmp_path)
    assert found == {}
    assert ["a.json has the same task and model; remove one" in line for line in problems] == [True, True]


def test_evidence_expires_at_its_moment_and_not_before() -> None:
    assert gap(expires=(NOW + timedelta(microseconds=1)).isoformat()) is None
    assert gap(expires=NOW.isoformat()) is not None
