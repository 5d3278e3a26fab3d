"""`clearbar tokenizers`: readings of the fixed text, and what the ledger's traffic tells."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import router
from policies import ONE_MODEL
from router.spend.corpus import CORPUS


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, clearbar: Callable[..., Any]) -> Any:
    monkeypatch.setenv("CLEARBAR_POLICY", "policy.yaml")
    Path("policy.yaml").write_text(ONE_MODEL, encoding="utf-8")
    return partial(clearbar, "tokenizers")


def test_a_reading_is_kept_and_the_next_one_is_held_against_it(run: Any) -> None:
    (first,) = run("read", "small", "--state", "s", "--json")
    assert set(first["per_1000"]) == set(CORPUS)
    assert float(first["usd"]) == pytest.approx(first["overall"] / 1e6)
    (again,) = run("read", "small", "--state", "s", "--json")
    assert again["moved"] == {}
    path = Path("s/tokenizers.jsonl")
    kept = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    assert len(kept) == 2
    kept[-1]["tokens"]["json"] *= 2
    path.write_text(json.dumps(kept[-1]) + "\n", encoding="utf-8")
    (moved,) = run("read", "small", "--state", "s", "--json", code=1)
    assert moved["moved"] == {"json": pytest.approx(-0.5)}


def test_too_little_traffic_says_so(run: Any) -> None:
    with router.Router("policy.yaml") as one:
        one.complete([{"role": "user", "content": "four words are here"}])
    assert "too little traffic" in run("traffic")
