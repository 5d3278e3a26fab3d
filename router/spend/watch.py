"""One look at a ledger: what there is to be told, what is over, and the telling. Never in the way of a request."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from router.spend.alerts import Alert
from router.spend.anomaly_scan import Rates, scan
from router.spend.budget import Budget
from router.spend.drift import traffic_drift
from router.spend.money import from_pico
from router.spend.prices.rerate import attempts_between
from router.spend.sinks import Sink
from router.spend.windows import DAY_US, HOUR_US

if TYPE_CHECKING:
    from router.spend.ledger import Ledger

RECENT_US = DAY_US
"""Older events are history: a first look at an old ledger tells none of them."""
QUIET_US: Mapping[str, int] = {"anomalies": 2 * HOUR_US, "tokenizers": 8 * DAY_US}
"""What is noticed anew at every look is over when it was not, for so long."""
SLOW_QUIET_US = 3 * DAY_US
"""The same of findings about whole days."""
FORGOTTEN_US = 7 * DAY_US
"""A stopped run that nobody released for so long is no longer news."""
DRIFT_DAYS, DRIFT_RECENT_DAYS, DRIFT_EVERY_US = 28, 7, 6 * HOUR_US


class Watch:
    """Looks at a ledger and tells sinks.

    Args:
        ledger: of a state folder.
        sinks: of the policy.
        budgets: of the policy, which know when a window is over.
        rates: for each model, USD of a token by meter.
        least_usd: an anomaly with a smaller excess is not told.
    """

    def __init__(
        self, ledger: Ledger, sinks: Sequence[Sink], budgets: Sequence[Budget] = (), rates: Rates | None = None,
        least_usd: float = 1.0,
    ) -> None:  # fmt: skip
        self._ledger, self._sinks, self._budgets = ledger, sinks, {one.name: one for one in budgets}
        self._rates, self._least_usd = rates, least_usd
        self._wanted = {source for sink in sinks for source in sink.on}
        self._drift_us = 0

    def once(self, now_us: int | None = None) -> tuple[list[Alert], int, list[str]]:
        """Look, note, tell.

        Returns:
            The alerts that are new, how many messages were sent, and what went wrong with others.
        """
        now_us = time.time_ns() // 1000 if now_us is None else now_us
        alerts = self._ledger.alerts
        found = list(self._found(now_us))
        wants = {sink.name: sink.on for sink in self._sinks}
        opened = alerts.raise_(found, wants, now_us)
        over, stale = self._over(now_us)
        alerts.end(over, now_us)
        alerts.end(stale, now_us, silently=True)
        return opened, *alerts.deliver({sink.name: sink.send for sink in self._sinks}, now_us)

    def _found(self, now_us: int) -> Iterable[Alert]:
        events: list[Alert] = []
        if "budgets" in self._wanted:
            events += self._crossings(now_us)
        if "runs" in self._wanted:
            events += self._runs(now_us)
        if "prices" in self._wanted:
            events += self._prices(now_us)
        known = self._ledger.alerts.was_raised({one.key for one in events})
        yield from (one for one in events if one.key not in known)
        if "anomalies" in self._wanted:
            for finding in scan(self._ledger.rollups, now_us, rates=self._rates, least_usd=self._least_usd):
                details = {**asdict(finding), "parts": {name: str(usd) for name, usd in finding.parts.items()}}
                yield Alert(key=f"anomaly {finding.key}", source="anomalies", text=finding.shown(), details=details)
        if "tokenizers" in self._wanted and now_us >= self._drift_us + DRIFT_EVERY_US:
            self._drift_us = now_us
            yield from self._tokenizers(now_us)

    def _crossings(self, now_us: int) -> list[Alert]:
        rows = self._ledger.rows("SELECT * FROM crossings WHERE at_us >= ?", (now_us - RECENT_US,))
        found = []
        for row in rows:
            used, quota = (from_pico(row[name]) if row["unit"] == "usd" else row[name] for name in ("used", "quota"))
            shown = f"${quota:f}" if isinstance(quota, Decimal) else f"{quota:,} {row['unit']}"
            found.append(Alert(
                key=f"budget {row['account']} {row['bucket']} {row['share']:g}", source="budgets",
                text=f"budget {row['budget']} ({row['scope']}) reached {row['share']:.0%} of {shown}: {row['action']}",
                details={"budget": row["budget"], "scope": row["scope"], "share": row["share"], "unit": row["unit"],
                         "action": row["action"], "limit": str(quota), "used": str(used), "bucket": row["bucket"]},
            ))  # fmt: skip
        return found

    def _runs(self, now_us: int) -> list[Alert]:
        found = []
        for row in self._ledger.runs.stopped(now_us - RECENT_US):
            how = "is stopped" if row["mode"] == "on" else "would be stopped (shadow)"
            found.append(Alert(
                key=f"run {row['workflow']} {row['run_id']} {row['stopped_us']}", source="runs",
                text=f"run {row['run_id']} of workflow {row['workflow'] or '(none)'} {how}: {row['trip'].shown()}",
                details={"run_id": row["run_id"], "workflow": row["workflow"], "mode": row["mode"],
                         "stopped_us": row["stopped_us"], **asdict(row["trip"])},
            ))  # fmt: skip
        return found

    def _prices(self, now_us: int) -> list[Alert]:
        """Prices at which a model was billed in the last day, and not before."""
        rows = self._ledger.rows(
            "SELECT a.model, a.call, a.price_id, MIN(a.at_us) AS at_us, p.content FROM attempts AS a LEFT JOIN prices "
            "AS p ON p.id = a.price_id WHERE a.at_us >= ? AND a.price_id IS NOT NULL GROUP BY 1, 2, 3 ORDER BY at_us",
            (now_us - RECENT_US,),
        )
        found, last = [], dict[tuple[str, str], Mapping[str, Any]]()
        for row in rows:
            where = row["model"], row["call"]
            before = last.get(where) or self._price_before(row, now_us - RECENT_US)
            last[where] = row
            if before is None or before["price_id"] == row["price_id"]:
                continue
            change = _moved(before["content"], row["content"])
            found.append(Alert(
                key=f"price {row['model']} {row['call']} {before['price_id']} {row['price_id']}", source="prices",
                text=f"model {row['model']} is billed at another price{change}",
                details={"model": row["model"], "call": row["call"], "before": before["price_id"],
                         "after": row["price_id"]},
            ))  # fmt: skip
        return found

    def _price_before(self, row: Mapping[str, Any], until_us: int) -> dict[str, Any] | None:
        rows = self._ledger.rows(
            "SELECT a.price_id, p.content FROM attempts AS a LEFT JOIN prices AS p ON p.id = a.price_id "
            "WHERE a.at_us < ? AND a.at_us >= ? AND a.model = ? AND a.call = ? AND a.price_id IS NOT NULL "
            "ORDER BY a.at_us DESC LIMIT 1",
            (until_us, until_us - 28 * DAY_US, row["model"], row["call"]),
        )
        return rows[0] if rows else None

    def _tokenizers(self, now_us: int) -> list[Alert]:
        rows = attempts_between(self._ledger.rows, now_us - DRIFT_DAYS * DAY_US, now_us + 1)
        return [
            Alert(
                key=f"tokenizer {one.model} {one.call} {one.version_before} {one.version_after}",
                source="tokenizers",
                text=f"model {one.model} makes {one.change:+.1%} tokens of the same text "
                f"({one.version_before or '-'} to {one.version_after or '-'})",
                details=asdict(one),
            )
            for one in traffic_drift(rows, now_us - DRIFT_RECENT_DAYS * DAY_US)
            if one.is_alert
        ]

    def _over(self, now_us: int) -> tuple[list[str], list[str]]:
        """Keys of open alerts that are over, and of those that were news and no state."""
        over, stale = [], []
        for row in self._ledger.alerts.open():
            source, details, key = row["source"], row["details"], row["key"]
            if source == "prices" or (source == "runs" and row["opened_us"] < now_us - FORGOTTEN_US):
                stale.append(key)
            elif source == "budgets":
                budget = self._budgets.get(details["budget"])
                if budget is None:
                    stale.append(key)
                elif budget.window.since(now_us) > details["bucket"]:
                    over.append(key)
            elif source == "runs":
                if key not in self._stopped(details):
                    over.append(key)
            else:
                quiet_us = SLOW_QUIET_US if details.get("kind") in ("slow", "new") else QUIET_US[source]
                if row["seen_us"] < now_us - quiet_us:
                    over.append(key)
        return over, stale

    def _stopped(self, details: Mapping[str, Any]) -> set[str]:
        rows = self._ledger.runs.stopped(details["stopped_us"])
        return {f"run {r['workflow']} {r['run_id']} {r['stopped_us']}" for r in rows if r["released_us"] is None}


def _moved(before: str | None, after: str | None) -> str:
    if before is None or after is None:
        return ""
    old, new = (json.loads(content)["rates"] for content in (before, after))
    names = [name for name in ("input", "output") if name in old and name in new and old[name] != new[name]]
    moves = [f"{name} ${old[name]} -> ${new[name]}" for name in names]
    return f": {', '.join(moves)} a million tokens" if moves else ""
