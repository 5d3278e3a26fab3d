"""Today's requests beside the ones that evidence stands on: real routers write, the test and the command read."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from random import Random

import numpy as np
import pytest
from click.testing import CliRunner

from evals.cli import eval_group
from evals.drift import conclusion, drift
from evals.store import Manifest, Run
from evals.traffic import energy_test, fresh_samples, vectors, wording
from evals.types import EvalError, Sample, make_sample
from router import Router
from router.transports.fake import FakeTransport

PARCEL = "parcel late tracking number delivery courier depot address doorstep signature missing box van".split()
REFUND = "refund invoice card charge twice bank statement money cancel subscription price receipt fee".split()


def request(random: Random, words: list[str]) -> str:
    return "You are a helpful agent. " + " ".join(random.choices(words, k=12))


def samples(random: Random, words: list[str], count: int) -> list[Sample]:
    return [make_sample("support", ({"role": "user", "content": request(random, words)},), "") for _ in range(count)]


def anchors_of(folder: Path, asked: list[Sample]) -> Run:
    run = Run(folder)
    manifest = Manifest(
        run_id="a", suite="s", suite_sha256="ab", candidates=("small",), repeats=1, created="2026-01-01",
        scorers={"support": "exact"}, bars={}, prices={"small": None},
    )  # fmt: skip
    with run.writing():
        run.plan(manifest, asked)
    return run


def serve(folder: Path, texts: list[str], store_text: str = "redacted") -> Path:
    (folder / "policy.yaml").write_text(
        f"version: 1\nmodels: [{{id: m, call: fake/m}}]\ndata: {{store_text: {store_text}}}\n"
        "rules: [{candidates: [m], strategy: fixed}]\n",
        encoding="utf-8",
    )
    with Router(folder / "policy.yaml", folder / "state", FakeTransport()) as router:
        for text in texts:
            router.complete([{"role": "user", "content": text}], task="support")
    return folder / "state"


def test_the_same_traffic_on_other_days_is_no_alarm(tmp_path: Path) -> None:
    random = Random(1)
    run = anchors_of(tmp_path / "run", samples(random, PARCEL, 100))
    state = serve(tmp_path, [request(random, PARCEL) for _ in range(60)])
    found = drift(run, requests=fresh_samples(state, run.samples(), days=1))
    assert {(one.about, one.verdict) for one in found} == {("traffic", "same")}
    assert conclusion(found).endswith("Nothing is said about: judge, model.")


def test_new_questions_of_the_same_length_are_changed_traffic(tmp_path: Path) -> None:
    random = Random(1)
    run = anchors_of(tmp_path / "run", samples(random, PARCEL, 100))
    state = serve(tmp_path, [request(random, PARCEL if i % 3 else REFUND) for i in range(60)])
    found = drift(run, requests=fresh_samples(state, run.samples(), days=1))
    (words,) = [one for one in found if one.measure.startswith("wording")]
    assert words.verdict == "changed" and words.now > words.before
    assert "The traffic changed on support" in conclusion(found)


def test_a_few_requests_or_none_decide_nothing(tmp_path: Path) -> None:
    random = Random(1)
    asked = samples(random, PARCEL, 100)
    state = serve(tmp_path, [request(random, PARCEL) for _ in range(6)])
    for anchors in (asked, [replace(sample, task="other") for sample in asked]):
        run = anchors_of(tmp_path / anchors[0].task, anchors)
        found = drift(run, requests=fresh_samples(state, anchors, days=1))
        assert {one.verdict for one in found} == {"not enough evidence"}


def test_anchors_out_of_the_ledger_are_not_held_against_themselves(tmp_path: Path) -> None:
    random = Random(1)
    state = serve(tmp_path, [request(random, PARCEL) for _ in range(80)])
    drawn = fresh_samples(state, [make_sample("support", (), "")], days=1, per_task=50)["support"]
    fresh = fresh_samples(state, drawn, days=1)["support"]
    assert (len(drawn), len(fresh)) == (50, 30)
    assert not {sample.prompt for sample in drawn} & {sample.prompt for sample in fresh}
    found = drift(anchors_of(tmp_path / "run", drawn), requests={"support": fresh})
    assert {one.verdict for one in found} == {"same"} and {one.note for one in found} == {""}


def test_redaction_alone_is_no_change() -> None:
    given = [[make_sample("t", ({"role": "user", "content": f"{name} writes to {who}"},), "")
              for name in PARCEL for who in side] for side in (["ada@example.org"], ["[email]"])]  # fmt: skip
    apart = wording(*given)
    assert apart is not None and apart.p == 1.0


def test_what_every_text_shares_weighs_nothing() -> None:
    system = "one long system prompt for all of them. " * 50
    points = vectors([system + word for word in PARCEL + REFUND])
    assert np.allclose(np.linalg.norm(points, axis=1), 1.0)
    assert energy_test(points, len(PARCEL), draws=200).between > 0.5
    assert not vectors(["", "a", "same", "same"]).any(axis=1)[0]


def test_the_test_keeps_its_error_and_finds_what_is_there() -> None:
    random = Random(3)
    alarms = found = 0
    for turn in range(60):
        texts = [request(random, PARCEL) for _ in range(50)]
        alarms += energy_test(vectors(texts), 25, draws=200, seed=turn).p <= 0.05
        mixed = texts[:35] + [request(random, REFUND) for _ in range(15)]
        found += energy_test(vectors(mixed), 25, draws=200, seed=turn).p <= 0.05
    assert alarms <= 9  # 3 expected; more than 9 in one of 1,000
    assert found >= 55


def test_the_distances_are_those_of_the_definition() -> None:
    points = np.array([[0.0, 0.0], [0.0, 1.0], [3.0, 0.0], [3.0, 4.0]])
    apart = energy_test(points, 2, draws=400)
    assert apart.within == 1.0
    assert apart.between == pytest.approx((3 + 5 + np.sqrt(10) + np.sqrt(18)) / 4)
    # Of the six ways to split four points in two and two, this one and its mirror image are the furthest apart.
    assert apart.p == pytest.approx(1 / 3, abs=0.08)


def test_the_command_needs_no_answers_for_traffic(tmp_path: Path) -> None:
    def run(*options: str) -> tuple[int, str]:
        done = CliRunner().invoke(eval_group, ["drift", "--anchors", str(tmp_path / "run"), *options],
                                  standalone_mode=False)  # fmt: skip
        if done.exception:
            raise done.exception
        return int(done.return_value), done.stdout

    random = Random(1)
    anchors_of(tmp_path / "run", samples(random, PARCEL, 100))
    state = serve(tmp_path, [request(random, REFUND) for _ in range(40)])
    code, told = run("--ledger", str(state), "--days", "1", "--json")
    findings = json.loads(told)["findings"]
    assert code == 1 and {one["about"] for one in findings} == {"traffic"}
    assert "come from no ledger" in findings[0]["note"]
    (tmp_path / "silent").mkdir()
    silent = serve(tmp_path / "silent", ["hello"], "none")
    with pytest.raises(EvalError, match="store_text: redacted"):
        run("--ledger", str(silent))
    with pytest.raises(Exception, match="--ledger alone"):
        run()
