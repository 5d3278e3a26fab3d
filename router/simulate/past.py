"""Requests of a ledger as a simulation needs them: what was asked, decided, paid, and how good it was."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from router.decisions import Pace
from router.facts import request_again
from router.hindsight import CHOSEN, action_done, chances_of, texts_for
from router.pace import pace_of
from router.simulate.intervals import freedom
from router.simulate.party import Party
from router.types import TAG_NAMES, Request

if TYPE_CHECKING:
    from router.spend.ledger import Ledger

MOST = 2_000
"""Of more requests so many are drawn: each is decided again under both policies."""
PAGE = 500
DECIDED = (*CHOSEN, "pinned")
REFUSED = ("NoRouteError", "BudgetExceededError")
FEWEST = 3
"""Answers of a model that tell its mean length and time."""
ENOUGH = 20
"""With fewer in a task, a length that no weights mend is rough."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Past:
    """One request that was."""

    request: Request
    at_us: int
    decided: Mapping[str, Any]
    action: str | None
    """What was done; None: it was denied."""
    chances: Mapping[str, float]
    denied: str | None
    score: float | None
    calls: Sequence[Mapping[str, Any]]
    """Attempts, as the ledger keeps them."""
    answer: Mapping[str, Any] | None
    """The attempt that answered."""
    cost_usd: float | None
    latency_s: float | None
    scope: Mapping[str, str]
    cluster: str

    @property
    def input_tokens(self) -> int:
        """As billed; of a denied request, unknown: 0."""
        return int(self.answer["input_tokens"] or 0) if self.answer else 0


@dataclass(slots=True)
class Read:
    """What was read."""

    pasts: list[Past]
    count: int
    """Requests of the period that could be simulated, also those that were not drawn."""
    left: dict[str, int]


def read(
    ledger: Ledger, parties: Sequence[Party], folder: Path | None, since_us: int, until_us: int | None
) -> Read:  # fmt: skip
    """Requests of a period that a policy decided, answered or refused, in the order of their time.

    Raises:
        ConfigurationError: a policy reads the text of requests, and none is stored.
    """
    end_us = 1 << 62 if until_us is None else until_us
    refused = " OR ".join(f"error LIKE '{name}%'" for name in REFUSED)
    found = ledger.rows(
        f"SELECT seq, strategy FROM requests WHERE at_us >= ? AND at_us < ? AND kind = 'chat' "  # noqa: S608  names
        "AND cache NOT IN ('exact', 'semantic') AND strategy IS NOT 'shadow' "
        "AND workflow IS NOT 'eval' AND workflow IS NOT 'eval-judge' "  # they serve nobody, under any policy
        f"AND (outcome = 'ok' OR (outcome = 'error' AND ({refused})))",
        (since_us, end_us),
    )
    taken = [row["seq"] for row in found]
    if len(taken) > MOST:
        taken = sorted(np.random.default_rng(0).choice(taken, MOST, replace=False).tolist())
    pasts: list[Past] = []
    left = {"whose text is not stored": 0, "written by an older version, without the facts of their decision": 0}
    with ExitStack() as stack:
        readers = [stack.enter_context(texts_for(one.policy, one.predictor, folder)) for one in parties]
        reader = next((one for one in readers if one is not None), None)
        for row, calls in _rows(ledger, taken):
            decided = json.loads(row["decision"] or "{}")
            if not decided.get("facts") or decided.get("strategy") not in (*DECIDED, "none"):
                left["written by an older version, without the facts of their decision"] += 1
                continue
            kept = reader.text(row["id"]) if reader is not None else None
            if reader is not None and kept is None:
                left["whose text is not stored"] += 1
                continue
            pasts.append(_past(row, decided, calls, kept.messages if kept else None))
    pasts.sort(key=lambda one: one.at_us)
    return Read(pasts=pasts, count=len(found), left=left)


@dataclass(frozen=True, slots=True, kw_only=True)
class Mean:
    """A mean over answers, and how well so many know it."""

    name: str
    """Tells it from the other means of its kind."""
    value: float
    error: float
    """Standard error."""
    freedom: float
    """Degrees of freedom behind `error`."""


class Habits:
    """What answers were like, by task and model; of cascades, by all of their models."""

    def __init__(self, pasts: Sequence[Past]) -> None:
        lengths: dict[tuple[str | None, str], list[float]] = {}
        times: dict[tuple[str | None, str], list[float]] = {}
        costs: dict[tuple[str | None, str], list[float]] = {}
        scores: dict[tuple[str | None, str], list[float]] = {}
        calls: dict[tuple[str, str | None], list[float]] = {}
        for past in pasts:
            if past.action is None or past.answer is None:
                continue
            for call in past.calls:
                if call["outcome"] == "ok" and call["role"] is None:
                    calls.setdefault((call["model"], past.scope.get("task")), []).append(call["latency_s"])
            for task in (past.scope.get("task"), None):
                if past.answer["model"] == past.action:
                    lengths.setdefault((task, past.action), []).append(past.answer["output_tokens"] or 0)
                if past.score is not None:
                    scores.setdefault((task, past.action), []).append(past.score)
                if past.latency_s is not None:
                    times.setdefault((task, past.action), []).append(past.latency_s)
                if past.cost_usd is not None:
                    costs.setdefault((task, past.action), []).append(past.cost_usd)
        self._lengths = _means("length", lengths)
        self._times, self._costs, self._scores = _means("time", times), _means("cost", costs), _means("score", scores)
        self._known = {key for key, values in lengths.items() if len(values) >= ENOUGH}
        self._paces = {(model, task): pace_of(model, taken) for (model, task), taken in calls.items()}
        all_scores = [past.score for past in pasts if past.score is not None]
        self._score = float(np.mean(all_scores)) if all_scores else 0.0

    def pace(self, model: str, task: str | None) -> Pace | None:
        """How long a model's calls took in a task; None likewise."""
        return self._paces.get((model, task))

    def score(self, task: str | None, action: str) -> float:
        """Mean score; of all answers where too few tell."""
        known = self._scores.get((task, action))
        return self._score if known is None else known.value

    def length(self, task: str | None, model: str) -> Mean | None:
        """Mean output tokens; None where too few answers tell."""
        return self._lengths.get((task, model), self._lengths.get((None, model)))

    def knows(self, task: str | None, model: str) -> bool:
        """Whether so many answers tell the mean length in this very task that it may be relied upon."""
        return (task, model) in self._known

    def latency_s(self, task: str | None, action: str) -> Mean | None:
        """Mean seconds until the answer; None likewise."""
        return self._times.get((task, action), self._times.get((None, action)))

    def cost_usd(self, task: str | None, action: str) -> Mean | None:
        """Mean cost; None likewise."""
        return self._costs.get((task, action), self._costs.get((None, action)))


def _means(
    kind: str, found: Mapping[tuple[str | None, str], list[float]]
) -> dict[tuple[str | None, str], Mean]:  # fmt: skip
    return {key: _mean(f"{kind} of {key[1]} in {key[0]}", values) for key, values in found.items()
            if len(values) >= FEWEST}  # fmt: skip


def _mean(name: str, values: Sequence[float]) -> Mean:
    taken = np.array(values, dtype=float)
    count, value = len(taken), float(taken.mean())
    error = float(taken.std(ddof=1)) / math.sqrt(count)
    return Mean(name=name, value=value, error=error, freedom=freedom(taken - value, count))


def _rows(ledger: Ledger, taken: Sequence[int]) -> Iterator[tuple[dict[str, Any], list[dict[str, Any]]]]:
    for start in range(0, len(taken), PAGE):
        page = taken[start : start + PAGE]
        marks = ", ".join("?" * len(page))
        rows = ledger.rows(
            "SELECT *, (SELECT score FROM feedback AS f WHERE f.decision_id = id ORDER BY f.rowid LIMIT 1) AS score "  # noqa: S608  marks
            f"FROM requests WHERE seq IN ({marks}) ORDER BY seq",
            page,
        )
        calls: dict[str, list[dict[str, Any]]] = {}
        marks = ", ".join("?" * len(rows))
        for call in ledger.rows(
            f"SELECT * FROM attempts WHERE request_id IN ({marks}) ORDER BY number",  # noqa: S608  marks
            [row["id"] for row in rows],
        ):
            calls.setdefault(call["request_id"], []).append(call)
        for row in rows:
            yield row, calls.get(row["id"], [])


def _past(
    row: Mapping[str, Any], decided: Mapping[str, Any], calls: Sequence[Mapping[str, Any]], messages: str | None
) -> Past:
    is_answered = row["outcome"] == "ok"
    answers = [one for one in calls if one["model"] == row["model_served"] and one["outcome"] == "ok"]
    answer = answers[-1] if answers and is_answered else None
    scope = {name: row[name] for name in TAG_NAMES if row[name]} | json.loads(row["tags"])
    if row["task"]:
        scope["task"] = row["task"]
    return Past(
        request=_request(row, decided, messages, answer),
        at_us=row["at_us"],
        decided=decided,
        action=action_done(decided) if is_answered else None,
        chances=chances_of(decided) if decided["plan"] else {},
        denied=None if is_answered else (row["error"] or "error").partition(":")[0],
        score=row["score"] if is_answered else None,
        calls=calls,
        answer=answer,
        cost_usd=None if row["cost_pusd"] is None else row["cost_pusd"] / 1e12,
        latency_s=row["latency_s"] if is_answered else None,
        scope=scope,
        cluster=row["run_id"] or row["id"],
    )


def _request(
    row: Mapping[str, Any], decided: Mapping[str, Any], messages: str | None, answer: Mapping[str, Any] | None
) -> Request:
    if messages is not None:
        return request_again(row, decided, json.loads(messages))
    # Nothing reads it, but it is as long as it was: so its price and its bounds are.
    read = (answer or {}).get("input_tokens") or 0
    stand_in = ({"role": "user", "content": " a" * read},)
    return replace(request_again(row, decided, stand_in), task=row["task"])
