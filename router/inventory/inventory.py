"""Everything that an inventory tells: the systems, the models, and what was rolled back."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal

from router.inventory.models import ModelUse, model_uses
from router.inventory.systems import System, read_facts, systems
from router.policy import Policy
from router.spend.windows import iso

if TYPE_CHECKING:
    from router.spend.ledger import Ledger

By = Literal["workflow", "feature", "team", "agent"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Inventory:
    """Of a period, held against today's policy."""

    by: By
    since_us: int
    until_us: int
    policy: Policy | None
    systems: Sequence[System]
    models: Sequence[ModelUse]
    rollbacks: Sequence[dict[str, Any]]


def take_inventory(
    ledger: Ledger, policy: Policy | None, now: datetime, *, by: By, since_us: int, until_us: int | None, foresee: bool
) -> Inventory:
    """Read it out of a ledger.

    Args:
        ledger: of what was done.
        policy: that holds today, if there is one.
        now: for sunsets and evidence.
        by: what makes a system.
        since_us: microseconds since 1970.
        until_us: the first that no longer counts; None: until now.
        foresee: whether to forecast the month, which takes the longest.
    """
    facts = read_facts(ledger, by, since_us, until_us, policy, foresee=foresee)
    return Inventory(
        by=by,
        since_us=since_us,
        until_us=time.time_ns() // 1000 if until_us is None else until_us,
        policy=policy,
        systems=systems(facts, policy, now),
        models=model_uses(facts.rows, policy, now),
        rollbacks=[{"canary": one["name"], "why": one["why"], "at": iso(one["stopped_us"])} for one in facts.rollbacks],
    )
