"""Whether today's requests still look like the ones that evidence stands on; no model is asked for it.

Texts become counts of their three-letter sequences (hashed, log-damped, weighted by rarity in both samples together,
brought to length 1: no language is assumed), and two samples are held against each other by the energy distance of
Székely and Rizzo (2013), whose p-value comes from permutations. Under permutations the test keeps its error whatever
the features are; what it sees depends on them: words and templates, not meaning, and no order of words.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from evals.sources.ledger import drawn_rows
from evals.suite_schema import LedgerEntry
from evals.types import Sample, make_sample
from router.redact import builtin

BUCKETS = 4096
MOST_LETTERS = 20_000
"""Of one text; what stands behind them changes little, and a novel must not cost a minute."""
MOST_SAMPLES = 400
"""On a side; time and memory grow with its square."""
DRAWS = 2_000
_MIX = np.uint64(0x9E3779B97F4A7C15)

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Apart:
    """How far two samples are from each other."""

    within: float
    """Mean distance of two different texts of the first sample, 0 to 1.41."""
    between: float
    """Mean distance of a text of the first sample and one of the second."""
    n: int
    """Texts on the smaller side that were compared."""
    p: float
    """Chance of an energy distance like this one if both samples came from the same traffic."""


def fresh_samples(
    state: Path, anchors: Sequence[Sample], *, days: float, per_task: int = MOST_SAMPLES, seed: int = 0
) -> dict[str, list[Sample]]:
    """Requests of the last `days` out of a router's state directory, redacted, at most so many of each task.

    Of the anchors' tasks, and without those requests that are anchors themselves: they would hide a change.

    Raises:
        EvalError: there is no ledger, or it holds no text.
    """
    known = {str(sample.metadata.get("source")).rpartition(":")[2] for sample in anchors}
    found: dict[str, list[Sample]] = {}
    for task in dict.fromkeys(sample.task for sample in anchors):
        entry = LedgerEntry(state=str(state.absolute()), tasks=[task], per_task=per_task, days=days)
        found[task] = [
            make_sample(task, tuple(row["messages"]), row["reference"], metadata={"source": place})
            for place, row in drawn_rows(entry, task, Path(), seed=seed, without=known)
        ]
    return found


def wording(before: Sequence[Sample], now: Sequence[Sample], *, seed: int = 0) -> Apart | None:
    """Compare the prompts of two samples, both redacted; None when a side has fewer than two."""
    sides = [[builtin(sample.prompt) for sample in _some(side)] for side in (before, now)]
    if min(map(len, sides)) < 2:
        return None
    return energy_test(vectors(sides[0] + sides[1]), len(sides[0]), seed=seed)


def _some(samples: Sequence[Sample]) -> list[Sample]:
    """By the hash of their content, which has nothing to do with what is compared."""
    return sorted(samples, key=lambda sample: sample.id)[:MOST_SAMPLES]


def vectors(texts: Sequence[str]) -> Floats:
    """One row of length 1 for each text (0 for a text of no weight)."""
    counts = np.log1p(np.stack([_counts(text[:MOST_LETTERS]) for text in texts]))
    shared_by = (counts > 0).sum(axis=0)
    # What stands in every text (a system prompt) weighs nothing; the weights know no sides, so permutations may.
    counts *= np.log((1 + len(texts)) / (1 + shared_by))
    lengths = np.linalg.norm(counts, axis=1, keepdims=True)
    weighed: Floats = np.divide(counts, lengths, out=np.zeros_like(counts), where=lengths > 0)
    return weighed


def _counts(text: str) -> Floats:
    letters = np.frombuffer(f" {text.lower()} ".encode("utf-32-le", "replace"), dtype=np.uint32).astype(np.uint64)
    if len(letters) < 3:
        return np.zeros(BUCKETS)
    three = (letters[:-2] << np.uint64(42)) ^ (letters[1:-1] << np.uint64(21)) ^ letters[2:]
    buckets = ((three * _MIX) >> np.uint64(52)).astype(np.int64)  # the product's top 12 bits
    return np.bincount(buckets, minlength=BUCKETS).astype(np.float64)


def energy_test(points: Floats, first: int, *, seed: int = 0, draws: int = DRAWS) -> Apart:
    """Energy distance of the first `first` points to the others, with its permutation p-value.

    Args:
        points: one row each.
        first: how many belong to the first sample; at least 2, and 2 left.
        seed: of the permutations.
        draws: permutations; the data themselves count as one more, so p is at least 1 / (draws + 1).
    """
    total, second = len(points), len(points) - first
    squares = (points**2).sum(axis=1)
    apart = np.sqrt(np.maximum(0.0, squares[:, None] + squares[None, :] - 2 * points @ points.T))
    np.fill_diagonal(apart, 0.0)
    sums, everything = apart.sum(axis=1), apart.sum()

    def parts(chosen: Floats) -> tuple[Floats, Floats, Floats]:
        inner = (chosen * (apart @ chosen)).sum(axis=0)
        reach = sums @ chosen
        return inner, reach - inner, everything - 2 * reach + inner

    def energy(chosen: Floats) -> Floats:
        inner, across, outer = parts(chosen)
        value: Floats = 2 * across / (first * second) - inner / first**2 - outer / second**2
        return value

    own = np.zeros((total, 1))
    own[:first] = 1.0
    observed = energy(own)[0]
    random, reached = np.random.default_rng(seed), 0
    for begin in range(0, draws, 500):
        chosen = random.permuted(np.repeat(own, min(500, draws - begin), axis=1), axis=0)
        reached += int((energy(chosen) >= observed - 1e-12).sum())
    inner, across, _ = (float(part[0]) for part in parts(own))
    return Apart(
        within=inner / (first * (first - 1)),
        between=across / (first * second),
        n=min(first, second),
        p=(reached + 1) / (draws + 1),
    )


def two_sample_p(a: Sequence[float], b: Sequence[float], *, seed: int = 0, draws: int = DRAWS) -> float:
    """Two-sided permutation test of equal means; exact up to the number of draws, which count the data themselves."""
    random = np.random.default_rng(seed)
    pooled = np.concatenate([np.asarray(a, dtype=float), np.asarray(b, dtype=float)])
    observed = abs(pooled[: len(a)].mean() - pooled[len(a) :].mean())
    total, size = pooled.sum(), len(a)
    reached = 0
    for _ in range(draws):
        first = pooled[random.permutation(len(pooled))[:size]].sum()
        apart = abs(first / size - (total - first) / (len(pooled) - size))
        reached += bool(apart >= observed - 1e-12)
    return (reached + 1) / (draws + 1)
