"""What changes between two policies, in words: for whom, and whether it loosens a protection."""

from __future__ import annotations

from datetime import UTC, datetime

from router.policy.difference.bars import evidence_changes, task_changes
from router.policy.difference.budgets import budget_changes
from router.policy.difference.models import model_changes
from router.policy.difference.rest import rest_changes
from router.policy.difference.rules import rule_changes
from router.policy.difference.told import Change, Difference, as_json, as_markdown, as_text, with_environments
from router.policy.policy import Policy

__all__ = ["Change", "Difference", "as_json", "as_markdown", "as_text", "differences", "with_environments"]


def differences(
    a: Policy,
    b: Policy,
    *,
    now: datetime | None = None,
    names: tuple[str, str] | None = None,
    artifacts: tuple[str | None, str | None] = (None, None),
) -> Difference:
    """What is not in `b` as it was in `a`. Comments, layout, the order of keys and where files stand are no difference.

    Args:
        a: the policy before.
        b: the policy after.
        now: for evidence that expires and prices that have a day; default the clock.
        names: what they are called; default their paths.
        artifacts: hash of what each one's artifact holds, where it has one.
    """
    now = now or datetime.now(UTC)
    changes = [
        *rule_changes(a, b, now),
        *task_changes(a, b),
        *evidence_changes(a, b, now),
        *model_changes(a, b, now.date()),
        *budget_changes(a, b),
        *rest_changes(a, b, artifacts),
    ]
    before, after = names or (str(a.path), str(b.path))
    return Difference(before=before, after=after, changes=tuple(changes))
