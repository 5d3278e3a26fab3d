"""One promise of the policy, `max_error` at a confidence: its tier in memory, kept in step with the shelf on disk."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from router.cache.certify import Standing
from router.cache.evidence import FEATURES, Voter
from router.cache.identity import JUDGE
from router.cache.semantic import Decision, SemanticTier
from router.cache.shelf import Label, Shelf, Stored

IN_MEMORY = 1_000
"""Partitions of which a process holds the entries; the one asked longest ago is read again when it is asked."""
COMPARED = 3
"""Stored answers that a new one is compared with."""


@dataclass(slots=True)
class _Shelved:
    """The part of the shelf that a tier knows, of one partition."""

    last: int = 0
    deletions: int = 0
    """Of the whole shelf, when this part was last compared with it."""
    living: deque[tuple[float, int]] = field(default_factory=deque)
    """When each entry expires, and its number in the tier."""


class Promise:
    """A tier and what it knows of the shelf; its owner locks."""

    def __init__(self, shelf: Shelf, *, max_error: float, confidence: float, versions: str, seed: int) -> None:
        """Start with the labels that the shelf holds.

        Args:
            shelf: on disk.
            max_error: of wrong / hits.
            confidence: of that bound.
            versions: vectors, traits, features and routes: what a label was learned under, or it says nothing.
            seed: of the audit.
        """
        self.name = f"{max_error:g} {confidence:g} {versions}"
        self.tier = SemanticTier(max_error=max_error, confidence=confidence, judge=JUDGE, seed=seed)
        self.known: dict[str, _Shelved] = {}
        """By partition, the one asked last at the end."""
        self.rows: dict[int, int] = {}
        """Number in the tier -> number on the shelf."""
        self._shelf = shelf
        for one in shelf.labels(self.name, len(FEATURES)):
            self.tier.recall(one.task, one.p_wrong, one.features, wrong=one.wrong, audit=one.audit)

    def take_in(self, where: str) -> None:
        """What this and other processes stored in a partition since the last time, deleted, or let expire."""
        deletions = self._shelf.deletions()
        shelved = self.known.get(where) or _Shelved(deletions=deletions)
        if shelved.deletions != deletions:
            # Else what is deleted would go on voting, though its answer is served to nobody.
            there = self._shelf.numbers(where)
            gone = {number for _, number in shelved.living if self.rows.get(number) not in there}
            shelved.living = deque(one for one in shelved.living if one[1] not in gone)
            shelved.deletions = deletions
            for number in gone:
                self._lose(where, number)
        for one in self._shelf.questions(where, shelved.last):
            number = self.tier.insert(where, one.text, one.vector.astype(np.float32), one.answer)
            self.rows[number] = one.id
            shelved.living.append((one.expires_s, number))
            shelved.last = one.id
        now_s = time.time()
        while shelved.living and shelved.living[0][0] <= now_s:
            self._lose(where, shelved.living.popleft()[1])
        self.known.pop(where, None)
        if shelved.living:
            self.known[where] = shelved
        else:  # most conversations are asked once and never hold an entry: they leave nothing here
            self.tier.drop(where)
        if len(self.known) > IN_MEMORY:
            oldest = next(iter(self.known))
            for _, number in self.known.pop(oldest).living:
                self.rows.pop(number, None)
            self.tier.drop(oldest)

    def stored(self, decision: Decision) -> Stored | None:
        """The answer that a decision would serve; None where it is gone, and then its entry goes as well."""
        if decision.entry is None:
            return None
        found = self._shelf.answer(self.rows[decision.entry])
        if found is None:
            self._lose(decision.partition, decision.entry)
        return found

    def recount(self, task: str) -> Standing:
        """Where this task would stand if what was labelled were asked again; a process begins without a threshold."""
        labels = self._shelf.labels(self.name, len(FEATURES))
        return self.tier.recount(task, [(one.p_wrong, one.features) for one in labels if one.task == task])

    def near(self, decision: Decision) -> list[tuple[Voter, Stored, str]]:
        """A decision's voters with their stored answers and questions, the nearest first."""
        texts = {one.id: one.text for one in self._shelf.questions(decision.partition, 0)}
        found = []
        for voter in decision.voters:
            row = self.rows.get(voter.entry)
            stored = self._shelf.answer(row) if row is not None else None
            if row is not None and stored is not None:
                found.append((voter, stored, texts.get(row, "")))
        return found

    def ask_for(self, decision: Decision) -> None:
        """Note that an entry was asked for: in a full cache it stays longer."""
        if decision.entry is not None:
            self._shelf.ask_for(self.rows[decision.entry])

    def others(self, decision: Decision) -> list[tuple[str, Mapping[str, Any]]]:
        """Identity and payload of the neighbours' answers, one of each, the proposed one first."""
        nearest: dict[str, int] = {}
        for voter in sorted(decision.voters, key=lambda one: one.answer != decision.answer):
            nearest.setdefault(voter.answer, voter.entry)
        found = []
        for identity, number in list(nearest.items())[:COMPARED]:
            row = self.rows.get(number)
            stored = self._shelf.answer(row) if row is not None else None
            if stored is not None:
                found.append((identity, stored.payload))
        return found

    def judge(self, decision: Decision, *, wrong: bool, request_id: str) -> None:
        """Learn whether a proposed answer was wrong, and note it for the next start."""
        self.tier.judge(decision, wrong=wrong)
        if decision.features is not None and decision.p_wrong is not None:
            label = Label(decision.task, decision.p_wrong, wrong, decision.audit, decision.features, request_id)
            self._shelf.add_label(self.name, label)

    def _lose(self, where: str, number: int) -> None:
        self.tier.remove(where, number)
        self.rows.pop(number, None)
