"""One model's card: what its owner says of it, what was measured, what it costs, and who uses it."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from router.canaries import Canaries
from router.policy import Evidence, Policy, evidence_gap
from router.policy.data import is_local
from router.policy.governance import parts
from router.policy.standing import day_shown
from router.shadows import Shadows
from router.spend.ledger import Ledger
from router.spend.prices import price_on


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What an evidence file says, and what it suffices for today."""

    task: str
    n: int
    mean: float
    lower: float
    """One-sided lower bound of the mean at `confidence`."""
    confidence: float
    metric: str
    scorer: str
    run_id: str
    model_version: str | None
    created: str
    expires: str | None
    carries: tuple[str, ...]
    """Bars of rules for this task that it carries by itself: `rule: bar`."""
    lacks: tuple[str, ...]
    """Those that it does not carry, with the reason."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Users:
    """Who used it in the period: one team and workflow."""

    team: str | None
    workflow: str | None
    calls: int
    failed: int
    cost_usd: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """What the ledger has of it in a period."""

    calls: int
    failed: int
    error_rate: float | None
    """Failed calls by calls."""
    unpriced: int
    hits: int
    """Answers of its that came out of a cache."""
    cost_usd: Decimal
    p50_s: float | None
    p95_s: float | None
    """Of answered calls."""
    users: tuple[Users, ...]
    """Dearest first."""
    trials: tuple[Mapping[str, Any], ...]
    """How it fares as a canary and in the shadow, whenever that was."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelCard:
    """The whole card."""

    model: str
    policy: str
    policy_version: str
    barred: str | None
    """Why nobody, or not everybody, may ask it now."""
    owner: str | None
    status: str | None
    sunset: str | None
    says: Mapping[str, str]
    """What its owner wrote: use, not_for, risk, data, docs."""
    version: str | None
    context: int | None
    max_output_tokens: int
    capabilities: tuple[str, ...] | None
    deployments: tuple[Mapping[str, str | bool | None], ...]
    """`call`, `region`, and whether what is sent there stays at home."""
    price: Mapping[str, str] | None
    """USD per million tokens that hold today, by meter; None: unknown."""
    prices: tuple[Mapping[str, str | None], ...]
    """All that are known, by the day from which they are effective."""
    rules: tuple[str, ...]
    """Where the policy asks it, and as what."""
    measured: tuple[Measured, ...]
    usage: Usage | None
    """None: there is no ledger."""


def card_of(policy: Policy, model: str, now: datetime, usage: Usage | None) -> ModelCard:
    """A card out of the policy, with what the ledger has."""
    entry = policy.models[model]
    known = sorted(policy.prices[model], key=lambda price: f"{price.effective or ''}")
    today = price_on(known, now.date())
    said = entry.card.model_dump(exclude_none=True) if entry.card else {}
    return ModelCard(
        model=model,
        policy=str(policy.path),
        policy_version=policy.version,
        barred=policy.barred(model, now),
        owner=entry.owner,
        status=entry.status,
        sunset=day_shown(entry.sunset) if entry.sunset else None,
        says=said,
        version=entry.version,
        context=entry.context,
        max_output_tokens=entry.max_output_tokens,
        capabilities=tuple(entry.capabilities) if entry.capabilities is not None else None,
        deployments=tuple(
            {"call": place.call, "region": place.region, "is_local": is_local(place)}
            for place in policy.deployments[model]
        ),
        price=_rates(today) if today else None,
        prices=tuple(
            {"effective": f"{price.effective}" if price.effective else None, **_rates(price)} for price in known
        ),
        rules=tuple(f"{policy.rule_name(i)}: {part}" for i, part in _asked_by(policy, model)),
        measured=tuple(
            _measured(policy, evidence, now) for (_, of), evidence in sorted(policy.evidence.items()) if of == model
        ),
        usage=usage,
    )


def _asked_by(policy: Policy, model: str) -> list[tuple[int, str]]:
    """Positions of the rules that ask a model, and as what."""
    return [(i, part) for i, rule in enumerate(policy.rules) for part, name in parts(rule) if name == model]


def _rates(price: Any) -> dict[str, str]:
    given = {name: getattr(price, name) for name in ("input", "output", "cached_input", "cache_write", "reasoning")}
    return {name: f"{value.normalize():f}" for name, value in given.items() if value is not None}


def _measured(policy: Policy, evidence: Evidence, now: datetime) -> Measured:
    carries, lacks = [], []
    entry = policy.tasks.get(evidence.task)
    for i, part in _asked_by(policy, evidence.model):
        rule = policy.rules[i]
        if part != "candidate" or rule.strategy == "fixed" or evidence.task not in (rule.when.task or [evidence.task]):
            continue
        bar = policy.bar_of(rule, evidence.task)
        gap = evidence_gap(evidence, task=evidence.task, model=policy.models[evidence.model], bar=bar,
                           metric=entry.metric if entry else None, now=now)  # fmt: skip
        told = f"{policy.rule_name(i)}: bar {bar.shown()}"
        carries += [told] if gap is None else []
        lacks += [f"{told}: {gap}"] if gap is not None else []
    return Measured(
        task=evidence.task,
        n=evidence.n,
        mean=evidence.mean,
        lower=evidence.lower,
        confidence=evidence.confidence,
        metric=evidence.metric,
        scorer=evidence.scorer,
        run_id=evidence.run_id,
        model_version=evidence.model_version,
        created=f"{evidence.created:%Y-%m-%d}",
        expires=f"{evidence.expires:%Y-%m-%d}" if evidence.expires else None,
        carries=tuple(carries),
        lacks=tuple(lacks),
    )


def usage_of(
    ledger: Ledger, model: str, since_us: int, until_us: int | None = None, *, others: Collection[str] = ()
) -> Usage:
    """What the ledger has of a model in a period, and how it fared on trial.

    Args:
        ledger: of the state folder.
        model: its id.
        since_us: start of the period, in microseconds since 1970.
        until_us: its end, excluded; None: now.
        others: ids of all models, since one may end like another.
    """
    rows: Sequence[Mapping[str, Any]] = ledger.rollups.sums(
        ["team", "workflow"], since_us, until_us, where={"model": model}
    )
    sums = {name: sum(row[name] for row in rows) for name in ("calls", "failed", "unpriced", "hits")}
    times = ledger.latencies(["model"], {"model": model}, since_us, until_us) if sums["calls"] else {}
    p50_s, p95_s = times.get((model,), (None, None))
    trials = [{"as": "canary", **one} for one in Canaries(ledger).standing() if _is_of(one["name"], model, others)]
    trials += [{"as": "shadow", **one} for one in Shadows(ledger).standing() if _is_of(one["name"], model, others)]
    return Usage(
        **sums,
        error_rate=sums["failed"] / sums["calls"] if sums["calls"] else None,
        cost_usd=sum((row["cost_usd"] for row in rows), Decimal(0)),
        p50_s=p50_s,
        p95_s=p95_s,
        users=tuple(
            Users(team=row["team"], workflow=row["workflow"], calls=row["calls"], failed=row["failed"],
                  cost_usd=row["cost_usd"])
            for row in rows if row["calls"] or row["hits"]
        ),
        trials=tuple(trials),
    )  # fmt: skip


def _is_of(name: str, model: str, others: Collection[str]) -> bool:
    """Whether the state of a trial, kept under `RULE/MODEL`, is of this model."""
    ends = [one for one in {model, *others} if name.endswith(f"/{one}")]
    return max(ends, key=len, default=None) == model
