"""Which versions of policies were served from a state folder, each with its files as they were."""

from __future__ import annotations

import hashlib
import json
import sqlite3
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from router.stores.sqlite import Database

_FIND = (
    "SELECT seq FROM policy_versions "
    "WHERE path = ? AND version = ? AND environment IS ? AND artifact_version IS ? AND files = ?"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """One version of a policy."""

    version: str
    """As decisions name it; of files that were replaced without having been served, `unserved-` and 12 hex digits."""
    environment: str | None
    path: Path
    """Of the policy file, absolute."""
    files: Mapping[str, str]
    """SHA-256 of the policy file, and of those that it includes, by their paths from its folder."""
    artifact_version: str | None
    evidence: Mapping[str, str]
    """What the version counts of each evidence: first 12 hex digits of its SHA-256, by `task/model`."""
    rules: int | None = None
    models: int | None = None
    """None of both where the files were never served."""
    first_us: int = 0
    last_us: int = 0
    """When it began to hold in a process, first and last; microseconds since 1970."""
    loads: int = 0
    """How often; 0: it was replaced without having been served."""


class Versions:
    """Reads and writes the tables of policies."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def keep(self, version: Version, contents: Mapping[str, bytes]) -> None:
        """Note that a version holds in a process from now on, with the files that it was read from.

        Args:
            version: times and counts in it are not looked at; `loads` 0 notes that it was replaced, not served.
            contents: of its files, by their names in `version.files`.
        """
        now_us, path, loads = time.time_ns() // 1000, str(version.path), min(version.loads, 1)
        files = json.dumps(dict(version.files))
        same = (path, version.version, version.environment, version.artifact_version, files)
        with self._db.transaction() as connection:
            connection.executemany(
                "INSERT OR IGNORE INTO policy_texts VALUES (?, ?)",
                [(version.files[name], contents[name]) for name in version.files],
            )
            found = connection.execute(_FIND, same).fetchone()
            if found is not None:
                connection.execute(
                    "UPDATE policy_versions SET last_us = ?, loads = loads + ?, last_load = ? WHERE seq = ?",
                    (now_us, loads, _next(connection), found[0]),
                )
                return
            connection.execute(
                "INSERT INTO policy_versions (path, version, environment, artifact_version, files, evidence, rules, "
                "models, first_us, last_us, loads, last_load) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (*same, json.dumps(dict(version.evidence)), version.rules, version.models, now_us, now_us, loads,
                 _next(connection)),
            )  # fmt: skip

    def put_back(self, version: Version) -> None:
        """Note that a version's text stands in its files again: of those that were served, it is the last."""
        same = (str(version.path), version.version, version.environment, version.artifact_version)
        with self._db.transaction() as connection:
            (seq,) = connection.execute(_FIND, (*same, json.dumps(dict(version.files)))).fetchone()
            connection.execute("UPDATE policy_versions SET last_load = ? WHERE seq = ?", (_next(connection), seq))

    def of(self, path: Path | None = None) -> list[Version]:
        """All versions, of one policy file or of every one, the last that began to hold first."""
        query = "SELECT * FROM policy_versions WHERE path = COALESCE(?, path) ORDER BY last_load DESC"
        return [_version(row) for row in self._rows(query, [str(path) if path is not None else None])]

    def named(self, version: str) -> list[Version]:
        """Those that a name, or its first digits, mean; the last that began to hold first."""
        rows = self._rows(
            "SELECT * FROM policy_versions WHERE substr(version, 1, ?) = ? ORDER BY last_load DESC",
            [len(version), version],
        )
        return [_version(row) for row in rows]

    def has(self, content: bytes) -> bool:
        """Whether a file of any version has had this content."""
        return bool(self._rows("SELECT 1 FROM policy_texts WHERE sha256 = ?", [digest_of(content)]))

    def contents(self, version: Version) -> dict[str, bytes]:
        """Its files as they were, by their names."""
        return {
            name: self._rows("SELECT content FROM policy_texts WHERE sha256 = ?", [digest])[0]["content"]
            for name, digest in version.files.items()
        }

    def _rows(self, query: str, values: list[Any]) -> list[dict[str, Any]]:
        with self._db.connection() as connection:
            cursor = connection.execute(query, values)
            names = [column[0] for column in cursor.description]
            return [dict(zip(names, row, strict=True)) for row in cursor]


def digest_of(content: bytes) -> str:
    """By what a file's content is kept."""
    return hashlib.sha256(content).hexdigest()


def _next(connection: sqlite3.Connection) -> int:
    """Loads in their order, also where a clock is set back."""
    return int(connection.execute("SELECT COALESCE(MAX(last_load), 0) + 1 FROM policy_versions").fetchone()[0])


def _version(row: Mapping[str, Any]) -> Version:
    return Version(
        version=row["version"],
        environment=row["environment"],
        path=Path(row["path"]),
        files=json.loads(row["files"]),
        artifact_version=row["artifact_version"],
        evidence=json.loads(row["evidence"]),
        rules=row["rules"],
        models=row["models"],
        first_us=row["first_us"],
        last_us=row["last_us"],
        loads=row["loads"],
    )
