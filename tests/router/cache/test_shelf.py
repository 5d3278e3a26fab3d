"""The shelf of the semantic cache when it is full, and when it comes from an earlier version."""

from __future__ import annotations

import sqlite3
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from router.cache.shelf import Shelf
from router.cache.shelf_file import MIGRATIONS

VECTOR = np.full(384, 384**-0.5, dtype=np.float32)
ANSWER = {"choices": [{"index": 0, "message": {"content": "x"}, "finish_reason": "stop"}]}


def put(shelf: Shelf, name: str, partition: str = "p", **options: Any) -> int:
    number = shelf.add(partition, name, VECTOR, "a", "small", ANSWER, name, ttl_s=60, **options)
    assert number is not None
    return number


@pytest.fixture
def shelf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shelf:
    monkeypatch.setattr("router.cache.shelf.WRITES_PER_CULL", 10)
    return Shelf(tmp_path / "semantic.sqlite3")


def left(shelf: Shelf) -> set[str]:
    return {request_id for _, _, request_id, _ in shelf.held()}


@pytest.mark.parametrize("bound", ["MOST_IN_PARTITION", "MOST_ENTRIES"])
def test_a_full_partition_keeps_what_is_dear_or_asked_often(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch, bound: str
) -> None:
    monkeypatch.setattr(f"router.cache.shelf_file.{bound}", 20)
    put(shelf, "dear", usd=1.0)
    often, _ = put(shelf, "often", usd=0.01), put(shelf, "seldom", usd=0.01)
    for _ in range(50):
        shelf.ask_for(often)
    for number in range(57):
        put(shelf, str(number), usd=0.01)
    assert left(shelf) >= {"dear", "often", "56"}
    assert "seldom" not in left(shelf)
    assert len(left(shelf)) <= 20


def test_who_floods_the_file_evicts_only_his_own(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("router.cache.shelf_file.MOST_BYTES_IN_ALL", 40_000)
    for number in range(5):
        put(shelf, f"quiet{number}", "q", owner="quiet")
    for number in range(95):
        put(shelf, f"flood{number}", str(number), owner="flood", usd=1.0)
    assert Counter(name[:5] for name in left(shelf))["quiet"] == 5
    assert 10 < len(left(shelf)) <= 40_000 // 1_536


def test_a_file_of_an_earlier_version_is_read_on(tmp_path: Path) -> None:
    path = tmp_path / "semantic.sqlite3"
    with sqlite3.connect(path) as connection:
        for statement in MIGRATIONS[0].split(";\n\n"):
            connection.execute(statement)
        connection.execute("PRAGMA user_version = 1")
        connection.execute(
            "INSERT INTO entries VALUES (7, 'p', 'old', ?, 'a', 'small', '{}', 'r', 1, 1e12)", (VECTOR.tobytes(),)
        )
    shelf = Shelf(path)
    put(shelf, "new")
    assert [one.text for one in shelf.questions("p", 0)] == ["old", "new"]
    shelf.close()
