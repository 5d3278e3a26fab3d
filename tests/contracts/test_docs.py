"""What the documents show works as it stands there."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import click
import pytest

from router.cli import cli
from router.policy import load_policy
from router.policy.editors import editor_schema
from router.trial_run import try_policy, unmet

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), ROOT / "policies/README.md", ROOT / "evals/README.md"])
NOW = datetime(2026, 11, 22, tzinfo=UTC)
FAKES = """
version: 1
models:
  - {id: small, call: fake/small, price: {input: 0.1, output: 0.4}}
  - {id: large, call: fake/large, price: {input: 3, output: 15}}
"""


def blocks(page: Path, language: str) -> list[str]:
    """The fenced blocks of one language."""
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)


def test_the_readmes_example_runs(tmp_path: Path) -> None:
    (tmp_path / "policy.yaml").write_text(FAKES + "rules: [{candidates: small, strategy: fixed}]", encoding="utf-8")
    environ = {**os.environ, "CLEARBAR_POLICY": str(tmp_path / "policy.yaml"), "CLEARBAR_STATE": str(tmp_path / "s")}
    (code,) = blocks(ROOT / "README.md", "python")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environ, check=True)
    assert done.stdout.splitlines()[0] == "A fake answer."


def test_the_readmes_policy_is_one(tmp_path: Path) -> None:
    (text,) = blocks(ROOT / "README.md", "yaml")
    (tmp_path / "policy.yaml").write_text(FAKES + text, encoding="utf-8")
    assert load_policy(tmp_path / "policy.yaml").tasks["summarize"].bar.min == 0.9


def test_the_authors_page_shows_a_policy_that_loads(tmp_path: Path) -> None:
    text, *parts = blocks(ROOT / "docs/policies.md", "yaml")
    (tmp_path / "policy.yaml").write_text(text, encoding="utf-8")
    assert len(load_policy(tmp_path / "policy.yaml").rules) == 3
    for part in parts:
        models = FAKES + "  - {id: at-home, call: local/smollm2-135m}\n"
        (tmp_path / "part.yaml").write_text(models + part, encoding="utf-8")
        loaded = load_policy(tmp_path / "part.yaml")
        assert loaded.rules
        assert [(one.name, one.misses) for one in try_policy(loaded, None, NOW) if one.misses] == []


@pytest.mark.parametrize(
    ("right", "wrong", "starts"),
    [
        ("capabilities:", "capabilites:", "policy.yaml:9:5: unknown key"),
        ("{input: 3.00, output: 15.00}", "{input: 3.00}", "policy.yaml:14:9: key 'output'"),
        ("[small, large]      # the cheapest", "[smal, large]      # the cheapest", "policy.yaml:25:18: candidates"),
        ("", "", "policy.yaml:25:5: candidate 'small'"),
        ("max_cost_usd: 0.10", "max_cost_usd: 0.05", "policy.yaml:27:5: max_cost_usd"),
        ("    when: {task: extract}\n", "    bar: 0\n", "policy.yaml:32:5: rule 'the rest'"),
    ],
    ids=lambda value: value,
)
def test_the_authors_page_shows_what_check_says(tmp_path: Path, right: str, wrong: str, starts: str) -> None:
    from router.errors import PolicyError
    from router.policy import check

    page = ROOT / "docs/policies.md"
    (shown,) = [line for line in page.read_text(encoding="utf-8").splitlines() if line.startswith(starts)]
    text = next(iter(blocks(page, "yaml")))
    assert right in text
    (tmp_path / "policy.yaml").write_text(text.replace(right, wrong, 1), encoding="utf-8")
    try:
        said = [one.text for one in check(load_policy(tmp_path / "policy.yaml"))]
    except PolicyError as error:
        said = list(error.problems)
    assert any(one.removeprefix(f"{tmp_path}/").startswith(shown) for one in said), said


def test_the_prices_page_shows_a_policy_and_a_price_book_that_load(tmp_path: Path) -> None:
    from router.spend.prices.book import read_book

    policy, book = blocks(ROOT / "docs/prices.md", "yaml")
    (tmp_path / "policy.yaml").write_text("version: 1\n" + policy, encoding="utf-8")
    (tmp_path / "book.yaml").write_text(book, encoding="utf-8")
    (price,) = load_policy(tmp_path / "policy.yaml").prices["large"]
    assert price.at("batch", 1_000).output == price.output / 2
    assert len(read_book(tmp_path / "book.yaml").entries["openai/gpt-5.4"]) == 2


def test_the_page_on_runs_shows_a_policy_that_loads(tmp_path: Path) -> None:
    (text,) = blocks(ROOT / "docs/runs.md", "yaml")
    for number, shown in enumerate((text, re.sub(r"^# (?=breaker)", "", text[text.index("\n") :], flags=re.MULTILINE))):
        (tmp_path / f"{number}.yaml").write_text(FAKES + "rules: [{candidates: small, strategy: fixed}]\n" + shown)
    assert load_policy(tmp_path / "0.yaml").breaker.mode == "shadow"
    assert load_policy(tmp_path / "1.yaml").breaker.limits == {"cost_usd": 20}


def test_the_page_on_alerts_shows_a_policy_that_loads(tmp_path: Path) -> None:
    (text,) = blocks(ROOT / "docs/alerts.md", "yaml")
    (tmp_path / "policy.yaml").write_text(FAKES + "rules: [{candidates: small, strategy: fixed}]\n" + text)
    assert [sink.kind for sink in load_policy(tmp_path / "policy.yaml").alerts] == ["slack", "webhook", "email", "log"]


def test_the_statements_page_shows_a_mapping_that_reads_a_bill() -> None:
    import yaml

    from router.spend.reconcile_shapes import generic, lines

    (text,) = blocks(ROOT / "docs/statements.md", "yaml")
    bill = [{"usage_date": "2026-11-22", "sku": "gpt-4o", "cost_cents": "250", "input_k": "10"}]
    (line,) = lines(bill, generic(yaml.safe_load(text)))
    assert (str(line.usd), line.input_tokens) == ("2.50", 10_000)


def test_the_judges_page_shows_a_rubric_and_labels_that_load(tmp_path: Path) -> None:
    from evals.judges import load_rubric
    from evals.judges.labels import read_labels

    for name, language in (("rubric.yaml", "yaml"), ("labels.jsonl", "json")):
        (text,) = blocks(ROOT / "docs/judges.md", language)
        (tmp_path / name).write_text(text, encoding="utf-8")
    labels = read_labels(tmp_path / "labels.jsonl", load_rubric(tmp_path / "rubric.yaml"))
    assert [label.is_right for label in labels] == [True, False]


def test_the_routing_pages_example_runs(tmp_path: Path) -> None:
    page = ROOT / "docs/routing.md"
    made, served = blocks(page, "python")
    (policy,), (commands,) = blocks(page, "yaml"), blocks(page, "bash")
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1", "COLUMNS": "100"}
    (tmp_path / "policy.yaml").write_text(policy, encoding="utf-8")

    def run(*arguments: str) -> str:
        done = subprocess.run([sys.executable, *arguments], capture_output=True, text=True, env=environ, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        return done.stdout

    run("-c", made)
    trained, explained = (run("-m", "router.cli", *shlex.split(line)[1:]) for line in commands.splitlines())
    assert "verdict on single: do not route" in trained
    assert "verdict on cascade: promote" in trained
    assert "promise: at most 0.03 below large" in explained
    assert "asked first" in explained
    assert run("-c", served) == "['tiny', 'small'] 579\n"


@pytest.mark.parametrize("path", sorted((ROOT / "policies").rglob("*.yaml")), ids=lambda path: path.name)
def test_every_shipped_policy_loads(path: Path) -> None:
    assert load_policy(path).rules


RECIPES = sorted((ROOT / "policies/recipes").glob("*.yaml"))


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.name)
def test_the_page_shows_each_recipe_as_it_ships(path: Path) -> None:
    assert path.read_text(encoding="utf-8") in blocks(ROOT / "policies/README.md", "yaml")


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.name)
def test_recipes_lack_nothing_but_keys_and_evidence(path: Path) -> None:
    from router.policy import check

    findings = check(load_policy(path))
    assert [one.text for one in findings if one.level == "warning" and "is not set" not in one.text] == []


def test_the_shipped_policys_own_tests_hold_and_meet_every_rule() -> None:
    policy = load_policy(ROOT / "policies/default.yaml")
    tried = try_policy(policy, None, NOW)
    assert [(one.name, one.misses) for one in tried if one.misses] == []
    assert unmet(policy, tried) == []


def test_the_shipped_policy_rests_on_evidence() -> None:
    from router.policy import check

    findings = check(load_policy(ROOT / "policies/default.yaml"))
    assert [finding.text for finding in findings if finding.level == "evidence"] == []


def test_the_editor_schema_is_the_one_of_the_code() -> None:
    import json

    assert json.loads((ROOT / "policies/schema.json").read_text(encoding="utf-8")) == editor_schema(), (
        "run: clearbar policy schema > policies/schema.json"
    )


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_on_a_page_exists_with_its_options(page: Path) -> None:
    for block in blocks(page, "bash"):
        for line in block.splitlines():
            words = line.partition("#")[0].split()
            if words[:1] == ["clearbar"]:
                check_command(words[1:])


def check_command(words: list[str]) -> None:
    """Follow the words down the tree of commands; then each option must be one of the command's."""
    command: click.Command = cli
    context = click.Context(cli)
    while isinstance(command, click.Group):
        is_named = bool(words) and not words[0].startswith("-")
        name = words.pop(0) if is_named else getattr(command, "default", None)
        assert name, "a group is no command"
        found = command.get_command(context, name)
        assert found is not None
        command = found
    known = {name for parameter in command.params for name in parameter.opts}
    assert {word for word in words if word.startswith("--")} <= known


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_to_a_file_leads_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text(encoding="utf-8")):
        assert (page.parent / target).exists(), target


def test_every_benchmark_is_on_its_page() -> None:
    page = (ROOT / "benchmarks/README.md").read_text(encoding="utf-8")
    scripts = [path.name for path in ROOT.glob("benchmarks/[!_]*.py")]
    assert scripts
    assert [name for name in scripts if f"`{name}" not in page] == []
