"""The ready-made suites, end to end on small files of our own in the same shapes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from evals.plan import plan_run
from evals.runner import execute
from evals.sources.adapters import ADAPTERS, adapted
from evals.sources.instructions import UNCHECKED, constraint
from evals.store import Run
from evals.suite import SHIPPED, load_suite
from evals.suite_schema import AdapterName
from evals.types import EvalError, Scored, Unscored
from router import Router
from router.transports.fake import FakeTransport
from router.types import Call

POLICY = """\
version: 1
models:
  - {id: right, call: fake/right, price: {input: 1, output: 2}}
  - {id: wrong, call: fake/wrong, price: {input: 1, output: 2}}
rules:
  - {candidates: [right, wrong], strategy: fixed}
"""
ASK = "Write one line without commas."
# By suite: rows of our own, the text that finds each one's prompt again, and a right answer to it.
CASES: Mapping[str, list[tuple[dict[str, Any], str, str]]] = {
    "gsm8k": [
        (
            {"question": f"Ada has {n} boxes of 500 nails. How many nails?", "answer": f"{n} x 500\n#### {n * 500:,}"},
            f"Ada has {n} boxes",
            f"That is {n} x 500. The answer is {n * 500}",
        )
        for n in (2, 3, 4)
    ],
    "mmlu": [
        (
            {
                "question": f"Which is {word}?",
                "subject": "words",
                "choices": ["red", "tall", "one", "loud"],
                "answer": i,
            },
            f"Which is {word}?",
            f"The answer is {'ABCD'[i]}",
        )
        for i, word in enumerate(["a colour", "a size"])
    ],
    "mmlu_pro": [
        (
            {
                "question": "Which number is the largest?",
                "options": [str(n) for n in range(10)],
                "answer": "J",
                "answer_index": 9,
                "category": "math",
            },
            "largest",
            "Nine is. The answer is J",
        )
    ],
    "humaneval": [
        (
            {
                "task_id": "ours/0",
                "prompt": 'def twice(n):\n    """Two times n."""\n',
                "test": "def check(candidate):\n    assert candidate(3) == 6\n",
                "entry_point": "twice",
                "canonical_solution": "    return 2 * n\n",
            },
            "Two times n",
            "```python\ndef twice(n):\n    return 2 * n\n```",
        )
    ],
    "mbpp": [
        (
            {
                "task_id": 1,
                "prompt": "Write a function that halves.",
                "test_imports": [],
                "test_list": ["assert half(4) == 2"],
            },
            "halves",
            "```python\ndef half(n):\n    return n / 2\n```",
        )
    ],
    "ifeval": [
        (
            {
                "key": 1,
                "prompt": ASK,
                "instruction_id_list": ["punctuation:no_comma", "length_constraints:number_words"],
                "kwargs": [{}, {"num_words": 9, "relation": "less than", "keywords": None}],
            },
            ASK,
            "Here it is",
        )
    ],
    "summarisation": [
        (
            {"article": "The bridge, closed since May, opens.", "highlights": "The bridge opens", "id": "1"},
            "May",
            "The bridge opens",
        ),
        (
            {"document": "Rain fell for a week in June.", "summary": "A week of rain", "id": "2"},
            "June",
            "A week of rain",
        ),
    ],
    "extraction": [
        (
            {
                "text": "Order 17 is for Mira.",
                "schema": {"order": "integer", "name": "string"},
                "item": '{"order": 17, "name": "Mira"}',
            },
            "Order 17",
            '{"name": "Mira", "order": 17}',
        )
    ],
    "classification": [
        ({"text": "The cup final ended late.", "label_text": "Sports"}, "cup final", "Sports"),
        ({"text": "A new chip is out.", "label": "Sci/Tech"}, "new chip", "Sci/Tech"),
    ],
    "rag_qa": [
        (
            {
                "title": "mill",
                "context": "The mill was built in 1802.",
                "question": "When was it built?",
                "answers": {"text": ["1802", "in 1802"], "answer_start": [22, 19]},
            },
            "When was it built?",
            "1802",
        ),
        (
            {
                "title": "mill",
                "context": "The mill is old.",
                "question": "Who owns it?",
                "answers": {"text": [], "answer_start": []},
            },
            "Who owns it?",
            "unanswerable",
        ),
    ],
}


def source_of(folder: Path, name: str) -> Path:
    path = folder / f"{name}.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row, _, _ in CASES[name]), encoding="utf-8")
    return path


def test_every_ready_made_suite_is_tested_here() -> None:
    assert {path.stem for path in SHIPPED.glob("*.yaml")} - {"local"} == set(CASES)
    assert set(ADAPTERS) == set(AdapterName.__args__) == set(CASES)  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", sorted(CASES))
def test_a_suite_tells_right_from_wrong_answers(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLEARBAR_ALLOW_CODE", "1")

    def knows(call: Call) -> str:
        asked = str(call.messages[-1]["content"])
        return next(answer for _, mark, answer in CASES[name] if mark in asked)

    suite = load_suite(name, sources={"": source_of(tmp_path, name)})
    (tmp_path / "policy.yaml").write_text(POLICY, encoding="utf-8")
    transport = FakeTransport({"right": knows, "wrong": "no, idea, at all, is what, I, have, here, you, see"})
    with Router(tmp_path / "policy.yaml", tmp_path / "state", transport) as router:
        run = Run(tmp_path / "run")
        plan = plan_run(suite, router, ["right", "wrong"], run)
        execute(plan, suite, router, run)
    scores = {"right": [], "wrong": []}  # type: ignore[var-annotated]
    for cell, result in run.results().items():
        assert isinstance(result.score, Scored), result.score
        scores[cell.candidate].append(result.score.value)
    assert scores["right"] == [1.0] * len(CASES[name])
    assert max(scores["wrong"]) < 0.5
    assert "training data" in run.manifest().contamination[name]


@pytest.mark.parametrize(
    ("name", "row", "message"),
    [
        ("gsm8k", {"question": "?", "answer": "42"}, "no result behind '####'"),
        ("gsm8k", {"question": "?"}, "needs the column 'answer'; the row has question"),
        ("mmlu", {"question": "?", "choices": ["a", "b"], "answer": 2}, "none of the 2 options"),
        ("mmlu", {"question": "?", "choices": "ab", "answer": 0}, "expected a list"),
        ("classification", {"text": "x", "label": 2}, "a number without a name"),
        ("extraction", {"text": "x", "item": "[1]"}, "is no object"),
        ("ifeval", {"prompt": "x", "instruction_id_list": ["a"], "kwargs": []}, "1 instructions, but 0 kwargs"),
        ("summarisation", {"id": 1}, "needs the column 'article or document'"),
        ("rag_qa", {"answers": 3}, "cannot read the row"),
        ("humaneval", {"prompt": "x", "test": "y"}, "needs the column 'entry_point'"),
    ],
)
def test_a_row_in_another_shape_is_told_with_its_place(name: str, row: dict[str, Any], message: str) -> None:
    with pytest.raises(EvalError, match=r"^rows:7: adapter '" + name) as caught:
        adapted(name, row, "rows:7")
    assert message in str(caught.value)


INSTRUCTIONS: list[tuple[str, dict[str, Any], str, str]] = [
    ("keywords:existence", {"keywords": ["tea"]}, "some tea", "some milk"),
    ("keywords:forbidden_words", {"forbidden_words": ["tea"]}, "milk", "tea"),
    ("keywords:frequency", {"keyword": "tea", "frequency": 2, "relation": "at least"}, "tea tea", "tea"),
    ("keywords:frequency", {"keyword": "tea", "frequency": 2, "relation": "less than"}, "tea", "tea tea"),
    ("keywords:letter_frequency", {"letter": "q", "let_frequency": 2, "let_relation": "at least"}, "Qaq", "q"),
    ("keywords:letter_frequency", {"letter": "q", "let_frequency": 2, "let_relation": "less than"}, "q", "qaQ"),
    ("length_constraints:number_sentences", {"num_sentences": 2, "relation": "at least"}, "One. Two.", "One."),
    ("length_constraints:number_paragraphs", {"num_paragraphs": 2}, "a\n***\nb", "a\n\nb"),
    (
        "length_constraints:nth_paragraph_first_word",
        {"num_paragraphs": 2, "nth_paragraph": 2, "first_word": "then"},
        "First.\n\nThen this.",
        "Then.\n\nFirst this.",
    ),
    ("detectable_content:number_placeholders", {"num_placeholders": 1}, "Dear [name]", "Dear you"),
    ("detectable_content:postscript", {"postscript_marker": "P.S."}, "x\nP.S. y", "x"),
    ("detectable_content:postscript", {"postscript_marker": "P.P.S"}, "x\nP.P.S y", "x\nP.S. y"),
    ("detectable_format:number_highlighted_sections", {"num_highlights": 2.0}, "*a* and *b*", "*a*"),
    ("detectable_format:multiple_sections", {"section_spliter": "PART", "num_sections": 2}, "PART 1\nPART 2", "PART 1"),
    ("detectable_format:number_bullet_lists", {"num_bullets": 2.0}, "* a\n* b", "* a"),
    ("combination:two_responses", {}, "a\n******\nb", "a"),
    ("combination:repeat_prompt", {"prompt_to_repeat": "Say it."}, "Say it. It.", "It."),
    ("startend:end_checker", {"end_phrase": "The end."}, "So. The end.", "The end. So"),
    ("change_case:capital_word_frequency", {"capital_frequency": 1, "capital_relation": "at least"}, "a NEW", "a new"),
    ("change_case:english_lowercase", {}, "all low", "Not low"),
    ("startend:quotation", {}, '"said"', "said"),
]


@pytest.mark.parametrize(("name", "options", "good", "bad"), INSTRUCTIONS)
def test_an_instruction_becomes_a_constraint(name: str, options: dict[str, Any], good: str, bad: str) -> None:
    from evals.scorers import scorer

    reference = json.dumps([constraint(name, options)])
    judged = [scorer("constraints")(response, reference) for response in (good, bad)]
    assert [score.value for score in judged if isinstance(score, Scored)] == [1.0, 0.0], judged


def test_an_instruction_nobody_here_can_check_leaves_the_sample_unscored() -> None:
    from evals.scorers import scorer

    wanted = constraint("language:response_language", {"language": "de"})
    assert wanted == {UNCHECKED: "language:response_language"}
    assert isinstance(scorer("constraints")("Hallo", json.dumps([wanted])), Unscored)
