"""What the caches saved, and how often they were wrong, out of the ledger and the labels.

A semantic hit saves the expected cost of the model that would have been asked now; an exact hit what the same request
cost when it was asked. Embedding and comparing cost nothing here (both run on this machine, without a model), and an
audit costs what it does not save: it is no saving, so nothing is taken off for it, but its cost is shown.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from router.bounds import clopper_pearson_lower, clopper_pearson_upper
from router.cache.shelf import Judged
from router.spend.money import from_pico

Rows = Callable[[str, Sequence[Any]], list[dict[str, Any]]]
"""The ledger's `rows`."""
SIDE = 0.975
"""Confidence of each side of an interval of 95 %."""


@dataclass(slots=True, kw_only=True)
class Saved:
    """Of one task, where its rule keeps answers."""

    task: str
    requests: int = 0
    exact: int = 0
    """Hits of the exact tier."""
    semantic: int = 0
    """Hits of the semantic tier."""
    would: int = 0
    """Hits that shadow would have served."""
    audits: int = 0
    """Would-be hits that were called all the same."""
    refused: int = 0
    rejected: int = 0
    """Hits that somebody called wrong (feedback 0)."""
    saved_input_tokens: int = 0
    saved_output_tokens: int = 0
    saved_usd: Decimal = Decimal(0)
    unpriced: int = 0
    """Hits of which nobody knows what they saved."""
    would_save_usd: Decimal = Decimal(0)
    audits_cost_usd: Decimal = Decimal(0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """How often a cache was wrong, by what was labelled."""

    task: str
    max_error: str
    labels: int
    labels_wrong: int
    """Wrong proposals among all labelled ones; most of them would not have been served."""
    audits: int
    audits_wrong: int
    wrong_of_hits: float | None
    """Wrong / hits: each audit weighed by 1 / its chance (Horvitz and Thompson 1952); None without audits."""
    low: float
    high: float
    """Interval of 95 % around it (Clopper and Pearson 1934, audits counted alike, which leans to the high side, because
    the likelier a would-be hit is wrong the likelier it is audited)."""


@dataclass(frozen=True, slots=True)
class Hit:
    """An answer that was served instead of a call."""

    source: str | None
    """Id of the request whose answer it is; None: the ledger does not know it."""
    usd: Decimal | None
    """What the call would have cost; None: nobody knows."""


def hits(rows: Rows) -> dict[str, Hit]:
    """Every answer out of a cache, by the id of its request."""
    first: dict[str, tuple[str, int | None]] = {}
    found: dict[str, Hit] = {}
    for row in rows(
        "SELECT id, cache, cache_key, cost_pusd, json_extract(decision, '$.semantic.entry') AS entry, "
        "json_extract(decision, '$.semantic.saves_usd') AS saves FROM requests "
        "WHERE cache IN ('exact', 'semantic') OR (cache = 'miss' AND outcome = 'ok' AND cache_key IS NOT NULL) "
        "ORDER BY at_us",
        (),
    ):
        if row["cache"] == "miss":
            first[row["cache_key"]] = row["id"], row["cost_pusd"]
        elif row["cache"] == "exact":
            source, cost_pusd = first.get(row["cache_key"], (None, None))
            found[row["id"]] = Hit(source, from_pico(cost_pusd))
        else:
            found[row["id"]] = Hit(row["entry"], None if row["saves"] is None else Decimal(row["saves"]))
    return found


def savings(rows: Rows) -> list[Saved]:
    """By task, in their order by name."""
    served = hits(rows)
    used: dict[str | None, dict[str, Any]] = {
        row["request_id"]: row
        for row in rows(
            "SELECT request_id, SUM(input_tokens) AS i, SUM(output_tokens) AS o FROM attempts WHERE outcome = 'ok' "
            "GROUP BY request_id",
            (),
        )
    }
    found: dict[str, Saved] = {}
    for row in rows(
        "SELECT r.id, r.task, r.cache, r.cost_pusd, "
        "json_extract(r.decision, '$.semantic.mode') AS mode, json_extract(r.decision, '$.semantic.outcome') AS said, "
        "json_extract(r.decision, '$.semantic.saves_usd') AS saves, "
        "EXISTS (SELECT 1 FROM feedback AS f WHERE f.decision_id = r.id AND f.score = 0) AS rejected "
        "FROM requests AS r WHERE r.cache != 'off' ORDER BY r.at_us",
        (),
    ):
        one = found.setdefault(row["task"] or "", Saved(task=row["task"] or ""))
        one.requests += 1
        one.refused += row["said"] == "refused"
        if row["said"] == "verify":
            one.audits += 1
            one.audits_cost_usd += from_pico(row["cost_pusd"]) or 0
        if row["cache"] == "miss" and row["said"] == "hit" and row["mode"] == "shadow":
            one.would += 1
            one.would_save_usd += Decimal(row["saves"] or 0)
        one.exact += row["cache"] == "exact"
        one.semantic += row["cache"] == "semantic"
        if hit := served.get(row["id"]):
            _save(one, hit.usd, used.get(hit.source))
        one.rejected += bool(row["rejected"]) and row["cache"] in ("exact", "semantic")
    return [found[task] for task in sorted(found)]


def _save(one: Saved, usd: Decimal | None, tokens: dict[str, Any] | None) -> None:
    one.unpriced += usd is None
    one.saved_usd += usd or 0
    if tokens is not None:
        one.saved_input_tokens += tokens["i"] or 0
        one.saved_output_tokens += tokens["o"] or 0


def rates(labels: Iterable[Judged]) -> list[Rate]:
    """By task and promise, in their order by name."""
    groups: dict[tuple[str, str], list[Judged]] = {}
    for label in labels:
        groups.setdefault((label.task, label.max_error), []).append(label)
    return [_rate(task, max_error, groups[task, max_error]) for task, max_error in sorted(groups)]


def _rate(task: str, max_error: str, labels: list[Judged]) -> Rate:
    audits = [(label.wrong, 1 / label.audit) for label in labels if label.audit]
    n, wrong = len(audits), sum(is_wrong for is_wrong, _ in audits)
    weight = sum(weight for _, weight in audits)
    return Rate(
        task=task,
        max_error=max_error,
        labels=len(labels),
        labels_wrong=sum(label.wrong for label in labels),
        audits=n,
        audits_wrong=wrong,
        wrong_of_hits=sum(weight for is_wrong, weight in audits if is_wrong) / weight if n else None,
        low=clopper_pearson_lower(wrong, n, SIDE) if n else 0.0,
        high=clopper_pearson_upper(wrong, n, SIDE) if n else 1.0,
    )
