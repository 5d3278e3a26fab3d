"""Samples of our own making, drawn by a seed: the tasks that models of 0.1 to 1.5 billion weights differ on."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from random import Random

from evals.sources.local_pool import arithmetic, classification, code_output, extraction, reading, rewriting
from evals.sources.local_pool.words import Draft
from evals.types import EvalError, Sample, make_sample
from router.types import Message

STREAMS = 8
"""Prompts are dealt to this many streams by their hash; seeds that differ modulo it never share a prompt."""

TASKS: Mapping[str, Mapping[str, Callable[[Random], Draft]]] = {
    "arithmetic": arithmetic.KINDS,
    "classification": classification.KINDS,
    "code_output": code_output.KINDS,
    "extraction": extraction.KINDS,
    "reading": reading.KINDS,
    "rewriting": rewriting.KINDS,
}


def local_pool(task: str, *, seed: int, count: int) -> list[Sample]:
    """Draw samples of one task, its kinds in turn.

    Args:
        task: one of `TASKS`.
        seed: the same seed gives the same samples; see `STREAMS` for how seeds differ.
        count: number of samples, all with different prompts.

    Raises:
        EvalError: the task is not known, or has fewer prompts than wanted.
    """
    if task not in TASKS:
        raise EvalError(f"local-pool has no task {task!r}; it has {', '.join(sorted(TASKS))}")
    kinds = list(TASKS[task].items())
    # Text as a seed is stable over Python versions; a tuple's hash would not be.
    random = Random(f"local-pool/{task}/{seed}")  # noqa: S311
    seen: set[str] = set()
    samples: list[Sample] = []
    while len(samples) < count:
        name, draw = kinds[len(samples) % len(kinds)]
        draft = _fresh(draw, random, seed % STREAMS, seen)
        if draft is None:
            raise EvalError(f"local-pool task {task!r}: kind {name!r} has no {count} different prompts; lower `count`")
        seen.add(draft.prompt)
        samples.append(make_sample(task, _messages(draft), draft.reference, subtask=name, metadata={"seed": seed}))
    return samples


def _messages(draft: Draft) -> tuple[Message, ...]:
    turns = [("system", draft.system)]
    if draft.example is not None:
        turns += [("user", draft.example[0]), ("assistant", draft.example[1])]
    return tuple({"role": role, "content": text} for role, text in [*turns, ("user", draft.prompt)])


def _fresh(draw: Callable[[Random], Draft], random: Random, stream: int, seen: set[str]) -> Draft | None:
    for _ in range(100 * STREAMS):
        draft = draw(random)
        # Not `hash`: it is salted anew in every process.
        dealt = hashlib.sha256(draft.prompt.encode()).digest()[0] % STREAMS
        if dealt == stream and draft.prompt not in seen:
            return draft
    return None
