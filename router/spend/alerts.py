"""Alerts: what was noticed, told once to each sink, and told again when it is over.

An alert is a row; telling a sink of it is another one. Several processes may watch the same ledger: an alert is opened
by one of them, and a message is sent by the one that has claimed it. A message that fails is sent again, later and
later, for a day. No text of a prompt and no secret stands in either table.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from router.spend.windows import DAY_US, HOUR_US
from router.stores.sqlite import Database

SOURCES = ("budgets", "runs", "anomalies", "tokenizers", "prices")
LEASE_US = 60_000_000
"""For so long a claimed message is its claimer's."""
FIRST_PAUSE_US = 30_000_000
LONGEST_PAUSE_US = HOUR_US
GIVE_UP_US = DAY_US
KEEP_US = 90 * DAY_US


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """One thing that somebody should know."""

    key: str
    """The same for as long as it lasts."""
    source: str
    """One of `SOURCES`."""
    text: str
    """One line for people."""
    details: Mapping[str, Any] = field(default_factory=dict)
    """For programs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """What a sink is to be told."""

    alert: Alert
    is_over: bool
    """Whether it tells that the alert is over."""
    at_us: int
    """When that was, in microseconds since 1970."""

    @property
    def body(self) -> dict[str, Any]:
        """As a JSON object."""
        return {
            "version": 1, "event": "recovered" if self.is_over else "alert", "source": self.alert.source,
            "key": self.alert.key, "text": self.text, "at": self.at_us / 1e6, "details": dict(self.alert.details),
        }  # fmt: skip

    @property
    def text(self) -> str:
        """One line for people."""
        return f"{'over: ' if self.is_over else ''}{self.alert.text}"


Send = Callable[[Message], None]
"""Tells a sink; raises what went wrong, without secrets."""


class Alerts:
    """The tables of alerts and messages."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def raise_(self, found: Sequence[Alert], sinks: Mapping[str, Collection[str]], now_us: int) -> list[Alert]:
        """Open what is not open yet.

        Args:
            found: what is noticed now.
            sinks: name -> sources that it wants to hear of.
            now_us: microseconds since 1970.

        Returns:
            The alerts that are new.
        """
        opened = []
        with self._db.transaction() as connection:
            for alert in found:
                row = connection.execute(
                    "SELECT seq FROM alerts WHERE key = ? AND closed_us IS NULL", (alert.key,)
                ).fetchone()
                if row is not None:
                    connection.execute("UPDATE alerts SET seen_us = ? WHERE seq = ?", (now_us, row[0]))
                    continue
                cursor = connection.execute(
                    "INSERT INTO alerts (key, source, text, details, opened_us, seen_us) VALUES (?, ?, ?, ?, ?, ?)",
                    (alert.key, alert.source, alert.text, json.dumps(dict(alert.details)), now_us, now_us),
                )
                _post(
                    connection, cursor.lastrowid, 0, [n for n, wants in sinks.items() if alert.source in wants], now_us
                )
                opened.append(alert)
            connection.execute("DELETE FROM messages WHERE at_us < ?", (now_us - KEEP_US,))
            connection.execute("DELETE FROM alerts WHERE closed_us < ?", (now_us - KEEP_US,))
        return opened

    def end(self, keys: Collection[str], now_us: int, *, silently: bool = False) -> None:
        """Close alerts; unless silently, who was told of them is told that they are over."""
        with self._db.transaction() as connection:
            for key in keys:
                for (seq,) in connection.execute(
                    "SELECT seq FROM alerts WHERE key = ? AND closed_us IS NULL", (key,)
                ).fetchall():
                    connection.execute("UPDATE alerts SET closed_us = ? WHERE seq = ?", (now_us, seq))
                    if silently:
                        continue
                    told = connection.execute("SELECT sink FROM messages WHERE alert = ? AND is_over = 0", (seq,))
                    _post(connection, seq, 1, [row[0] for row in told], now_us)

    def open(self, source: str | None = None) -> list[dict[str, Any]]:
        """Alerts that are not over, the newest first."""
        where, values = ("AND source = ?", (source,)) if source else ("", ())
        with self._db.connection() as connection:
            rows = connection.execute(
                "SELECT key, source, text, details, opened_us, seen_us FROM alerts WHERE closed_us IS NULL "
                f"{where} ORDER BY opened_us DESC",
                values,
            )
            names = [column[0] for column in rows.description]
            found = [dict(zip(names, row, strict=True)) for row in rows]
        for row in found:
            row["details"] = json.loads(row["details"])
        return found

    def was_raised(self, keys: Collection[str]) -> set[str]:
        """Those of the keys that an alert was ever opened for, within the time that alerts are kept."""
        with self._db.connection() as connection:
            return {key for key in keys if connection.execute("SELECT 1 FROM alerts WHERE key = ?", (key,)).fetchone()}

    def deliver(self, sinks: Mapping[str, Send], now_us: int) -> tuple[int, list[str]]:
        """Send the messages that are due.

        Returns:
            How many were sent, and what went wrong with others.
        """
        sent, wrong = 0, []
        for number, is_over, sink, tries, message in self._claimed(sinks, now_us):
            try:
                sinks[sink](message)
            except Exception as error:  # noqa: BLE001  whatever a sink does, the others are told
                wrong.append(f"{sink}: {error}")
                pause_us = min(LONGEST_PAUSE_US, FIRST_PAUSE_US << min(tries, 20))
                is_lost = now_us + pause_us > message.at_us + GIVE_UP_US
                self._note(number, is_over, sink, done_us=now_us if is_lost else None, next_us=now_us + pause_us,
                           error=f"{type(error).__name__}: {error}"[:300])  # fmt: skip
            else:
                sent += 1
                self._note(number, is_over, sink, done_us=now_us, next_us=now_us, error=None)
        return sent, wrong

    def _claimed(self, sinks: Collection[str], now_us: int) -> list[tuple[int, int, str, int, Message]]:
        with self._db.transaction() as connection:
            rows = connection.execute(
                "SELECT m.alert, m.is_over, m.sink, m.tries, m.at_us, a.key, a.source, a.text, a.details "
                "FROM messages AS m JOIN alerts AS a ON a.seq = m.alert WHERE m.done_us IS NULL AND m.next_us <= ? "
                "ORDER BY m.at_us, m.alert, m.is_over LIMIT 100",
                (now_us,),
            ).fetchall()
            rows = [row for row in rows if row[2] in sinks]
            connection.executemany(
                "UPDATE messages SET next_us = ?, tries = tries + 1 WHERE alert = ? AND is_over = ? AND sink = ?",
                [(now_us + LEASE_US, *row[:3]) for row in rows],
            )
        return [
            (seq, is_over, sink, tries,
             Message(alert=Alert(key=key, source=source, text=text, details=json.loads(details)),
                     is_over=bool(is_over), at_us=at_us))
            for seq, is_over, sink, tries, at_us, key, source, text, details in rows
        ]  # fmt: skip

    def _note(
        self, alert: int, is_over: int, sink: str, *, done_us: int | None, next_us: int, error: str | None
    ) -> None:
        with self._db.transaction() as connection:
            connection.execute(
                "UPDATE messages SET done_us = ?, next_us = ?, error = ? WHERE alert = ? AND is_over = ? AND sink = ?",
                (done_us, next_us, error, alert, is_over, sink),
            )


def _post(connection: Any, alert: int | None, is_over: int, sinks: Sequence[str], now_us: int) -> None:
    connection.executemany(
        "INSERT OR IGNORE INTO messages (alert, is_over, sink, at_us, next_us) VALUES (?, ?, ?, ?, ?)",
        [(alert, is_over, sink, now_us, now_us) for sink in sinks],
    )
