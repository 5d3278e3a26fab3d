"""The matrix of one partition."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from router.cache import neighbours
from router.cache.neighbours import Neighbours


def units(count: int, width: int = 24, seed: int = 0) -> np.ndarray:
    rows = np.random.default_rng(seed).standard_normal((count, width)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@settings(max_examples=30)
@given(st.lists(st.integers(0, 199), max_size=120), st.integers(0, 10**6))
def test_after_any_adds_and_removes_the_nearest_are_those_of_the_kept_ones(removed: list[int], seed: int) -> None:
    rows, found = units(200, seed=seed), Neighbours(24, capacity=2)
    for entry, row in enumerate(rows):
        found.add(entry, row)
    for entry in removed:
        found.remove(entry)
    kept = sorted(set(range(200)) - set(removed))
    assert len(found) == len(kept)
    asked = units(1, seed=seed + 1)[0]
    expected = sorted(kept, key=lambda entry: -float(rows[entry] @ asked))[:16]
    assert [near.entry for near in found.nearest(asked, 16)] == expected


def test_a_removed_vector_is_nowhere_in_memory() -> None:
    rows, found = units(3), Neighbours(24)
    for entry, row in enumerate(rows):
        found.add(entry, row)
    assert found.remove(0)
    assert not found.remove(0)
    assert not (found._rows == rows[0]).all(axis=1).any()


def test_a_number_in_use_is_refused() -> None:
    found = Neighbours(24)
    found.add(7, units(1)[0])
    with pytest.raises(ValueError, match="entry 7"):
        found.add(7, units(1)[0])


def test_the_projection_finds_the_near_ones_also_after_removals(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(neighbours, "PREFILTER_FROM", 500)
    rows, found = units(2_000, width=384), Neighbours(384)
    for entry, row in enumerate(rows):
        found.add(entry, row)
    noise = np.random.default_rng(1)
    for entry in range(100):
        near = rows[entry] + 0.02 * noise.standard_normal(384).astype(np.float32)
        assert found.nearest(near / np.linalg.norm(near), 4)[0].entry == entry
        found.remove(entry)
    assert all(near.entry >= 100 for near in found.nearest(rows[0], 16))
