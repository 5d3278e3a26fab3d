"""What another policy would have decided on requests of the ledger whose answers were scored."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any

from router.decide import decide
from router.decisions import Decision, TaskGuess
from router.errors import ConfigurationError
from router.facts import known_again, request_again
from router.policy import Policy
from router.predict.value import Scored
from router.spend.ledger import Ledger
from router.spend.money import from_pico
from router.spend.texts import FILE, TextReader
from router.types import Request

if TYPE_CHECKING:
    from router.predict import Predictor

CHOSEN = ("single", "cascade", "fixed")
"""Strategies of requests that a policy decided; a pinned model would be pinned under any policy."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hindsight:
    """Scored requests, seen by another policy."""

    records: list[Scored] = field(default_factory=list)
    without_text: int = 0
    """Left out: the policy needs their text, which is not stored (any more)."""
    unserved: int = 0
    """Left out: no model of the policy may serve them."""


def look_back(
    ledger: Ledger, policy: Policy, predictor: Predictor | None, now: datetime, folder: Path | None = None
) -> Hindsight:
    """Decide the ledger's scored requests again.

    What the policy would learn from feedback meanwhile is left out: it decides by evidence and artifact alone.

    Args:
        ledger: of what was done.
        policy: the other policy.
        predictor: its artifact, if it has one.
        now: prices and evidence of this moment count.
        folder: state directory with the stored texts; only looked at where the policy reads text.

    Raises:
        ConfigurationError: the policy reads the text of requests, and none is stored.
    """
    without_text = unserved = 0
    records: list[Scored] = []
    with texts_for(policy, predictor, folder) as texts:
        rows = list(_all_scored(ledger))
        typical = _Typical.of(rows)
        for row in rows:
            kept = texts.text(row["id"]) if texts is not None else None
            if texts is not None and kept is None:
                without_text += 1
                continue
            request = _request(row, kept.messages if kept else None)
            wanted = decide(request, policy, predictor, now, None, known_again(row["decision"])).decision
            if not wanted.plan:
                unserved += 1
                continue
            records.append(_record(row, wanted, typical))
    return Hindsight(records=records, without_text=without_text, unserved=unserved)


def against(ledger: Ledger, baseline: Callable[[Mapping[str, Any]], str | None]) -> list[Scored]:
    """The ledger's scored requests, had each gone to one model alone.

    Args:
        ledger: of what was done.
        baseline: that model, by the decision as it is in the ledger; None leaves a request out.
    """
    rows = list(_all_scored(ledger))
    typical = _Typical.of(rows)
    found = []
    for row in rows:
        if model := baseline(row["decision"]):
            task = TaskGuess(task=row["task"], probability=1.0, by="label")
            wanted = Decision(id=row["id"], task=task, rule="baseline", strategy="single", bar=0.0, plan=(model,),
                              candidates=(), policy_version="")  # fmt: skip
            found.append(_record(row, wanted, typical))
    return found


def texts_for(
    policy: Policy, predictor: Predictor | None, folder: Path | None
) -> AbstractContextManager[TextReader | None]:
    """The stored texts; None where the policy decides without reading any.

    Raises:
        ConfigurationError: the policy reads the text of requests, and none is stored.
    """
    reads = "its artifact reads" if predictor is not None else None
    if condition := policy.reads_text:
        reads = f"a rule with `{condition}` reads"
    if reads is None:
        return nullcontext()
    if folder is None or not (folder / FILE).is_file():
        raise ConfigurationError(
            f"{policy.path}: {reads} the text of requests, and none is stored; let the serving policy keep it "
            "(`data: {store_text: redacted}`) and ask again after a while"
        )
    return TextReader(folder)


def _all_scored(ledger: Ledger) -> Iterator[dict[str, Any]]:
    """Every scored request that a policy decided, its decision read, unless an older version left out the facts."""
    last = 0
    while rows := ledger.scored(after=last):
        for row in rows:
            if row["strategy"] not in CHOSEN:
                continue
            whole = row | (ledger.request(row["id"]) or {})
            whole["decision"] = json.loads(whole["decision"])
            if whole["decision"].get("facts"):
                yield whole
        last = rows[-1]["row"]


def _request(row: Mapping[str, Any], messages: str | None) -> Request:
    # A task that a classifier recognised is recognised again, by the other artifact, where there is text to read.
    if messages is not None:
        return request_again(row, row["decision"], json.loads(messages))
    return replace(request_again(row, row["decision"], ()), task=row["task"])


@dataclass(frozen=True, slots=True, kw_only=True)
class _Typical:
    """What actions were like on all scored requests: expected of an action where nothing better is."""

    score: float
    costs: Mapping[str, float]
    """Mean cost in USD of each action that was taken."""
    cost_ratio: float
    """What was paid, relative to what had been expected: without an artifact, answers' lengths are guesses."""

    @classmethod
    def of(cls, rows: Sequence[Mapping[str, Any]]) -> _Typical:
        paid: dict[str, list[float]] = {}
        both: list[tuple[float, float]] = []
        for row in rows:
            if row["cost_pusd"] is not None:
                done, cost_usd = row["decision"], row["cost_pusd"] / 1e12
                paid.setdefault(action_done(done), []).append(cost_usd)
                both += [(cost_usd, usd) for model, usd in _expected_costs(done).items() if model == action_done(done)]
        expected = sum(one for _, one in both)
        return cls(
            score=fmean(row["score"] for row in rows) if rows else 0.0,
            costs={action: fmean(costs) for action, costs in paid.items()},
            cost_ratio=sum(cost for cost, _ in both) / expected if expected else 1.0,
        )

    def cost_usd(self, action: str, expected: Mapping[str, float]) -> float | None:
        """Expected cost of an action; None where nothing is known of it."""
        if action in self.costs:
            return self.costs[action]
        return expected[action] * self.cost_ratio if action in expected else None


def _expected_costs(done: Mapping[str, Any]) -> dict[str, float]:
    known = {one["model"]: one.get("expected_cost_usd") for one in done["candidates"]}
    return {model: float(usd) for model, usd in known.items() if usd is not None}


def _record(row: Mapping[str, Any], wanted: Decision, typical: _Typical) -> Scored:
    done = row["decision"]
    action, target = action_done(done), action_of(wanted.strategy, wanted.plan)
    expected = {one["model"]: one["quality"] for one in done["candidates"] if one.get("quality") is not None}
    expected |= {one.model: one.quality for one in wanted.candidates if one.quality is not None}
    costs = _expected_costs(done)
    cost_usd = from_pico(row["cost_pusd"])
    return Scored(
        score=row["score"],
        action=action,
        chances=chances_of(done),
        wanted=target,
        expected={one: expected_of(one, expected, typical.score) for one in (action, target)},
        cost_usd=None if cost_usd is None else float(cost_usd),
        expected_cost_usd={one: typical.cost_usd(one, costs) for one in (action, target)},
    )


def chances_of(done: Mapping[str, Any]) -> Mapping[str, float]:
    """The chance of each action under a decision, as it is in the ledger; an action without one had none."""
    action = action_done(done)
    chances = {one["model"]: one.get("propensity") for one in done["candidates"]}
    known = {model: chance for model, chance in chances.items() if chance is not None}
    return known if done["strategy"] != "cascade" and action in known else {action: done.get("propensity", 1.0)}


def action_done(done: Mapping[str, Any]) -> str:
    """What a decision did, as it is in the ledger."""
    return action_of(done["strategy"], done["plan"])


def action_of(strategy: str, plan: Sequence[str]) -> str:
    """The model asked first; of a cascade, all of its models, because the later ones are part of what it does."""
    return " > ".join(plan) if strategy == "cascade" else plan[0]


def expected_of(action: str, expected: Mapping[str, float], typical: float) -> float:
    """Expected score of an action; a cascade is expected to be as good as its best model."""
    known = [expected[model] for model in action.split(" > ") if model in expected]
    return max(known, default=typical)
