"""Holds: what calls in flight may still cost, kept beside what has been settled, so that no limit is ever passed.

A hold is a row with an amount and an owner. It is taken over all accounts of a call in one transaction or not at all,
and ends with the transaction that writes the call's attempt. When its owner, a process, dies, it is given back: at once
where the process can be looked for, else as soon as the lease that it renewed has run out. Invariant of every account:
settled + held <= limit.
"""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from router.spend.budget import Balance, Budget, Crossing, Denial, Leg, crossings, pattern_of, refusal
from router.spend.leases import Lease
from router.spend.money import from_pico, to_pico
from router.spend.windows import HOUR_US, SECOND_US
from router.stores.sqlite import Database
from router.types import Attempt

SWEEP_S = 1.0
"""Between two looks for dead processes; a call that is about to be denied looks at once."""
LATE_DAYS = 7
"""For so long the accounts of a hold that was given back are remembered, in case its call comes to an end after all."""
KEEP_US = HOUR_US
"""So long past its window a balance is kept: for a call that waited to be held, and for a clock that is set back."""


class Holds:
    """The accounts of all budgets, in the ledger's file."""

    def __init__(self, db: Database) -> None:
        self._db, self._lease, self._swept_us = db, Lease(db), 0

    def take(
        self, request_id: str, number: int, legs: Sequence[Leg], amount_pusd: int, model: str, *, times: int = 1
    ) -> Denial | None:
        """Hold what one call may cost, on every account at once; or say why not, and hold nothing.

        Args:
            request_id: of the call.
            number: of the attempt, from 0.
            legs: amount by account, in the account's unit.
            amount_pusd: upper bound of the call, in pico-dollars.
            model: for the denial's words.
            times: so many of it must fit, of which one is held.
        """
        asked = legs if times == 1 else [replace(leg, amount=leg.amount * times) for leg in legs]
        with self._db.transaction() as connection, self._lease.undone():
            now_us = _now_us()
            self._lease.start()
            if now_us - self._swept_us > SWEEP_S * SECOND_US:
                self._sweep(connection, now_us)
            balances = [_balance(connection, leg, now_us) for leg in legs]
            denial = refusal(asked, balances, now_us, model)
            if denial is not None and self._sweep(connection, now_us):
                balances = [_balance(connection, leg, now_us) for leg in legs]
                denial = refusal(asked, balances, now_us, model)
            if denial is not None:
                _note(connection, crossings([replace(leg, amount=0) for leg in legs], balances), now_us)
                return denial
            self._lease.keep(connection, now_us)
            # Several limits of one scope share its account, on which a call is booked once.
            booked = list(
                {leg.account: (leg.account, leg.bucket, leg.budget.unit, leg.amount) for leg in legs}.values()
            )
            connection.executemany(
                "INSERT INTO balances (account, bucket, held) VALUES (?, ?, ?) "
                "ON CONFLICT DO UPDATE SET held = held + excluded.held",
                [(account, bucket, amount) for account, bucket, _, amount in booked],
            )
            connection.executemany(
                "DELETE FROM balances WHERE account = ? AND bucket < ? AND held = 0",
                [(leg.account, leg.since - KEEP_US) for leg in legs],
            )
            connection.execute(
                "INSERT INTO holds VALUES (?, ?, ?, ?, ?, ?, 1)",
                (request_id, number, self._lease.owner, now_us, amount_pusd, json.dumps(booked)),
            )
            _enter(connection, now_us, request_id, number, "hold", held=amount_pusd)
            _note(connection, crossings(legs, balances), now_us)
        return None

    def settle(self, connection: sqlite3.Connection, request_id: str, number: int, attempt: Attempt) -> None:
        """End a call's hold with what it cost; within the transaction that writes the attempt.

        A cost that nobody knows counts as all that was held, because a provider may bill it. A call that ends after
        its hold was given back is booked late: the true cost counts, whatever the limit.
        """
        row = connection.execute(
            "SELECT amount_pusd, legs, is_live FROM holds WHERE request_id = ? AND number = ?", (request_id, number)
        ).fetchone()
        cost_pusd = to_pico(attempt.cost_usd)
        if row is None:
            if cost_pusd:
                _enter(connection, _now_us(), request_id, number, "settle", settled=cost_pusd)
            return
        held, legs, is_live = row
        settled_pusd = held if cost_pusd is None else cost_pusd
        usage = attempt.usage
        is_free = cost_pusd == 0 and usage is None  # refused or failed: nothing was read
        actual = {
            "usd": settled_pusd,
            "requests": 1,
            "tokens": None if usage is None else usage.input_tokens + usage.output_tokens,
            "concurrent": 0,
        }
        for account, bucket, unit, amount in json.loads(legs):
            used = actual[unit]
            if used is None:
                used = 0 if is_free else amount
            connection.execute(
                "UPDATE balances SET held = held - ?, settled = settled + ? WHERE account = ? AND bucket = ?",
                (amount if is_live else 0, used, account, bucket),
            )
        connection.execute("DELETE FROM holds WHERE request_id = ? AND number = ?", (request_id, number))
        kind = "settle" if cost_pusd is not None else "assume"
        _enter(connection, _now_us(), request_id, number, kind if is_live else "late",
               held=-held if is_live else 0, settled=settled_pusd)  # fmt: skip

    def release(self, request_id: str, number: int) -> None:
        """Give back the hold of a call that was never sent."""
        with self._db.transaction() as connection:
            _release(connection, _now_us(), "release", "request_id = ? AND number = ?", (request_id, number))
            connection.execute("DELETE FROM holds WHERE request_id = ? AND number = ?", (request_id, number))

    def lasts(self, request_id: str, number: int, until_us: int) -> None:
        """Keep a hold that was just taken until a moment, whatever becomes of this process: its call outlives it."""
        owner = f"lasting-{request_id}-{number}"
        with self._db.transaction() as connection:
            connection.execute("INSERT OR REPLACE INTO owners VALUES (?, ?, NULL)", (owner, until_us))
            connection.execute(
                "UPDATE holds SET owner = ? WHERE request_id = ? AND number = ?", (owner, request_id, number)
            )

    def standing(self, budgets: Sequence[tuple[Budget, str]]) -> list[tuple[Budget, Balance]]:
        """Where accounts stand, by budget and account."""
        now_us = _now_us()
        with self._db.connection() as connection:
            return [
                (budget, _standing(connection, account, budget.window.since(now_us), now_us))
                for budget, account in budgets
            ]

    def accounts(self, budgets: Sequence[Budget]) -> list[list[tuple[str, Balance]]]:
        """For each budget the accounts that anything was booked on in its window, and how they stand."""
        now_us = _now_us()
        found: dict[str | None, list[tuple[str, Balance]]] = {budget.pattern: [] for budget in budgets}
        with self._db.connection() as connection:
            allowed = dict(connection.execute(
                "SELECT account, SUM(amount) FROM approvals WHERE until_us > ? GROUP BY account", (now_us,)
            ))  # fmt: skip
            for prefix, since in {budget.prefix: budget.window.since(now_us) for budget in budgets}.items():
                rows = connection.execute(
                    "SELECT account, SUM(settled), SUM(held) FROM balances WHERE account >= ? AND account < ? "
                    "AND bucket >= ? GROUP BY account",
                    (prefix, prefix + "\U0010ffff", since),
                )
                for account, settled, held in rows:
                    if (accounts := found.get(pattern_of(account, prefix))) is not None:
                        balance = Balance(settled=settled, held=held, allowance=allowed.get(account, 0))
                        accounts.append((account, balance))
        return [found[budget.pattern] for budget in budgets]

    def adopt(self, budgets: Sequence[Budget]) -> None:
        """Book on budgets that are new to this ledger what has been spent in their windows already.

        Those that are not among them are forgotten: nothing is booked on them any more, so they are new if they return.
        """
        from router.spend.backfill import backfill, is_adopted

        with self._db.connection() as connection:
            if is_adopted(connection, budgets):
                return
        with self._db.transaction() as connection:
            backfill(connection, budgets, _now_us())

    def approve(self, budget: str, account: str, amount: int, until_us: int, by: str, note: str = "") -> None:
        """Write down that somebody allows more on an account, until a moment."""
        with self._db.transaction() as connection:
            connection.execute(
                "INSERT INTO approvals VALUES (?, ?, ?, ?, ?, ?, ?)",
                (budget, account, amount, until_us, by, note, _now_us()),
            )

    def live(self) -> list[dict[str, Any]]:
        """The holds of calls in flight, oldest first."""
        with self._db.connection() as connection:
            cursor = connection.execute(
                "SELECT request_id, number, owner, at_us, amount_pusd, legs FROM holds WHERE is_live = 1 ORDER BY at_us"
            )
            names = [column[0] for column in cursor.description]
            rows = [dict(zip(names, row, strict=True)) for row in cursor]
        for row in rows:
            row["amount_usd"] = from_pico(row.pop("amount_pusd"))
            row["legs"] = json.loads(row["legs"])
        return rows

    def close(self) -> None:
        """Stop renewing; what is still held is given back when the lease has run out, though the process lives on."""
        self._lease.close()

    def renew(self) -> None:
        """Say that this process is alive."""
        self._lease.renew(_now_us())

    def _sweep(self, connection: sqlite3.Connection, now_us: int) -> bool:
        """Give back what dead processes held; whether there was one."""
        self._swept_us = now_us
        gone = self._lease.ended(connection, now_us)
        for owner in gone:
            _release(connection, now_us, "expire", "owner = ?", (owner,))
            connection.execute("DELETE FROM owners WHERE id = ?", (owner,))
        if gone:
            forgotten_us = now_us - LATE_DAYS * 86_400 * SECOND_US
            connection.execute("DELETE FROM holds WHERE is_live = 0 AND at_us < ?", (forgotten_us,))
        return bool(gone)


def _balance(connection: sqlite3.Connection, leg: Leg, now_us: int) -> Balance:
    return _standing(connection, leg.account, leg.since, now_us, has_approvals=leg.budget.needs_approval)


def _standing(
    connection: sqlite3.Connection, account: str, since: int, now_us: int, *, has_approvals: bool = True
) -> Balance:
    settled, held = connection.execute(
        "SELECT COALESCE(SUM(settled), 0), COALESCE(SUM(held), 0) FROM balances WHERE account = ? AND bucket >= ?",
        (account, since),
    ).fetchone()
    allowance = 0
    if has_approvals:
        (allowance,) = connection.execute(
            "SELECT COALESCE(SUM(amount), 0) FROM approvals WHERE account = ? AND until_us > ?", (account, now_us)
        ).fetchone()
    return Balance(settled=settled, held=held, allowance=allowance)


def _release(connection: sqlite3.Connection, now_us: int, kind: str, where: str, values: tuple[Any, ...]) -> None:
    rows = connection.execute(
        f"SELECT request_id, number, amount_pusd, legs FROM holds WHERE is_live = 1 AND {where}",
        values,
    ).fetchall()
    for request_id, number, amount_pusd, legs in rows:
        connection.executemany(
            "UPDATE balances SET held = held - ? WHERE account = ? AND bucket = ?",
            [(amount, account, bucket) for account, bucket, _, amount in json.loads(legs)],
        )
        if kind == "expire":  # its process may only have stalled: the call may still come to an end
            connection.execute("UPDATE holds SET is_live = 0 WHERE request_id = ? AND number = ?", (request_id, number))
        else:
            connection.execute("DELETE FROM holds WHERE request_id = ? AND number = ?", (request_id, number))
        _enter(connection, now_us, request_id, number, kind, held=-amount_pusd)


def _note(connection: sqlite3.Connection, reached: Sequence[Crossing], now_us: int) -> None:
    """Each step is noted once in its window."""
    connection.executemany(
        "INSERT OR IGNORE INTO crossings VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        [
            (one.account, one.bucket, one.share, one.action, one.budget, one.scope, one.unit, one.limit, one.used,
             now_us)
            for one in reached
        ],
    )  # fmt: skip


def _enter(
    connection: sqlite3.Connection, at_us: int, request_id: str, number: int, kind: str, held: int = 0, settled: int = 0
) -> None:
    connection.execute(
        "INSERT INTO entries (at_us, request_id, number, kind, free_pusd, held_pusd, settled_pusd) "
        "VALUES (?, ?, ?, ?, ?, ?, ?)",
        (at_us, request_id, number, kind, -held - settled, held, settled),
    )


def _now_us() -> int:
    return time.time_ns() // 1000
