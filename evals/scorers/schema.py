"""Answers that are JSON of a wanted shape."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from evals.scorers.structured import last_json
from evals.types import EvalError, Score, Scored, Scorer, Unscored

_TYPED = frozenset(
    "minimum maximum exclusiveMinimum exclusiveMaximum multipleOf minLength maxLength minItems maxItems minProperties "
    "maxProperties minContains maxContains uniqueItems additionalProperties unevaluatedProperties".split()
)
"""Keywords that take a number or a truth value; a suite file gives all scalars as text."""


def schema(json_schema: Mapping[str, Any] | str | None = None, bare: bool = False) -> Scorer:
    """The response holds JSON that is valid under a JSON Schema: all or nothing.

    Args:
        json_schema: for every sample, as an object or as JSON text (as text where `enum` or `const` hold numbers);
            without it each sample's reference is its schema. `$ref` reaches only into the schema itself: nothing
            is fetched.
        bare: the response must be nothing but the JSON (one Markdown fence is forgiven).

    Raises:
        EvalError: `json_schema` is no JSON Schema.
    """
    fixed = None
    if json_schema is not None:
        try:
            fixed = _validator(json.loads(json_schema) if isinstance(json_schema, str) else _retyped(json_schema))
        except ValueError as error:
            raise EvalError(f"json_schema: {error}") from error

    def score(response: str, reference: str) -> Score:
        try:
            validator = fixed or _validator(json.loads(reference))
        except (ValueError, RecursionError) as error:
            return Unscored(f"reference {reference[:60]!r} is no JSON Schema ({str(error)[:80]})")
        found = _bare_json(response) if bare else _json_of(response, validator.schema)
        if found is None:
            return Scored(0.0, "no JSON of the expected kind in the response")
        try:
            mistakes = sorted(validator.iter_errors(found[0]), key=lambda mistake: mistake.json_path)
        except Exception as error:  # noqa: BLE001  an unresolvable $ref raises a class of another package
            return Unscored(f"the schema cannot be applied: {str(error)[:120]}")
        reason = "; ".join(f"{mistake.json_path}: {mistake.message[:80]}" for mistake in mistakes[:3])
        return Scored(float(not mistakes), reason)

    return score


def _validator(wanted: Any) -> Any:
    from jsonschema.exceptions import SchemaError
    from jsonschema.validators import validator_for
    from referencing import Registry

    if not isinstance(wanted, Mapping):
        raise ValueError(f"a schema is an object, not {str(wanted)[:40]!r}")
    kind = validator_for(wanted)
    try:
        kind.check_schema(wanted)
    except SchemaError as error:
        raise ValueError(error.message[:200]) from error
    return kind(wanted, registry=Registry())


def _retyped(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {
            key: json.loads(inner) if key in _TYPED and isinstance(inner, str) else _retyped(inner)
            for key, inner in value.items()
        }
    return [_retyped(item) for item in value] if isinstance(value, list) else value


def _json_of(response: str, wanted: Mapping[str, Any]) -> tuple[Any] | None:
    kinds = {"object": dict, "array": list, "string": str, "boolean": bool}
    kind = kinds.get(str(wanted.get("type", "object")), object)
    found = last_json(response, kind)
    return None if found is None else (found,)


def _bare_json(response: str) -> tuple[Any] | None:
    text = response.strip()
    lines = text.splitlines()
    if len(lines) > 2 and lines[0].startswith("```") and lines[-1].strip() == "```":
        text = "\n".join(lines[1:-1])
    try:
        return (json.loads(text),)
    except (ValueError, RecursionError):
        return None
