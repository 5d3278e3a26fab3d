"""The tables of `semantic.sqlite3`, and what goes when they are full."""

from __future__ import annotations

from sqlite3 import Connection

from router.stores.eviction import LEFT, Kept, victims

MIGRATIONS = (
    """
CREATE TABLE entries (
  id INTEGER PRIMARY KEY AUTOINCREMENT, partition TEXT NOT NULL, text TEXT NOT NULL, vector BLOB NOT NULL,
  answer TEXT NOT NULL, model TEXT NOT NULL, payload TEXT NOT NULL, request_id TEXT NOT NULL, created_s REAL NOT NULL,
  expires_s REAL NOT NULL
);

CREATE INDEX entries_partition ON entries (partition, id);

CREATE INDEX entries_request ON entries (request_id);

CREATE INDEX entries_expires ON entries (expires_s);

CREATE TABLE labels (
  id INTEGER PRIMARY KEY AUTOINCREMENT, promise TEXT NOT NULL, task TEXT NOT NULL, p_wrong REAL NOT NULL,
  wrong INTEGER NOT NULL, audit REAL, features BLOB NOT NULL, at_s REAL NOT NULL
);

CREATE INDEX labels_promise ON labels (promise, id)
""",
    """
ALTER TABLE entries ADD COLUMN owner TEXT NOT NULL DEFAULT '';

ALTER TABLE entries ADD COLUMN usd REAL NOT NULL DEFAULT 0;

ALTER TABLE entries ADD COLUMN hits INTEGER NOT NULL DEFAULT 1;

ALTER TABLE entries ADD COLUMN clock REAL NOT NULL DEFAULT 0;

ALTER TABLE entries ADD COLUMN bytes INTEGER NOT NULL DEFAULT 0;

UPDATE entries SET bytes = LENGTH(payload) + LENGTH(text) + LENGTH(vector);

CREATE INDEX entries_bytes ON entries (bytes);

CREATE TABLE clock (value REAL NOT NULL);

INSERT INTO clock VALUES (0)
""",
    "ALTER TABLE labels ADD COLUMN request_id TEXT",
    """
ALTER TABLE clock ADD COLUMN deletions INTEGER NOT NULL DEFAULT 0;

CREATE TRIGGER entries_deleted AFTER DELETE ON entries
BEGIN UPDATE clock SET deletions = deletions + 1; END
""",
)
MOST_ENTRIES = 100_000
MOST_BYTES_IN_ALL = 1 << 30
MOST_IN_PARTITION = 10_000
"""So that look-ups stay fast. In each of the three, what goes first: `router.stores.eviction`."""
MOST_LABELS = 20_000


def cull(connection: Connection, partition: str, now_s: float) -> None:
    """Delete what has expired, what goes beyond the bounds (of this partition and of all), and the oldest labels."""
    connection.execute("DELETE FROM entries WHERE expires_s <= ?", (now_s,))
    columns = "SELECT id, owner, {size}, usd, hits, clock FROM entries"
    for measured, size, where, most in (
        ("COUNT(*)", "1", "WHERE partition = :partition", MOST_IN_PARTITION),
        ("COUNT(*)", "1", "", MOST_ENTRIES),
        ("COALESCE(SUM(bytes), 0)", "bytes", "", MOST_BYTES_IN_ALL),
    ):
        named = {"partition": partition}
        (found,) = connection.execute(f"SELECT {measured} FROM entries {where}", named).fetchone()  # noqa: S608
        if found <= most:
            continue
        rows = connection.execute(f"{columns.format(size=size)} {where}", named)
        gone, clock = victims([Kept(*row) for row in rows], LEFT * most)
        connection.executemany("DELETE FROM entries WHERE id = ?", [(number,) for number in gone])
        connection.execute("UPDATE clock SET value = MAX(value, ?)", (clock,))
    connection.execute(
        "DELETE FROM labels WHERE id <= (SELECT id FROM labels ORDER BY id DESC LIMIT 1 OFFSET ?)", (4 * MOST_LABELS,)
    )
