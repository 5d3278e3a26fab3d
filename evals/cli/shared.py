"""What several eval commands share."""

from __future__ import annotations

from typing import Any

from evals.types import EvalError

BAR_FAILED, TOO_LITTLE, BROKEN = 1, 2, 3
"""Exit codes."""


def chosen_candidates(given: str | None, known: Any) -> list[str]:
    """The candidates of an option, or all chat models when it was not given."""
    if given is None:
        return [name for name, model in known.items() if "embedding" not in (model.capabilities or ())]
    chosen = list(dict.fromkeys(name.strip() for name in given.split(",") if name.strip()))
    if not chosen:
        raise EvalError("--candidates names no model; give ids of the policy, such as --candidates small,large")
    return chosen
