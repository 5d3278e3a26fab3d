"""Answers that people have labelled: what a judge is held against."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from evals.judges.rubric import Rubric
from evals.sources.files import read_rows
from evals.types import EvalError, Sample, make_sample

MAX_PAIRS = 50
"""Pairs of answers to one prompt that are compared in both orders."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Label:
    """One labelled answer."""

    sample: Sample
    """The question; its id is of question, reference and answer together."""
    response: str
    is_right: bool
    model: str | None = None


def read_labels(path: str | Path, rubric: Rubric) -> list[Label]:
    """Read labelled answers: columns `prompt`, `response`, `label`, and if known `reference` and `model`.

    A label is true or false, or, where any label of the file is neither these nor 0 or 1, a grade of the rubric.
    The same answer labelled again counts once.

    Raises:
        EvalError: the file or one of its rows is wrong, or an answer is labelled right and wrong.
    """
    rows = [(f"{path}:{line}", row) for line, row in read_rows(Path(path))]
    for place, row in rows:
        for name in ("prompt", "response", "label"):
            if name not in row:
                raise EvalError(f"{place}: has no column {name!r}; a labelled answer has prompt, response and label")
    words = {"true": True, "false": False, "1": True, "0": False, "pass": True, "fail": False}
    given = [str(row["label"]).strip().casefold() for _, row in rows]
    is_binary = all(label in words for label in given)
    labels: dict[str, Label] = {}
    for (place, row), word in zip(rows, given, strict=True):
        is_right = words[word] if is_binary else _grade(word, place, rubric) >= rubric.passing
        message, response = {"role": "user", "content": str(row["prompt"])}, str(row["response"])
        # The task makes the id one of the answer, too.
        task = f"labels/{hashlib.sha256(response.encode()).hexdigest()[:16]}"
        sample = make_sample(task, (message,), str(row.get("reference") or ""))
        label = Label(
            sample=sample,
            response=response,
            is_right=is_right,
            model=str(row["model"]) if row.get("model") else None,
        )
        if labels.setdefault(sample.id, label).is_right != is_right:
            raise EvalError(f"{place}: this answer is labelled right in one row and wrong in another; settle on one")
    if not labels:
        raise EvalError(f"{path}: holds no labelled answer")
    return list(labels.values())


def _grade(word: str, place: str, rubric: Rubric) -> float:
    try:
        grade = float(word)
    except ValueError:
        grade = math.nan
    if not min(rubric.scale) <= grade <= max(rubric.scale):
        raise EvalError(f"{place}: label {word!r} is neither true nor false nor a grade of the rubric")
    return grade


def pairs_of(labels: Sequence[Label]) -> list[tuple[Label, Label]]:
    """Pairs of answers to one prompt, to be compared; each answer is in at most one."""
    by_prompt: dict[tuple[str, str], list[Label]] = {}
    for label in labels:
        by_prompt.setdefault((label.sample.prompt, label.sample.reference), []).append(label)
    pairs = (pair for group in by_prompt.values() for pair in zip(group[::2], group[1::2], strict=False))
    return list(islice(pairs, MAX_PAIRS))
