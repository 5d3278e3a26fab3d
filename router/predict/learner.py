"""Reads the ledger's feedback as it comes and keeps what it taught. No state of its own: the ledger tells it all."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC
from typing import Any

from router.policy.evidence import EvidenceTable
from router.predict.alarm import Watch
from router.predict.online import Experience, Tally
from router.spend.ledger import Ledger

ROUTED = ("single", "cascade")
"""Strategies under which a bar was promised; a pinned or fixed model promises nothing."""


class Learner:
    """What the feedback of a ledger taught, up to the moment of asking. Threads may share it.

    Args:
        ledger: whose feedback is read.
        evidence: of the policy. Answers from before a model's evidence was made teach nothing about that model any
            more: a new evaluation starts it afresh. Alarms do not look at evidence.
    """

    def __init__(self, ledger: Ledger, evidence: EvidenceTable | None = None) -> None:
        self._ledger = ledger
        self._since_us = {
            pair: int((one.created if one.created.tzinfo else one.created.replace(tzinfo=UTC)).timestamp() * 1e6)
            for pair, one in (evidence or {}).items()
        }
        self._known = (Experience(), 0)

    def now(self) -> Experience:
        """What is known with all the feedback there is; asks the ledger only for what is new."""
        known, acknowledged = self._known
        (newest,) = self._ledger.rows(
            "SELECT (SELECT COALESCE(MAX(rowid), 0) FROM feedback) AS row, "
            "(SELECT COALESCE(MAX(rowid), 0) FROM acknowledgements) AS acknowledged"
        )
        if newest["acknowledged"] != acknowledged:
            known = Experience()  # seldom, so reading all of it again is simpler than remembering where each task was
        if newest["row"] == known.row and newest["acknowledged"] == acknowledged:
            return known
        known = self._read(known, newest["row"], _acknowledged(self._ledger))
        # In one step: a thread that came here at the same time has read the same.
        self._known = (known, newest["acknowledged"])
        return known

    def as_of(self, row: int, at_us: int) -> Experience:
        """What was known with the feedback up to a row, at a moment in microseconds since 1970."""
        return self._read(Experience(), row, _acknowledged(self._ledger, at_us), upto=row)

    def _read(self, known: Experience, newest: int, seen: Mapping[str, int], upto: int | None = None) -> Experience:
        tallies, watches = dict(known.tallies), dict(known.watches)
        last = known.row
        while rows := self._ledger.scored(after=last):
            for row in rows:
                if upto is not None and row["row"] > upto:
                    return Experience(row=upto, tallies=tallies, watches=watches)
                last = row["row"]
                self._tally(row, tallies)
                if row["strategy"] in ROUTED and row["task"] and last > seen.get(row["task"], 0):
                    before = watches.get(row["task"], Watch())
                    after = _watched(before, row)
                    if after is not before:
                        watches[row["task"]] = after
        return Experience(row=max(last, newest), tallies=tallies, watches=watches)

    def _tally(self, row: Mapping[str, object], tallies: dict[tuple[str, str], Tally]) -> None:
        task, model, at_us = row["task"], row["model_served"], row["at_us"]
        # A cascade serves the answers that looked good: they say nothing of the model's answers by themselves.
        if not isinstance(task, str) or not isinstance(model, str) or row["strategy"] == "cascade":
            return
        pair = (task, model)
        if isinstance(at_us, int) and at_us >= self._since_us.get(pair, 0):
            tallies[pair] = tallies.get(pair, Tally()).hear(float(str(row["score"])))


def _watched(watch: Watch, row: Mapping[str, Any]) -> Watch:
    """A task's alarm after one more scored answer; the same where the answer's bar says nothing of it."""
    if row["bar"]:
        watch = watch.hear(row["score"], row["bar"])
    max_drop, other, chance, first = json.loads(row["drop_bar"] or "[null, null, 1, null]")
    if not max_drop:
        return watch
    is_other = first == other and row["strategy"] == "single"
    if chance == 1.0 and not is_other:
        return watch  # the other model could not have answered, so nobody knows what was lost
    share = 0.0 if chance == 1.0 else chance if is_other else 1.0 - chance
    return watch.hear_drop(row["score"], max_drop, share, is_other=is_other)


def _acknowledged(ledger: Ledger, until_us: int = 2**62) -> dict[str, int]:
    """By task, the feedback that its last acknowledgement had seen."""
    rows = ledger.rows(
        "SELECT task, MAX(feedback_row) AS row FROM acknowledgements WHERE at_us <= ? GROUP BY task", (until_us,)
    )
    return {row["task"]: row["row"] for row in rows}
