"""Every query of an outcome table decided and answered under two policies: the real decision and flow, no call made."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

import numpy as np

from router.decide import decide
from router.decisions import Pace
from router.outcomes import COLUMNS, OPTIONAL_COLUMNS
from router.pace import pace_of
from router.simulate.pairs import Pair, Side, Simulated
from router.simulate.party import Party
from router.simulate.walk import Walked, walk
from router.spend.prices import price_on
from router.transports.replay import ReplayTransport
from router.types import TAG_NAMES, Request, Tags, Usage
from router.warmth import Known

if TYPE_CHECKING:
    import pyarrow as pa

    from router.decide import Ruling
    from router.predict import Predictor

Row = Mapping[str, Any]
FEWEST = 20
"""Answers of a model that tell how long they are."""


def from_outcomes(
    table: pa.Table, before: Party, after: Party, now: datetime, names: Mapping[str, str] | None = None
) -> Simulated:
    """Simulate both policies on every query.

    Args:
        table: with quality, one row a query and model.
        before: the policy that is.
        after: the policy that may be.
        now: prices and evidence of this moment count.
        names: what the table calls models, by policy id, where it is neither the id nor the end of the call.

    Raises:
        ConfigurationError: a given name is none of the table's.
    """
    rows = table.to_pylist()
    seen = _Seen(rows)
    both = [_Replay(party, party.names(seen.models, names or {}), seen, now) for party in (before, after)]
    pairs = [_pair(query, own, both) for query, own in seen.queries.items()]
    return Simulated(pairs=pairs, notes=tuple(_notes(table, both)))


class _Seen:
    """The table, by query, and what its answers are like."""

    def __init__(self, rows: Sequence[Row]) -> None:
        self.queries: dict[str, dict[str, Row]] = {}
        lengths: dict[tuple[str, str], list[int]] = {}
        times: dict[tuple[str, str], list[float]] = {}
        for row in rows:
            self.queries.setdefault(row["query_id"], {})[row["model"]] = row
            lengths.setdefault((row["task"], row["model"]), []).append(row["output_tokens"])
            if row.get("latency_s") is not None:
                times.setdefault((row["task"], row["model"]), []).append(row["latency_s"])
        self._paces = {key: pace_of(key[1], taken) for key, taken in times.items()}
        self.models = frozenset(row["model"] for row in rows)
        self.transport = ReplayTransport.of_rows(rows)
        self.mean_quality = float(np.mean([row["quality"] for row in rows]))
        self._lengths = {key: float(np.mean(one)) for key, one in lengths.items() if len(one) >= FEWEST}

    def pace(self, task: str | None, name: str | None) -> Pace | None:
        """How long a model's answers took in a task; None where too few tell."""
        return None if name is None or task is None else self._paces.get((task, name))

    def length(self, task: str, name: str | None) -> float | None:
        """Mean output tokens of a model in a task; None where too few answers tell."""
        return None if name is None else self._lengths.get((task, name))


@dataclass(slots=True)
class _Replay:
    """One policy at work on the table."""

    party: Party
    names: Mapping[str, str]
    seen: _Seen
    now: datetime
    unrecorded: Counter[str]

    def __init__(self, party: Party, names: Mapping[str, str], seen: _Seen, now: datetime) -> None:
        self.party, self.names, self.seen, self.now = party, names, seen, now
        self.unrecorded = Counter()

    def side(self, request: Request, own: Mapping[str, Row]) -> Side:
        """What the policy does with a query."""
        policy = self.party.policy
        ruling = decide(request, policy, self.party.predictor, self.now, None, Known(pace=self._pace))
        rows = {model: own[name] for model, name in self.names.items() if name in own}
        walked = walk(request, ruling, policy, rows, self.seen.transport)
        if walked.missing is not None:
            return self._expected(request, ruling, walked, walked.missing, own)
        return Side(
            action=" > ".join(walked.asked) or None,
            denied=walked.denied,
            quality=rows[walked.answered]["quality"] if walked.answered is not None else None,
            cost_usd=walked.cost_usd,
            latency_s=walked.latency_s if walked.answered is not None else None,
        )

    def _pace(self, model: str, task: str | None) -> Pace | None:
        pace = self.seen.pace(task, self.names.get(model))
        return None if pace is None else replace(pace, model=model)

    def _expected(self, request: Request, ruling: Ruling, walked: Walked, model: str, own: Mapping[str, Row]) -> Side:
        """What is to be expected of a model whose answer was not recorded."""
        self.unrecorded[model] += 1
        policy, task = self.party.policy, request.task or ""
        known = self.party.predictor.predict(request.text, task).get(model) if self.party.predictor else None
        evidence = policy.evidence.get((task, model))
        quality = known.quality if known else evidence.mean if evidence else self.seen.mean_quality
        length = self.seen.length(task, self.names.get(model))
        is_rough = length is None
        if length is None and known is not None:
            length, is_rough = known.output_tokens, False
        if length is None:
            length = float(np.mean([row["output_tokens"] for row in own.values()]))
        price = price_on(policy.prices[model], self.now.date())
        read = round(float(np.median([row["input_tokens"] for row in own.values()])))
        usd = float(price.cost(Usage(input_tokens=read, output_tokens=round(length)))) if price else None
        best = max([quality, *(own[self.names[one]]["quality"] for one in walked.asked)])
        return Side(
            action=" > ".join([*walked.asked, model]),
            quality=best if ruling.decision.strategy == "cascade" else quality,
            cost_usd=None if usd is None or walked.cost_usd is None else walked.cost_usd + usd,
            extrapolated=True,
            is_rough=is_rough,
        )


def _pair(query: str, own: Mapping[str, Row], both: Sequence[_Replay]) -> Pair:
    first = next(iter(own.values()))
    scope = _scope(first)
    extra = {name: value for name, value in scope.items() if name not in TAG_NAMES and name != "task"}
    named = {name: value for name, value in scope.items() if name in TAG_NAMES}
    request = Request(
        id=query,
        messages=({"role": "user", "content": first["prompt"]},),
        task=first["task"] or None,
        tags=Tags(**named, extra=extra),
    )
    before, after = (one.side(request, own) for one in both)
    told = first.get("run_id") or hashlib.sha256(first["prompt"].encode("utf-8", "surrogatepass")).hexdigest()
    return Pair(cluster=str(told), scope=scope, a=before, b=after)


def _scope(row: Row) -> dict[str, str]:
    """Task, subtask, and every further column of text: the tags."""
    hidden = {*COLUMNS, *OPTIONAL_COLUMNS, "response_quality"} - {"task", "subtask"}
    return {name: value for name, value in row.items() if name not in hidden and isinstance(value, str) and value}


def _notes(table: pa.Table, both: Sequence[_Replay]) -> Iterator[str]:
    for name, one in zip(("the policy before", "the new policy"), both, strict=True):
        policy = one.party.policy
        if unpriced := sorted(model for model in one.names if not policy.prices[model]):
            yield f"{name} knows no price of {', '.join(unpriced)}: the costs are the table's"
        if one.unrecorded:
            counts = ", ".join(f"{model} {count:,}" for model, count in one.unrecorded.most_common())
            yield f"{name} asks models whose answers the table does not have ({counts} queries): expectations alone"
        if policy.budgets.each:
            yield f"{name} has budgets, which are not simulated: a table has no times; the ledger has (--ledger)"
        if any(rule.verifier for rule in policy.rules):
            yield f"{name} names a verifier, which a replay never asks"
        if policy.learns:
            yield f"{name} learns and explores, which a simulation leaves out"
        if one.party.predictor is not None:
            yield from _in_sample(one.party.predictor, table, name)


def _in_sample(predictor: Predictor, table: pa.Table, name: str) -> Iterator[str]:
    share = predictor.seen(sorted(set(table["prompt"].to_pylist())))
    if share is None:
        yield f"whether the artifact of {name} was trained on these queries is unknown; train it again to know"
    elif share > 0:
        yield (
            f"in-sample: the artifact of {name} was trained on {share:.0%} of these prompts, so its figures flatter; "
            "simulate on outcomes that it has not seen"
        )
