"""A budget that is new to a ledger starts with what has been spent in its window already."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from router.spend.budget import Budget, Unit
from router.types import TAG_NAMES, Tags

_AMOUNTS: dict[Unit, str] = {
    "usd": "COALESCE(SUM(COALESCE(cost_pusd, held_pusd)), 0)",
    "requests": "COUNT(*)",
    "tokens": "COALESCE(SUM(input_tokens + output_tokens), 0)",
}


def backfill(connection: sqlite3.Connection, budgets: Sequence[Budget], now_us: int) -> None:
    """Book past attempts on the accounts of budgets that this ledger does not know; of the known ones, nothing.

    One pass over the window's attempts for each new scope. Calls that are in flight at this moment are not counted.
    Budgets that are left out are forgotten.
    """
    known = _known(connection)
    wanted = {budget.pattern: budget for budget in budgets}
    for pattern in known - wanted.keys():
        connection.execute("DELETE FROM budget_scopes WHERE pattern = ?", (pattern,))
    for pattern, budget in wanted.items():
        if pattern not in known:
            if budget.unit in _AMOUNTS:
                _book(connection, budget, now_us)
            connection.execute("INSERT INTO budget_scopes VALUES (?, ?)", (pattern, now_us))


def is_adopted(connection: sqlite3.Connection, budgets: Sequence[Budget]) -> bool:
    """Whether the ledger knows these budgets and no others."""
    return _known(connection) == {budget.pattern for budget in budgets}


def _known(connection: sqlite3.Connection) -> set[str]:
    return {pattern for (pattern,) in connection.execute("SELECT pattern FROM budget_scopes")}


def _book(connection: sqlite3.Connection, budget: Budget, now_us: int) -> None:
    names = [*budget.scope, *budget.lacking]
    columns = {name: f"column{place}" for place, name in enumerate(names)}
    listed = "".join(f", {_column(name)} AS {alias}" for name, alias in columns.items())
    start = budget.window.since(now_us)
    # A call counts in the window in which it was sent.
    width = 1 if budget.window.unit else max(1, (budget.window.bucket(now_us) - start) // 60)
    bucket = str(budget.window.bucket(now_us)) if budget.window.unit else f"at_us / {width} * {width}"
    rows = connection.execute(
        f"SELECT {bucket} AS bucket{listed}, {_AMOUNTS[budget.unit]} FROM attempts "
        f"WHERE at_us >= ? AND at_us - latency_s * 1000000 >= ? GROUP BY {', '.join(['bucket', *columns.values()])}",
        (start, start),
    ).fetchall()
    for row in rows:
        values = dict(zip(names, row[1:-1], strict=True))
        account = budget.account(_tags(values), values.get("model") or "", values.get("provider") or "")
        if account is not None:
            at = row[0] if budget.window.unit else budget.window.bucket(row[0])
            connection.execute(
                "INSERT INTO balances (account, bucket, settled) VALUES (?, ?, ?) "
                # Of a budget that was here before, a part is booked already.
                "ON CONFLICT DO UPDATE SET settled = MAX(settled, excluded.settled)",
                (account, at, row[-1]),
            )


def _column(name: str) -> str:
    if name in TAG_NAMES or name == "model":
        return name
    if name == "provider":
        return "substr(call, 1, instr(call || '/', '/') - 1)"
    # No path would do: SQLite's have no way to write every name.
    return "(SELECT value FROM json_each(tags) WHERE key = '" + name.replace("'", "''") + "')"


def _tags(values: dict[str, str | None]) -> Tags:
    given = {name: value for name, value in values.items() if value is not None}
    named = {name: value for name, value in given.items() if name in TAG_NAMES}
    extra = {name: value for name, value in given.items() if name not in (*TAG_NAMES, "model", "provider")}
    return Tags(**named, extra=extra)
