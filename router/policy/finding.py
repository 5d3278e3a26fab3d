"""One thing that a policy's author should know, with its place."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from router.config import Path_
    from router.policy.policy import Policy


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing a policy author should know."""

    level: Literal["evidence", "warning"]
    """`evidence` stops a candidate from serving; a `warning` does not."""
    text: str
    """`file:line:column: what, and the remedy`."""


def warning(policy: Policy, where: Path_, text: str) -> Finding:
    """What is no mistake, but hardly meant.

    Args:
        policy: as loaded.
        where: keys and positions that lead to the value, as `("rules", 3, "when")`.
        text: what, and the remedy.
    """
    return Finding(level="warning", text=policy.document.problem(where, text))
