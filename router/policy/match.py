"""Which rule of the routing table decides about a request."""

from __future__ import annotations

import functools
from collections.abc import Callable

from router.policy.load import Policy
from router.policy.schema import Rule
from router.types import Tags


def match(policy: Policy, task: str | None, tags: Tags, input_tokens: Callable[[], int]) -> int | None:
    """Position of the first rule whose conditions all hold, or None.

    `input_tokens` is asked only when a rule looks at the size, and once, because counting is the dear part.
    """
    size = functools.cache(input_tokens)
    return next((i for i, rule in enumerate(policy.rules) if _holds(rule, task, tags, size)), None)


def _holds(rule: Rule, task: str | None, tags: Tags, input_tokens: Callable[[], int]) -> bool:
    when = rule.when
    if when.task is not None and task not in when.task:
        return False
    if any(tags.get(name) not in allowed for name, allowed in when.tags.items()):
        return False
    if when.input_tokens is None:
        return True
    size = when.input_tokens
    return size.min <= input_tokens() and (size.max is None or input_tokens() <= size.max)
