"""What a month's rows say for a statement: calls and requests by scope, charges, and answers that were served again."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from router.errors import InvalidRequestError
from router.spend.closing_read import Rows
from router.spend.closing_rows import month_us
from router.types import TAG_NAMES

NAME = re.compile(r"[A-Za-z0-9_.-]{1,100}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Reuse:
    """An answer that was paid for this month, and who got it again."""

    cost_pusd: int
    payer: tuple[str | None, ...]
    again: tuple[tuple[str | None, ...], ...]
    """One scope a hit."""


def column(name: str) -> str:
    """SQL of a tag's value.

    Raises:
        InvalidRequestError: no tag is named like that.
    """
    if name in TAG_NAMES:
        return name
    if not NAME.fullmatch(name):
        raise InvalidRequestError(f"{name!r} is no name of a tag")
    return f"json_extract(tags, '$.\"{name}\"')"


def calls(rows: Rows, month: str, names: Sequence[str]) -> list[dict[str, Any]]:
    """Calls of a month by the values of tags (keys `t0`, `t1` ... in the order of `names`)."""
    listed = ", ".join(f"{column(name)} AS t{at}" for at, name in enumerate(names))
    # SQLite's sums are 64-bit: in pico-dollars they would end at 9 million USD.
    return rows(
        f"SELECT {listed}, COUNT(*) AS calls, COALESCE(SUM(cost_pusd IS NULL), 0) AS unpriced, "
        "COALESCE(SUM(cost_pusd / 1000000), 0) AS whole, COALESCE(SUM(cost_pusd % 1000000), 0) AS rest, "
        "COALESCE(SUM(input_tokens), 0) AS input_tokens, COALESCE(SUM(output_tokens), 0) AS output_tokens "
        f"FROM attempts WHERE at_us >= ? AND at_us < ? GROUP BY {', '.join(str(at + 1) for at in range(len(names)))}",
        month_us(month),
    )


def requests(rows: Rows, month: str, names: Sequence[str]) -> list[dict[str, Any]]:
    """Requests and cache hits of a month by the values of tags."""
    listed = ", ".join(f"{column(name)} AS t{at}" for at, name in enumerate(names))
    return rows(
        f"SELECT {listed}, SUM(strategy IS NOT 'shadow') AS requests, SUM(cache IN ('exact', 'semantic')) AS hits "
        f"FROM requests WHERE at_us >= ? AND at_us < ? GROUP BY {', '.join(str(at + 1) for at in range(len(names)))}",
        month_us(month),
    )


def charges(rows: Rows, month: str, names: Sequence[str]) -> list[dict[str, Any]]:
    """Charges of a month that no call made, one by one."""
    listed = ", ".join(f"{column(name)} AS t{at}" for at, name in enumerate(names))
    return rows(
        f"SELECT {listed}, vendor, product, cost_pusd FROM charges WHERE at_us >= ? AND at_us < ? ORDER BY seq",
        month_us(month),
    )


def reuses(rows: Rows, month: str, names: Sequence[str]) -> tuple[list[Reuse], int]:
    """Answers paid for in a month that served again in it, and how many further hits were on older or unpriced ones."""
    listed = ", ".join(f"{column(name)} AS t{at}" for at, name in enumerate(names))
    paid: dict[str, dict[str, Any]] = {}
    by_key: dict[str, str] = {}
    again: dict[str, list[tuple[str | None, ...]]] = {}
    others = 0
    for row in rows(
        f"SELECT id, cache, cache_key, cost_pusd, outcome, attempts, {listed}, CASE WHEN cache = 'semantic' "
        "THEN json_extract(decision, '$.semantic.entry') END AS entry FROM requests "
        "WHERE at_us >= ? AND at_us < ? ORDER BY seq",
        month_us(month),
    ):
        if row["cache"] not in ("exact", "semantic"):
            if row["attempts"] and row["outcome"] == "ok":
                paid[row["id"]] = row
                if row["cache_key"]:
                    by_key[row["cache_key"]] = row["id"]
            continue
        source = row["entry"] if row["cache"] == "semantic" else by_key.get(row["cache_key"])
        if source is None or source not in paid or paid[source]["cost_pusd"] is None:
            others += 1
        else:
            again.setdefault(source, []).append(_scope(row, len(names)))
    found = [
        Reuse(cost_pusd=paid[source]["cost_pusd"], payer=_scope(paid[source], len(names)), again=tuple(scopes))
        for source, scopes in again.items()
    ]
    return found, others


def _scope(row: dict[str, Any], count: int) -> tuple[str | None, ...]:
    return tuple(row[f"t{at}"] for at in range(count))
