"""Samples: made by code from a seed, or read from files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from evals.scorers import scorer
from evals.sources.files import read_rows
from evals.sources.synthetic import STREAMS, TASKS, local_pool
from evals.suite import load_suite
from evals.types import EvalError, Scored


@pytest.mark.parametrize("task", sorted(TASKS))
def test_a_seed_always_gives_the_same_samples(task: str) -> None:
    assert local_pool(task, seed=3, count=60) == local_pool(task, seed=3, count=60)


@pytest.mark.parametrize("task", sorted(TASKS))
def test_other_seeds_give_prompts_that_were_never_seen(task: str) -> None:
    prompts = [{sample.prompt for sample in local_pool(task, seed=seed, count=120)} for seed in range(STREAMS)]
    assert sum(map(len, prompts)) == 120 * STREAMS == len(set.union(*prompts))


@pytest.mark.parametrize("task", sorted(TASKS))
def test_a_larger_count_only_adds_samples(task: str) -> None:
    assert local_pool(task, seed=1, count=80)[:60] == local_pool(task, seed=1, count=60)


@pytest.mark.parametrize("task", sorted(TASKS))
def test_prompts_and_answers_stay_short(task: str) -> None:
    for sample in local_pool(task, seed=2, count=120):
        # About three characters a token at worst: 120 tokens in, 32 out.
        assert len(sample.prompt) < 360 and 0 < len(sample.reference) < 96
        assert len(sample.prompt.split()) < 80


@pytest.mark.parametrize("task", sorted(TASKS))
def test_every_kind_of_question_takes_its_turn(task: str) -> None:
    kinds = [sample.subtask for sample in local_pool(task, seed=0, count=len(TASKS[task]) * 3)]
    assert kinds == list(TASKS[task]) * 3


def test_the_right_answer_gets_full_marks_in_the_shipped_suite() -> None:
    suite = load_suite("local")
    for sample in suite.samples():
        assert suite.scorer_of(sample)(sample.reference, sample.reference) == Scored(
            1.0,
            suite.scorer_of(sample)(sample.reference, sample.reference).reason,  # type: ignore[union-attr]
        )


def test_the_program_questions_are_answered_as_python_answers_them(capsys: pytest.CaptureFixture[str]) -> None:
    for sample in local_pool("code_output", seed=5, count=150):
        code = sample.messages[-1]["content"]
        exec(compile(code, "<sample>", "exec"), {})
        assert scorer("exact")(capsys.readouterr().out, sample.reference) == Scored(
            1.0, f"answered {sample.reference[:80]!r}"
        ), code


def test_the_extracted_facts_stand_in_the_text() -> None:
    for sample in local_pool("extraction", seed=6, count=150):
        text = sample.messages[-1]["content"]
        values = json.loads(sample.reference).values() if sample.subtask == "json" else [sample.reference]
        assert all(str(value) in text for value in values), sample


def test_too_many_samples_of_a_small_kind_are_refused() -> None:
    with pytest.raises(EvalError, match="lower `count`"):
        local_pool("code_output", seed=0, count=100_000)


def test_an_unknown_pool_task_lists_the_known_ones() -> None:
    with pytest.raises(EvalError, match="arithmetic, classification"):
        local_pool("poetry", seed=0, count=1)


def test_csv_rows_keep_line_breaks_and_quotes(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text('prompt,reference\n"two\nlines","say ""hi"""\nplain,x\n', encoding="utf-8")
    assert list(read_rows(path)) == [
        (3, {"prompt": "two\nlines", "reference": 'say "hi"'}),
        (4, {"prompt": "plain", "reference": "x"}),
    ]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.jsonl", '{"a": 1}\n\n{oops\n', r"a\.jsonl:3: not JSON"),
        ("a.jsonl", "[1]\n", r"a\.jsonl:1: expected an object"),
        ("a.jsonl", "\n", "has no rows"),
        ("a.csv", "x,y\n1\n", r"a\.csv:2: not 2 columns"),
        ("a.csv", "x,y\n1,2,3\n", r"a\.csv:2: not 2 columns"),
        ("a.txt", "x", r"\.jsonl, \.ndjson, \.csv"),
    ],
)
def test_a_broken_source_names_file_and_line(tmp_path: Path, name: str, text: str, message: str) -> None:
    (tmp_path / name).write_text(text, encoding="utf-8")
    with pytest.raises(EvalError, match=message):
        list(read_rows(tmp_path / name))


def test_a_missing_source_says_where_paths_start(tmp_path: Path) -> None:
    with pytest.raises(EvalError, match="relative to the suite file"):
        list(read_rows(tmp_path / "none.jsonl"))
