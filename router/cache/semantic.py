"""The semantic tier: looks up what is alike, serves what is certified, and learns from every label.

It keeps no answers and no prompts: an entry is a number, a vector, traits of its text and the identity of its answer.
Whoever owns it stores answers under the entry's number, and calls

    decision = tier.lookup("partition", text, vector)
    if decision.outcome == "hit": serve the answer of decision.entry
    else: call the model; tier.learn(decision, answer=identity); tier.insert("partition", text, vector, identity)
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from router.cache.certify import LEAST_AUDIT, JudgeError, Standing
from router.cache.change import Change
from router.cache.evidence import NEAREST, Candidate, Record, Voter, elect, nearest, weigh
from router.cache.neighbours import Floats, Neighbours
from router.cache.score import Score
from router.cache.strata import Strata
from router.cache.vetoes import Traits, traits

AUDIT = (LEAST_AUDIT, 0.06)
"""Chance that a would-be hit is called anyway: at p = 0, and at the threshold, where most wrong ones are."""
UPDATE_EVERY = 100
MOST_TASKS = 1_000
"""Callers name tasks as they like: the one asked longest ago is forgotten, and has to earn its hits anew."""
_UNDER_WAY = "under way"
"""Stands for an answer that is not there yet; no identity of one is spelled so."""

Outcome = Literal["hit", "miss", "verify"]


@dataclass(frozen=True, slots=True, eq=False)
class Decision:
    """What the tier says about one request."""

    outcome: Outcome
    """`verify`: would be a hit, but was drawn for an audit; call the model and `learn`."""
    reason: str
    partition: str
    task: str
    answer: str | None = None
    """Identity of the proposed answer, also of a miss."""
    entry: int | None = None
    """Whose stored answer to serve."""
    p_wrong: float | None = None
    cosine: float | None = None
    audit: float | None = None
    """Chance by which a `verify` was drawn."""
    voters: tuple[Voter, ...] = ()
    threshold: float = 0.0
    """Largest p that answers like this one are served at; 0.0: none."""
    features: NDArray[np.float64] | None = None
    """None where a veto decided: such a case teaches nothing about those that may be served."""


@dataclass(slots=True)
class _Task:
    strata: Strata
    score: Score
    change: Change = field(default_factory=Change)
    proposals: int = 0


@dataclass(slots=True)
class _Entry:
    answer: str
    traits: Traits


@dataclass(slots=True)
class _Partition:
    near: Neighbours
    entries: dict[int, _Entry] = field(default_factory=dict)
    of_answer: dict[str, int] = field(default_factory=dict)
    records: dict[str, Record] = field(default_factory=dict)


class SemanticTier:
    """Certified per task, looked up per partition; threads may share it."""

    def __init__(
        self,
        *,
        max_error: float,
        confidence: float = 0.95,
        judge: JudgeError | None = None,
        seed: int = 0,
        prior: NDArray[np.float64] | None = None,
    ) -> None:
        """Make an empty tier.

        Args:
            max_error: promised upper bound of wrong / hits, in (0, 0.5].
            confidence: of the promise.
            judge: how often the labels given to `learn` are wrong.
            seed: of the audit; one text always draws the same.
            prior: coefficients of the score to start from; None takes the shipped ones.
        """
        self._new_task: Callable[[], _Task] = lambda: _Task(
            Strata(max_error, confidence=confidence, judge=judge), Score(prior)
        )
        self._new_task()  # bad arguments stop here
        self._key = seed.to_bytes(16, "big", signed=True)
        self._tasks: dict[str, _Task] = {}
        self._partitions: dict[str, _Partition] = {}
        self._next = 1
        # Re-entrant: the garbage collector may end a dropped stream in the middle of a look-up, and take its hit back.
        self._lock = threading.RLock()

    def lookup(self, partition: str, text: str, vector: Floats, *, task: str = "", truncated: bool = False) -> Decision:
        """Decide one request; counts a hit as served.

        Args:
            partition: requests of two partitions never meet.
            text: the last user text; read, not kept.
            vector: its vector, of length 1.
            task: whose threshold holds.
            truncated: the vector does not stand for the whole text, which refuses.
        """
        if truncated:
            return Decision("miss", "text longer than the embedder's window", partition, task)
        with self._lock:
            here = self._partitions.get(partition)
            if here is None or not here.entries:
                return Decision("miss", "nothing stored", partition, task)
            state = self._task(task)
            voters = self._voters(here, vector)
            candidate = self._candidate(here, traits(text), voters)
            p = state.score.p_wrong(candidate.features)
            outcome, reason, audit = self._decide(state, candidate, p, text)
            entry = candidate.entry if outcome != "miss" else None
            return Decision(
                outcome, reason, partition, task, candidate.answer, entry, p, candidate.cosine, audit, voters,
                state.strata.of(candidate.features).threshold,
                None if candidate.entry is None else candidate.features,
            )  # fmt: skip

    def would_serve(
        self, partition: str, asked: Traits, vector: Floats, *, other: Traits, cosine: float, task: str = ""
    ) -> bool:
        """Whether an answer under way may make the difference to a question that is no hit without it.

        It may be one that is stored already or a new one; the better of the two is looked at, because waiting for
        nothing costs time alone. `asked` and `vector` are of the question that may wait, `other` of the one under way.
        """
        with self._lock:
            state, here = self._tasks.get(task), self._partitions.get(partition)
            if state is None or state.change.is_on or not any(one.threshold for one in state.strata.all):
                return False
            stored = self._voters(here, vector) if here and here.entries else ()
            if stored and self._passes(state, asked, stored, of_all=len(stored)):
                return False
            likely = {_UNDER_WAY, elect(stored)} if stored else {_UNDER_WAY}
            return any(
                self._passes(state, asked, with_it, of_all=len(stored) + 1)
                for answer in likely
                if elect(with_it := nearest((*stored, Voter(0, cosine, answer, other)))) == answer
            )

    def learn(self, decision: Decision, *, answer: str) -> None:
        """Tell the identity of the true answer to a request that was looked up; free after a miss.

        A hit whose model was called after all (shadow mode) counts no longer as served.
        """
        self.judge(decision, wrong=decision.answer != answer)

    def judge(self, decision: Decision, *, wrong: bool) -> None:
        """As `learn`, when only the verdict on the proposed answer is known."""
        if decision.features is None or decision.p_wrong is None or decision.answer is None:
            return
        with self._lock:
            state = self._task(decision.task)
            certifier = state.strata.of(decision.features)
            if decision.outcome == "hit":
                certifier.unserve(decision.p_wrong)
            certifier.label(decision.p_wrong, wrong=wrong, audit=decision.audit)
            state.score.learn(decision.features, wrong=wrong, probability=decision.audit or 1.0)
            if here := self._partitions.get(decision.partition):
                old = here.records.get(decision.answer, Record())
                here.records[decision.answer] = Record(old.wrong + wrong, old.expected + decision.p_wrong)

    def retract(self, decision: Decision) -> None:
        """Take back a hit that was not served after all, and of which no truth will be known."""
        if decision.outcome == "hit" and decision.p_wrong is not None and decision.features is not None:
            with self._lock:
                self._task(decision.task).strata.of(decision.features).unserve(decision.p_wrong)

    def recall(
        self, task: str, p_wrong: float, features: NDArray[np.float64], *, wrong: bool, audit: float | None
    ) -> None:
        """Take in a label of an earlier process, in the order in which they were learned; its hits count no more."""
        with self._lock:
            state = self._task(task)
            state.strata.of(features).label(p_wrong, wrong=wrong, audit=audit)
            state.score.learn(features, wrong=wrong, probability=audit or 1.0)

    def recount(self, task: str, asked: Iterable[tuple[float, NDArray[np.float64]]]) -> Standing:
        """Take would-be answers of an earlier process as asked now, and move the threshold: for a look from outside."""
        with self._lock:
            strata = self._task(task).strata
            for p, features in asked:
                strata.of(features).propose(p)
            strata.update()
            return strata.standing()

    def insert(self, partition: str, text: str, vector: Floats, answer: str) -> int:
        """Store a question whose true answer is known; returns the entry's number."""
        with self._lock:
            here = self._partitions.setdefault(partition, _Partition(Neighbours(len(vector))))
            number, self._next = self._next, self._next + 1
            here.near.add(number, vector)
            here.entries[number] = _Entry(answer, traits(text))
            here.of_answer[answer] = here.of_answer.get(answer, 0) + 1
            return number

    def remove(self, partition: str, entry: int) -> bool:
        """Delete an entry; nothing of it stays. False when it was not there."""
        with self._lock:
            here = self._partitions.get(partition)
            if here is None or not here.near.remove(entry):
                return False
            answer = here.entries.pop(entry).answer
            here.of_answer[answer] -= 1
            if not here.of_answer[answer]:
                del here.of_answer[answer]
                here.records.pop(answer, None)
            return True

    def drop(self, partition: str) -> None:
        """Delete a whole partition."""
        with self._lock:
            self._partitions.pop(partition, None)

    def standing(self, task: str = "") -> Standing:
        """What is known of a task's hits."""
        with self._lock:
            return self._task(task).strata.standing()

    def _task(self, name: str) -> _Task:
        state = self._tasks.pop(name, None) or self._new_task()
        self._tasks[name] = state  # at the end: the one asked last
        if len(self._tasks) > MOST_TASKS:
            del self._tasks[next(iter(self._tasks))]
        return state

    def _voters(self, here: _Partition, vector: Floats) -> tuple[Voter, ...]:
        found = here.near.nearest(vector, NEAREST)
        entries = [here.entries[near.entry] for near in found]
        return tuple(
            Voter(near.entry, near.cosine, entry.answer, entry.traits)
            for near, entry in zip(found, entries, strict=True)
        )

    def _candidate(self, here: _Partition, asked: Traits, voters: tuple[Voter, ...]) -> Candidate:
        answer = elect(voters)
        return weigh(
            asked, voters, answer=answer, of_answer=here.of_answer[answer], of_all=len(here.entries),
            record=here.records.get(answer, Record()),
        )  # fmt: skip

    def _decide(self, state: _Task, candidate: Candidate, p: float, text: str) -> tuple[Outcome, str, float | None]:
        if candidate.entry is None:
            return "miss", f"veto: {', '.join(candidate.vetoes)}", None
        state.proposals += 1
        if state.change.note(candidate.features):
            state.strata.withdraw()
        if state.proposals % UPDATE_EVERY == 0:
            state.strata.update()
        certifier = state.strata.of(candidate.features)
        if not certifier.propose(p):
            threshold = certifier.threshold
            return "miss", f"p wrong {p:.4f} over {threshold:.4f}" if threshold else "nothing certified yet", None
        if state.change.is_on:
            return "miss", "other questions than usual are asked", None
        chance = AUDIT[0] + (AUDIT[1] - AUDIT[0]) * p / certifier.threshold
        if self._draw(text) < chance:
            return "verify", f"audit, one in {1 / chance:.0f}", chance
        certifier.serve(p)
        return "hit", f"p wrong {p:.4f} within {certifier.threshold:.4f}", None

    def _draw(self, text: str) -> float:
        digest = hashlib.blake2b(text.encode(errors="replace"), key=self._key, digest_size=8).digest()
        return int.from_bytes(digest, "big") / 2**64

    def _passes(self, state: _Task, asked: Traits, voters: tuple[Voter, ...], *, of_all: int) -> bool:
        answer = elect(voters)
        supporters = sum(voter.answer == answer for voter in voters)
        case = weigh(asked, voters, answer=answer, of_answer=supporters, of_all=of_all, record=Record())
        certifier = state.strata.of(case.features)
        return case.entry is not None and state.score.p_wrong(case.features) <= certifier.threshold
