"""`clearbar policy diff`: two policies, each a file or one out of a git revision."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

POLICY = """\
version: 1
include: [../shared/guards.yaml]
models: [{id: small, call: fake/small, price: {input: 1, output: 2}}, {id: large, call: fake/large}]
tasks: {qa: {bar: 0.9}}
rules:
  - {name: qa, when: {task: qa}, candidates: [small, large]}
  - {name: rest, candidates: [large], strategy: fixed}
environments:
  prod: {data: {store_text: redacted}}
"""
GUARDS = (
    "version: 1\nrules: [{name: home, when: {findings: pii}, candidates: small, strategy: fixed, data: {log: none}}]\n"
)
EVIDENCE = {
    "version": 1, "task": "qa", "model": "small", "model_version": None, "run_id": "r", "suite_sha256": "s", "n": 90,
    "mean": 0.97, "lower": 0.93, "confidence": 0.95, "metric": "exact", "scorer": "exact",
    "created": "2026-11-01T00:00:00Z", "expires": None,
}  # fmt: skip
Clearbar = Callable[..., Any]
needs_git = pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")


def git(*arguments: str) -> None:
    author = ("-c", "user.name=a", "-c", "user.email=a@example.com", "-c", "commit.gpgsign=false")
    subprocess.run(["git", *author, *arguments], check=True, capture_output=True)


@pytest.fixture
def committed(clearbar: Clearbar, monkeypatch: pytest.MonkeyPatch) -> Clearbar:
    """A repository with a policy, an included file and evidence, all committed as `main`."""
    for folder in ("policies/evidence", "shared", "policies/prices"):
        Path(folder).mkdir(parents=True)
    Path("policies/p.yaml").write_text(POLICY, encoding="utf-8")
    Path("shared/guards.yaml").write_text(GUARDS, encoding="utf-8")
    Path("policies/evidence/qa--small.json").write_text(json.dumps(EVIDENCE), encoding="utf-8")
    git("init", "-q", "-b", "main")
    git("add", ".")
    git("commit", "-q", "-m", "first")
    return clearbar


def edit(file: str, old: str, new: str) -> None:
    text = Path(file).read_text(encoding="utf-8")
    assert old in text
    Path(file).write_text(text.replace(old, new), encoding="utf-8")


def test_two_files_are_compared_in_words(clearbar: Clearbar) -> None:
    Path("a.yaml").write_text(POLICY.replace("include: [../shared/guards.yaml]\n", ""), encoding="utf-8")
    Path("b.yaml").write_text(Path("a.yaml").read_text().replace("0.9", "0.85"), encoding="utf-8")
    told = clearbar("policy", "diff", "a.yaml", "b.yaml")
    assert told.startswith("a.yaml -> b.yaml: 1 change, 1 loosens a protection")
    assert "! task 'qa': bar lowered from 0.9 to 0.85; it holds in 'qa'" in told
    clearbar("policy", "diff", "a.yaml", "b.yaml", "--exit-code", code=1)
    clearbar("policy", "diff", "a.yaml", "a.yaml", "--exit-code")
    assert clearbar("policy", "diff", "a.yaml", "b.yaml", "--markdown").startswith("### Policy: 1 change")
    found = clearbar("policy", "diff", "a.yaml", "b.yaml", "--json")
    assert (found["same"], found["loosens"], found["changes"][0]["section"]) == (False, 1, "tasks")
    assert "give one of the two" in clearbar("policy", "diff", "a.yaml", "b.yaml", "--json", "--markdown", code=3)


@needs_git
def test_a_policy_out_of_a_revision_comes_with_what_it_includes_and_rests_on(committed: Clearbar) -> None:
    revision = ("policy", "diff", "main:policies/p.yaml", "policies/p.yaml")
    assert "no difference in meaning" in committed(*revision)
    edit("shared/guards.yaml", "data: {log: none}", "cache: exact")
    Path("policies/evidence/qa--small.json").unlink()
    told = committed(*revision)
    assert "! rule 'home': text may be kept, as `data.store_text` says" in told
    assert "small may not serve any more: no evidence for task qa" in told
    assert "small on task 'qa': evidence removed" in told
    assert "no difference" in committed("policy", "diff", "main:policies/p.yaml", "HEAD:policies/p.yaml")


@needs_git
def test_a_path_of_a_revision_may_count_from_here(committed: Clearbar, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir("policies")
    assert "no difference" in committed("policy", "diff", "main:./p.yaml", "p.yaml")
    told = committed("policy", "diff", "main:p.yaml", "p.yaml", code=3)
    assert "main:p.yaml: not in that revision" in told and "main:./PATH" in told


@needs_git
def test_links_inside_a_revision_are_followed_and_none_leads_out(committed: Clearbar, tmp_path: Path) -> None:
    (tmp_path.parent / "secret.yaml").write_text("password", encoding="utf-8")
    Path("inside.yaml").symlink_to("policies/p.yaml")
    Path("outside.yaml").symlink_to("../secret.yaml")
    Path("shared").joinpath("x").write_text("")
    git("add", ".")
    git("commit", "-q", "-m", "links")
    told = committed("policy", "diff", "main:inside.yaml", "policies/p.yaml", code=3)
    assert "main:" in told and "guards.yaml" in told  # read as it stands there: its includes count from its own folder
    told = committed("policy", "diff", "main:outside.yaml", "policies/p.yaml", code=3)
    assert "password" not in told and "not in that revision" in told


@needs_git
def test_what_is_wrong_in_a_revision_is_told_with_the_names_that_it_has_there(committed: Clearbar) -> None:
    edit("policies/p.yaml", "bar: 0.9", "bra: 0.9")
    git("commit", "-q", "-a", "-m", "broken")
    told = committed("policy", "diff", "main:policies/p.yaml", "policies/p.yaml", code=3)
    assert "main:policies/p.yaml:4:14: unknown key 'bra'" in told
    assert "clearbar-diff-" not in told


@needs_git
@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("nosuch:policies/p.yaml", "git knows no revision 'nosuch' here; fetch it"),
        ("--help:policies/p.yaml", "No such option"),
        ("main:", "of git it would be REV:PATH"),
        (":policies/p.yaml", "of git it would be REV:PATH"),
        ("main:../../p.yaml", "leads out of the repository"),
        ("main:/etc/passwd", "leads out of the repository"),
        ("main:.", "leads out of the repository"),
        ("main:policies", "not in that revision"),
        ("nosuch.yaml", "cannot be read"),
    ],
)
def test_what_is_not_there_is_told(committed: Clearbar, given: str, words: str) -> None:
    assert words in committed("policy", "diff", given, "policies/p.yaml", code=3)


def test_a_pipe_in_place_of_an_artifact_s_manifest_is_not_waited_for(clearbar: Clearbar) -> None:
    Path("artifact").mkdir()
    os.mkfifo("artifact/manifest.json")
    Path("p.yaml").write_text(
        "version: 1\nartifact: artifact\nmodels: [{id: a, call: fake/a}]\nrules: [{candidates: a, bar: 0}]\n"
    )
    clearbar("policy", "diff", "p.yaml", "p.yaml")


def test_a_revision_needs_git_and_a_repository(clearbar: Clearbar, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(Path.cwd().parent))
    if shutil.which("git"):
        assert "not a git repository" in clearbar("policy", "diff", "main:p.yaml", "p.yaml", code=3)
    monkeypatch.setenv("PATH", "")
    assert "git has to be installed" in clearbar("policy", "diff", "main:p.yaml", "p.yaml", code=3)


@needs_git
def test_an_environment_is_compared_as_it_serves(committed: Clearbar, monkeypatch: pytest.MonkeyPatch) -> None:
    edit("policies/p.yaml", "store_text: redacted", "store_text: full")
    sides = ("main:policies/p.yaml", "policies/p.yaml")
    told = committed("policy", "diff", *sides)
    assert "! in prod: data: text is kept as it is, for 30 days (before: text is kept, redacted)" in told
    edit("policies/p.yaml", "bar: 0.9", "bar: 0.8")
    assert committed("policy", "diff", *sides).count("bar lowered") == 1  # as everywhere, and not once more
    edit("policies/p.yaml", "bar: 0.8", "bar: 0.9")
    assert "data: text is kept as it is" in committed("policy", "diff", *sides, "--environment", "prod")
    monkeypatch.setenv("CLEARBAR_ENV", "prod")
    assert "data: text is kept as it is" in committed("policy", "diff", *sides)
    monkeypatch.delenv("CLEARBAR_ENV")
    edit("policies/p.yaml", "environments:", "environments:\n  dev: {tasks: {qa: {bar: 0.5}}}")
    assert "! in dev: task 'qa': bar lowered from 0.9 to 0.5" in committed("policy", "diff", *sides)
    assert "no environment is called 'prd'" in committed("policy", "diff", *sides, "--environment", "prd", code=3)
