"""What several eval commands share."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
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


def chosen_sources(given: Sequence[str]) -> dict[str, str]:
    """The files of `--source [TASK=]FILE`, by task; `""` stands for the only task of a suite."""
    sources: dict[str, str] = {}
    for one in given:
        task, equals, path = ("", "", one) if Path(one).is_file() else one.partition("=")
        if not equals:
            task, path = "", one
        if not path or task in sources:
            raise EvalError(f"--source {one!r}: give FILE, or TASK=FILE once for each task")
        sources[task] = path
    return sources
