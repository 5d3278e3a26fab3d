"""Scorers by name, as suites and `clearbar eval rescore` write them."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from evals.scorers.code import code
from evals.scorers.constraints import constraints
from evals.scorers.math import math
from evals.scorers.meaning import similarity
from evals.scorers.number import numeric
from evals.scorers.overlap import rouge_l, spelling, token_f1
from evals.scorers.pattern import regex
from evals.scorers.schema import schema
from evals.scorers.structured import json
from evals.scorers.text import choice, contains, exact
from evals.scorers.tools import tool_call
from evals.types import EvalError, Scorer

SCORERS: Mapping[str, Callable[..., Scorer]] = {
    "choice": choice,
    "code": code,
    "constraints": constraints,
    "contains": contains,
    "exact": exact,
    "json": json,
    "math": math,
    "numeric": numeric,
    "regex": regex,
    "rouge_l": rouge_l,
    "schema": schema,
    "similarity": similarity,
    "spelling": spelling,
    "token_f1": token_f1,
    "tool_call": tool_call,
}


def scorer(name: str, **options: Any) -> Scorer:
    """Make a scorer by its name.

    Raises:
        EvalError: the name is not known (all names are listed), or an option does not fit.
    """
    from router.config import suggestion

    if name not in SCORERS:
        raise EvalError(f"unknown scorer {name!r}{suggestion(name, ())}; scorers are {', '.join(sorted(SCORERS))}")
    allowed = list(inspect.signature(SCORERS[name]).parameters)
    for option in options:
        if option not in allowed:
            takes = f"it takes {', '.join(allowed)}" if allowed else "it takes none"
            raise EvalError(f"scorer {name!r} has no option {option!r}; {takes}")
    return SCORERS[name](**options)


def typed_options(name: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """Options as a file gives them (scalars are text) in the types of the factory's arguments.

    Names that no factory knows stay as they are; `scorer` tells about them.

    Raises:
        ValueError: a value does not fit its argument.
    """
    from typing import get_type_hints

    from pydantic import TypeAdapter, ValidationError

    hints = get_type_hints(SCORERS[name]) if name in SCORERS else {}
    typed: dict[str, Any] = {}
    for option, value in options.items():
        try:
            typed[option] = TypeAdapter(hints[option]).validate_python(value) if option in hints else value
        except ValidationError as error:
            told = error.errors(include_url=False)[0]["msg"]
            raise ValueError(f"option {option!r} of scorer {name!r}: {told[0].lower()}{told[1:]}") from None
    return typed
