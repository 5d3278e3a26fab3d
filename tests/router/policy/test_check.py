"""What a policy that loads still lacks."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from router.policy import Finding, check, load_policy

NOW = datetime(2026, 3, 1, tzinfo=UTC)
POLICY = """\
version: 1
models:
  - {id: small, call: fake/small, price: {input: 1, output: 1}}
  - {id: large, call: fake/large, price: {input: 1, output: 1}}
tasks: {qa: {bar: 0.9}}
rules:
  - {when: {task: qa}, candidates: [small, large]}
"""
ROW = {
    "version": 1, "task": "qa", "model": "small", "model_version": None, "run_id": "r", "suite_sha256": "", "n": 300,
    "mean": 0.95, "lower": 0.92, "confidence": 0.95, "metric": "m", "scorer": "s", "price": None,
    "created": "2026-01-01T00:00:00Z", "expires": None,
}  # fmt: skip


def findings(folder: Path, text: str = POLICY, *models: str) -> list[Finding]:
    (folder / "evidence").mkdir(exist_ok=True)
    for name in models:
        (folder / "evidence" / f"qa--{name}.json").write_text(json.dumps({**ROW, "model": name}))
    (folder / "p.yaml").write_text(text)
    return check(load_policy(folder / "p.yaml"), NOW)


def test_a_policy_with_all_its_evidence_has_no_findings(tmp_path: Path) -> None:
    assert findings(tmp_path, POLICY, "small", "large") == []


def test_a_candidate_without_evidence_is_named_with_the_command_that_helps(tmp_path: Path) -> None:
    (finding,) = findings(tmp_path, POLICY, "small")
    assert finding.level == "evidence"
    assert finding.text == (
        f"{tmp_path / 'p.yaml'}:7:24: candidate 'large': no evidence for task qa: needs at least 29 samples for bar "
        "0.9. Run: clearbar eval run SUITE --candidates large --out RUN, then clearbar eval propose RUN --out "
        f"{tmp_path / 'evidence'}"
    )


@pytest.mark.parametrize("rest", [", strategy: fixed", ", bar: 0"], ids=["fixed by the author", "bar 0"])
def test_what_needs_no_evidence_is_not_asked_for_any(tmp_path: Path, rest: str) -> None:
    assert findings(tmp_path, POLICY.replace("[small, large]", f"[small, large]{rest}")) == []


def test_a_task_that_nobody_serves_until_there_is_evidence_says_so(tmp_path: Path) -> None:
    *_, last = findings(tmp_path, POLICY)
    assert last.text.endswith(". Until then nobody serves task qa here: give the rule a `fallback`")
    *_, last = findings(tmp_path, POLICY.replace("[small, large]", "[small, large], fallback: large"))
    assert "Until then" not in last.text


def test_a_bar_of_a_drop_needs_an_artifact_trained_with_its_model(tmp_path: Path) -> None:
    drop = POLICY.replace("{bar: 0.9}", "{bar: {max_drop: 0.02, vs: large, confidence: 0.9}}")
    (finding,) = findings(tmp_path, drop, "small", "large")
    assert finding.level == "evidence"
    assert finding.text == (
        f"{tmp_path / 'p.yaml'}:7:24: bar drop 0.02 vs large of task qa: a max_drop bar is carried by the plan of a "
        "promoted artifact alone; until a plan carries it, no candidate but 'large' serves. Run: clearbar train "
        "--outcomes FILE --out DIR, with outcomes of 'large' and of the candidates"
    )
    assert findings(tmp_path, drop.replace("[small, large]", "[large]")) == []  # nothing is routed down


def test_a_fallback_needs_no_evidence(tmp_path: Path) -> None:
    assert findings(tmp_path, POLICY.replace("[small, large]", "[small], fallback: [large]"), "small") == []


def test_a_rule_for_every_task_is_checked_for_every_task(tmp_path: Path) -> None:
    text = POLICY.replace("{qa: {bar: 0.9}}", "{qa: {bar: 0.9}, sum: {bar: 0.9}}")
    text = text.replace("when: {task: qa}", "bar: 0.8, fallback: large")
    assert [f.text.split(": ")[2] for f in findings(tmp_path, text, "small", "large")] == [
        "no evidence for task sum", "no evidence for task sum",
    ]  # fmt: skip


def test_a_broken_evidence_file_is_a_finding(tmp_path: Path) -> None:
    (tmp_path / "evidence").mkdir()
    (tmp_path / "evidence" / "x.json").write_text("{")
    found = findings(tmp_path, POLICY, "small", "large")
    assert [(f.level, "x.json: not readable" in f.text) for f in found] == [("evidence", True)]


def test_an_unset_key_and_an_unknown_price_are_warnings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = POLICY.replace("fake/small, price: {input: 1, output: 1}", "fake/small, api_key_env: SOME_KEY")
    found = findings(tmp_path, text, "small", "large")
    assert [f.level for f in found] == ["warning", "warning"]
    assert "SOME_KEY is not set; calls will fail" in found[0].text
    assert "'small': price unknown; give `price: {input: ..., output: ...}`" in found[1].text
    monkeypatch.setenv("SOME_KEY", "x")
    assert len(findings(tmp_path, text)) == 1
