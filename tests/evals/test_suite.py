"""Suites: read from YAML, with every mistake at its line."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from evals.suite import load_suite
from evals.types import EvalError

GOOD = """\
version: 1
name: support
tasks:
  tickets:
    source: tickets.jsonl
    system: Say a or b.
    prompt: "Label {{this}}: {text}"
    reference: label
    subtask: kind
    scorer: {name: choice, choices: [a, b]}
    params: {max_tokens: 8, temperature: 0}
    bar: 0.9
  arithmetic:
    generate: local-pool
    scorer: numeric
"""


def written(folder: Path, text: str = GOOD, rows: int = 20) -> Path:
    (folder / "tickets.jsonl").write_text(
        "".join(
            json.dumps({"text": f"ticket {i}", "label": "ab"[i % 2], "kind": "rare" if i % 10 == 0 else "common"})
            + "\n"
            for i in range(rows)
        ),
        encoding="utf-8",
    )
    path = folder / "suite.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_source_becomes_messages_references_and_subtasks(tmp_path: Path) -> None:
    suite = load_suite(written(tmp_path))
    sample = next(sample for sample in suite.by_task["tickets"] if "ticket 10" in sample.prompt)
    assert [dict(message) for message in sample.messages] == [
        {"role": "system", "content": "Say a or b."},
        {"role": "user", "content": "Label {this}: ticket 10"},
    ]
    assert (sample.reference, sample.subtask, sample.prompt) == ("a", "rare", "Say a or b.\nLabel {this}: ticket 10")
    assert suite.params("tickets") == {"max_tokens": 8, "temperature": 0.0}


def test_any_beginning_is_balanced_over_tasks_and_subtasks(tmp_path: Path) -> None:
    suite = load_suite(written(tmp_path))
    first = suite.samples(10)
    assert Counter(sample.task for sample in first) == {"tickets": 10, "arithmetic": 10}
    assert [sample.task for sample in first[:4]] == ["tickets", "arithmetic"] * 2
    assert Counter(sample.subtask for sample in first if sample.task == "tickets") == {"common": 9, "rare": 1}


def test_a_larger_limit_only_adds_samples(tmp_path: Path) -> None:
    suite = load_suite(written(tmp_path))
    assert {sample.id for sample in suite.samples(5)} < {sample.id for sample in suite.samples(9)}


def test_the_two_splits_share_nothing_and_miss_nothing() -> None:
    suite = load_suite("local")
    train, test = ({sample.id for sample in suite.samples(split=split)} for split in ("train", "test"))
    assert not train & test
    assert len(train) + len(test) == len(suite.samples())
    assert 0.1 < len(test) / len(train) < 0.4


def test_the_hash_changes_with_what_can_change_a_score_and_with_nothing_else(tmp_path: Path) -> None:
    base = load_suite(written(tmp_path)).sha256
    same = [
        GOOD.replace("bar: 0.9", "bar: 0.5"),
        GOOD.replace("name: support", "# a comment\nname: other"),
        GOOD.replace("version: 1", "version: 1\nseed: 7"),
    ]
    other = [
        GOOD.replace("Say a or b.", "Say b or a."),
        GOOD.replace("max_tokens: 8", "max_tokens: 9"),
        GOOD.replace("scorer: numeric", "scorer: math"),
        GOOD.replace("choices: [a, b]", "choices: [a, b, c]"),
    ]
    assert {load_suite(written(tmp_path, text)).sha256 for text in same} == {base}
    hashes = {load_suite(written(tmp_path, text)).sha256 for text in other} | {
        load_suite(written(tmp_path, rows=21)).sha256,
        load_suite(written(tmp_path), seed=1).sha256,
    }
    assert base not in hashes and len(hashes) == 6


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("scorer: numeric", "scorer: numerik"), r"suite\.yaml:15:5: unknown scorer 'numerik'.*numeric"),
        (("scorer: numeric", "scorer: {name: exact, tolerance: 1}"), r"suite\.yaml:15:5: scorer 'exact' has no option"),
        (("bar: 0.9", "bar: 1.9"), r"suite\.yaml:12:"),
        (("params: {", "parms: {"), r"suite\.yaml:11:5: unknown key 'parms'; did you mean 'params'"),
        (("version: 1", "version: 2"), r"suite\.yaml:1:1: version"),
        (("generate: local-pool", "count: 3"), r"suite\.yaml:13:3: .*either `source: FILE` or `generate: local-pool`"),
        (("  arithmetic:", "  poetry:"), r"suite\.yaml:13:3: local-pool has no task 'poetry'"),
        (
            ("reference: label", "reference: lable"),
            r"tickets\.jsonl:1: has no column 'lable'; it has text, label, kind",
        ),
        (("{text}", "{txt}"), r"tickets\.jsonl:1: has no column 'txt'"),
        (("{text}", "{text"), "write {{ for a brace itself"),
        (("{text}", "{text.__class__}"), r"has no column 'text\.__class__'"),
        (("tickets.jsonl", "nothing.jsonl"), "relative to the suite file"),
        (("name: support", "name: support\nname: twice"), r"suite\.yaml:3:1: key 'name' stands here for the second"),
        (("max_tokens: 8", "max_tokens: many"), r"suite\.yaml:11:"),
    ],
)
def test_a_mistake_is_told_with_its_line(tmp_path: Path, change: tuple[str, str], message: str) -> None:
    with pytest.raises(EvalError, match=message):
        load_suite(written(tmp_path, GOOD.replace(*change)))


def test_the_same_question_twice_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path)
    with (tmp_path / "tickets.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps({"text": "ticket 0", "label": "a", "kind": "rare"}) + "\n")
    with pytest.raises(EvalError, match=r"tickets\.jsonl:21: the same question and answer a second time"):
        load_suite(path)


def test_ready_made_messages_pass_through(tmp_path: Path) -> None:
    messages = [
        {"role": "user", "content": "a?"},
        {"role": "assistant", "content": "b"},
        {"role": "user", "content": "c?"},
    ]
    (tmp_path / "chat.jsonl").write_text(json.dumps({"messages": messages, "reference": "d"}) + "\n", encoding="utf-8")
    (tmp_path / "suite.yaml").write_text(
        "version: 1\nname: chat\ntasks:\n  chat: {source: chat.jsonl, scorer: exact}\n", encoding="utf-8"
    )
    (sample,) = load_suite(tmp_path / "suite.yaml").samples()
    assert list(sample.messages) == messages


def test_an_unknown_suite_lists_the_shipped_ones() -> None:
    with pytest.raises(EvalError, match=r"no such suite.*local"):
        load_suite("lokal")
