"""Attribution coverage: how much of spend and of requests carries the tags that a policy requires."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from router.spend.ledger import Ledger
from router.spend.report import Question, answer
from router.spend.rows import FREE
from router.types import TAG_NAMES

ALL = "all of them"


@dataclass(frozen=True, slots=True, kw_only=True)
class Coverage:
    """One tag, or all of them together."""

    tag: str
    requests: int
    """Of the period."""
    tagged_requests: int
    calls: int
    """With them spend is told where no cost is known."""
    tagged_calls: int
    cost_usd: Decimal
    tagged_usd: Decimal

    @property
    def of_requests(self) -> float | None:
        """Share, 0 to 1; None of nothing."""
        return self.tagged_requests / self.requests if self.requests else None

    @property
    def of_spend(self) -> float | None:
        """Share, 0 to 1; None where nothing was spent."""
        return float(self.tagged_usd / self.cost_usd) if self.cost_usd else None


def coverage(
    ledger: Ledger, tags: Sequence[str], since_us: int | None = None, until_us: int | None = None
) -> list[Coverage]:
    """Of each tag, in their order, and where there are several of all together.

    Args:
        ledger: whose requests.
        tags: as a policy's `required_tags` names them, one at least.
        since_us: from this moment on, in microseconds since 1970.
        until_us: up to this moment, excluded.
    """
    by = tuple(name if name in TAG_NAMES else f"{FREE}{name}" for name in tags)
    rows = answer(ledger, Question(by=by, since_us=since_us, until_us=until_us)).rows
    found = []
    for tag, names in [*((tag, (name,)) for tag, name in zip(tags, by, strict=True)), (ALL, by)]:
        tagged = [row for row in rows if all(row[name] for name in names)]
        found.append(
            Coverage(
                tag=tag,
                requests=sum(row["requests"] for row in rows),
                tagged_requests=sum(row["requests"] for row in tagged),
                calls=sum(row["calls"] for row in rows),
                tagged_calls=sum(row["calls"] for row in tagged),
                cost_usd=sum((row["cost_usd"] for row in rows), Decimal(0)),
                tagged_usd=sum((row["cost_usd"] for row in tagged), Decimal(0)),
            )
        )
    return found if len(tags) > 1 else found[:1]
