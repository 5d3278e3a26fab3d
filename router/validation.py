"""A document's values by a pydantic schema, and every mistake told with its place, its value and the remedy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from router.config import Document, Path_, Place, close_to, shown, suggestion
from router.errors import PolicyError

if TYPE_CHECKING:
    import pydantic

MOST_TOLD = 100
"""Mistakes that are told of one file; finding what was meant takes time for each."""

Model = TypeVar("Model", bound="pydantic.BaseModel")


def validated(schema: type[Model], document: Document) -> Model:
    """Convert a document's values by a pydantic schema.

    Raises:
        PolicyError: with one line per mistake: file, line, column, the key or value, and the remedy.
    """
    from pydantic import ValidationError

    if not isinstance(document.values, dict):
        raise PolicyError(f"{document.path}:1:1: expected keys and values at the top, such as `version: 1`")
    try:
        return schema.model_validate(document.values)
    except ValidationError as error:
        raise PolicyError(*_problems(schema, document, error.errors(include_url=False))) from None


def _problems(schema: type[pydantic.BaseModel], document: Document, details: list[Any]) -> list[str]:
    """One line per mistake, in the order of the file."""
    told: dict[str, Place] = {}
    misspelt: set[Path_] = set()
    placed = [(_place_in(document, detail["loc"]), detail) for detail in details]
    placed.sort(key=lambda one: document.place_of(one[0]))
    more = placed[MOST_TOLD:]
    # Unknown keys first: a key that is missing because it is misspelt is one mistake, not two.
    for where, detail in sorted(placed[:MOST_TOLD], key=lambda one: one[1]["type"] != "extra_forbidden"):
        name = str(detail["loc"][-1]) if detail["loc"] else ""
        if detail["type"] == "extra_forbidden":
            # Behind an alias the key has no place of its own.
            parent = where[:-1] if where[-1:] == (name,) else where
            known = _keys_at(schema, parent)
            misspelt |= {(*parent, meant) for meant in close_to(name, known)}
            message = f"unknown key {shown(name)}{suggestion(name, known)}"
        elif detail["type"] == "missing":
            if (*where, name) in misspelt:
                continue
            message = f"key {name!r} is missing; add it"
        else:
            message = _wording(next((step for step in reversed(where) if isinstance(step, str)), ""), detail)
        told.setdefault(document.problem(where, message), document.place_of(where))
    lines = sorted(told, key=lambda line: told[line])
    return [*lines, document.problem(more[0][0], f"and {len(more):,} more mistakes from here on")] if more else lines


def _place_in(document: Document, location: tuple[str | int, ...]) -> Path_:
    """A location of pydantic's in the file: union branches add their own names, which do not stand there."""
    where: Path_ = ()
    for step in location:
        if (*where, step) in document.places:
            where = (*where, step)
    return where


_EXPECTED = {
    ("model_type", "dict_type"): "must be keys and values, such as `{key: value}`",
    ("list_type",): "must be a list, such as `[a, b]`",
    ("string_type",): "must be text",
    ("float_type", "float_parsing"): "must be a number",
    ("decimal_type", "decimal_parsing"): "must be a number such as 0.15, without unit or sign of currency",
    ("int_type", "int_parsing"): "must be a whole number such as 128000, without unit or separator",
    ("too_short", "string_too_short"): "must not be empty",
    ("decimal_max_places",): "must have at most 30 decimal places",
    ("too_long",): "must have at most {max_length:,} items, has more; split the policy",
}


def _wording(name: str, detail: Any) -> str:
    given = detail.get("input")
    value = "" if isinstance(given, (dict, list)) or given is None else f" {shown(given)}"
    message = str(detail["msg"]).removeprefix("Value error, ")
    expected = next((text for kinds, text in _EXPECTED.items() if detail["type"] in kinds), None)
    expected = expected.format(**detail.get("ctx", {})) if expected and "{max" in expected else expected
    message = expected or message.replace("Input should be", "must be")
    return f"{name}{value}: {message[0].lower()}{message[1:]}" if name else message


def _keys_at(schema: type[pydantic.BaseModel], where: Path_) -> list[str]:
    """The keys that may stand at a place of the file."""
    levels = [schema]
    for step in where:
        # Positions in lists and names chosen by the author lead to no field of their own.
        fields = [(field.alias or key, field) for level in levels for key, field in level.model_fields.items()]
        found = [field for key, field in fields if key == str(step)]
        levels = [inner for field in found for inner in _schemas_in(field.annotation)] or levels
    return sorted({field.alias or key for level in levels for key, field in level.model_fields.items()})


def _schemas_in(annotation: Any) -> list[type[pydantic.BaseModel]]:
    from typing import get_args

    from pydantic import BaseModel

    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [schema for part in get_args(annotation) for schema in _schemas_in(part)]
