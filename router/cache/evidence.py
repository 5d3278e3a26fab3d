"""What speaks for serving a stored answer: the vote of the nearest entries, as a row of numbers.

Pure: entries in, one candidate answer and its features out. Entries with equal answers form a group, so many entries
that agree count for more than one that is near.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from router.cache.vetoes import Traits, vetoes, void

NEAREST = 16
"""Entries that vote."""
TEMPERATURE = 0.05
"""A vote falls by e for this much cosine behind the nearest."""
FEATURES = (
    "one", "cosine", "cosine over 0.85", "gap to the nearest other answer", "behind another answer",
    "share of the vote",
    "share of the nearest 8", "share x cosine", "second cosine", "fourth cosine", "supporters", "entries of the answer",
    "entries in all", "the answer's own record", "best word overlap", "words no supporter has",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Voter:
    """A near entry."""

    entry: int
    cosine: float
    answer: str
    """Identity of its answer; equal answers have equal ones."""
    traits: Traits


@dataclass(frozen=True, slots=True)
class Record:
    """How often an answer was proposed with the truth known."""

    wrong: float = 0.0
    """Times it was wrong."""
    expected: float = 0.0
    """Sum of the probabilities that the score gave to that."""


@dataclass(frozen=True, slots=True, eq=False)
class Candidate:
    """The answer that the neighbours propose."""

    answer: str
    entry: int | None
    """Its nearest entry that no veto stands against; None when vetoes stand against all of them."""
    cosine: float
    """Of its nearest entry."""
    vetoes: tuple[str, ...]
    """What stands against its nearest entry, where `entry` is None."""
    features: NDArray[np.float64]
    """Shape (16,), by the names of FEATURES."""


def nearest(voters: Iterable[Voter]) -> tuple[Voter, ...]:
    """Those that vote, nearest first."""
    return tuple(sorted(voters, key=lambda voter: -voter.cosine)[:NEAREST])


def elect(voters: Sequence[Voter]) -> str:
    """The answer with the most votes; ties go to the nearer entry.

    Raises:
        ValueError: nobody votes.
    """
    if not voters:
        raise ValueError("no entry is near; there is nothing to elect")
    votes: dict[str, float] = {}
    for voter in voters:
        votes[voter.answer] = votes.get(voter.answer, 0.0) + _vote(voter, voters[0])
    return max(votes, key=votes.__getitem__)


def weigh(
    asked: Traits, voters: Sequence[Voter], *, answer: str, of_answer: int, of_all: int, record: Record
) -> Candidate:
    """The case for an answer.

    Args:
        asked: traits of the question.
        voters: the nearest entries, nearest first.
        answer: the elected one.
        of_answer: entries in the partition with this answer.
        of_all: entries in the partition.
        record: of this answer.
    """
    own = [voter for voter in voters if voter.answer == answer]
    others = [voter.cosine for voter in voters if voter.answer != answer]
    best = own[0].cosine
    # With no other answer in sight, the farthest neighbour bounds how near one could be.
    other = others[0] if others else max(0.0, voters[-1].cosine - TEMPERATURE)
    votes = [_vote(voter, voters[0]) for voter in voters]
    share = sum(vote for vote, voter in zip(votes, voters, strict=True) if voter.answer == answer) / sum(votes)
    agree = sum(voter.answer == answer for voter in voters[:8]) / min(8, len(voters))
    overlap = max(_overlap(asked, voter.traits) for voter in own)
    known = frozenset().union(*(voter.traits.vocabulary for voter in own))
    unheard = len(asked.vocabulary - known) / max(1, len(asked.vocabulary))
    features = np.array(
        [
            1.0, best, max(best - 0.85, 0.0) * 5, best - other, max(other - best, 0.0), share,
            agree, share * best, own[1].cosine if len(own) > 1 else 0.0, own[3].cosine if len(own) > 3 else 0.0,
            math.log(len(own)), min(4.0, math.log1p(of_answer)) / 4, math.log(max(1, of_all)) / 10,
            math.log((record.wrong + 1.5) / (record.expected + 1.5)), overlap, unheard,
        ]
    )  # fmt: skip
    entry, against = _unopposed(asked, own)
    return Candidate(answer, entry, best, against, features)


def _unopposed(asked: Traits, own: Sequence[Voter]) -> tuple[int | None, tuple[str, ...]]:
    traits = [voter.traits for voter in own]
    first: tuple[str, ...] = ()
    for voter in own:
        against = tuple(name for name in vetoes(asked, voter.traits) if not void(name, traits))
        if not against:
            return voter.entry, ()
        first = first or against
    return None, first


def _vote(voter: Voter, nearest: Voter) -> float:
    return math.exp((voter.cosine - nearest.cosine) / TEMPERATURE)


def _overlap(one: Traits, other: Traits) -> float:
    return len(one.vocabulary & other.vocabulary) / max(1, len(one.vocabulary | other.vocabulary))
