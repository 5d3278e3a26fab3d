"""A policy with a model in the shadow, and what its tests read of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import router
from router.shadows import Shadows

POLICY = """\
version: 1
models:
  - {id: old, call: openai/old, api_base: "URL", api_key_env: CLEARBAR_KEY, price: {input: 1, output: 1}}
  - {id: new, call: openai/new, api_base: "URL", api_key_env: CLEARBAR_KEY, price: {input: 4, output: 4}, context: 5000}
rules:
  - name: chat
    candidates: old
    bar: 0
    shadow: {model: new, percent: 100%}
data: {store_text: full}
"""
SHADOW = "    shadow: {model: new, percent: 100%}\n"
HI = [{"role": "user", "content": "one two three"}]
LONG = [{"role": "user", "content": "word " * 9000}]
LONG_S = 60.0
Make = Callable[..., router.Router]


def standing(one: router.Router) -> dict[str, Any]:
    """What is known of the one shadow there is, once all is done."""
    assert one._shadows.settle(30)
    (found,) = Shadows(one.ledger).standing()
    return found


def rows(one: router.Router, strategy: str = "shadow") -> list[dict[str, Any]]:
    assert one._shadows.settle(30)
    return one.ledger.rows("SELECT * FROM requests WHERE strategy = ? ORDER BY seq", (strategy,))


def missed(one: router.Router) -> dict[str, int]:
    assert one._shadows.settle(30)
    return {why: n for one in Shadows(one.ledger).standing() for why, n in one["missed"].items()}
