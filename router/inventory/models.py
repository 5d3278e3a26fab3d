"""The models of a policy and of a ledger, held against each other: used, unused, unlisted, banned but seen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Literal

from router.policy import Policy
from router.policy.standing import day_shown

Use = Literal["used", "unused", "unlisted", "banned but seen", "past its sunset but seen", "seen"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelUse:
    """A model, and what was done with it in the period."""

    model: str
    use: Use
    """`unlisted`: calls went to it, and the policy has it no longer; `seen`: there is no policy to hold it against."""
    status: str | None
    sunset: str | None
    owner: str | None
    calls: int
    cost_usd: Decimal
    hits: int
    """Answers of its that came out of a cache."""


def model_uses(rows: Sequence[Mapping[str, Any]], policy: Policy | None, now: datetime) -> list[ModelUse]:
    """All models of the policy and of the rows; those with something wrong first, then by cost.

    Args:
        rows: sums with `model`, `calls`, `hits` and `cost_usd`.
        policy: that holds today.
        now: for sunsets.
    """
    listed = list(policy.models) if policy else []
    names = dict.fromkeys([*listed, *(row["model"] for row in rows if row["model"])])
    found = []
    for name in names:
        mine = [row for row in rows if row["model"] == name]
        calls, hits = (sum(row[key] for row in mine) for key in ("calls", "hits"))
        entry = policy.models.get(name) if policy else None
        found.append(
            ModelUse(
                model=name,
                use=_use(policy, name, now, is_seen=calls + hits > 0),
                status=entry.status if entry else None,
                sunset=day_shown(entry.sunset) if entry and entry.sunset else None,
                owner=entry.owner if entry else None,
                calls=calls,
                cost_usd=sum((row["cost_usd"] for row in mine), Decimal(0)),
                hits=hits,
            )
        )
    order = ("banned but seen", "past its sunset but seen", "unlisted", "used", "seen", "unused")
    return sorted(found, key=lambda one: (order.index(one.use), -one.cost_usd, one.model))


def _use(policy: Policy | None, name: str, now: datetime, *, is_seen: bool) -> Use:
    if policy is None:
        return "seen"
    entry = policy.models.get(name)
    if entry is None:
        return "unlisted"
    if not is_seen:
        return "unused"
    if entry.status == "banned":
        return "banned but seen"
    return "past its sunset but seen" if entry.sunset is not None and now >= entry.sunset else "used"
