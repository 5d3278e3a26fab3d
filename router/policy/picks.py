"""Candidates that are not written out: by a pattern of ids, or by what models can do, are tagged and where they are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Annotated

from pydantic import BeforeValidator, Discriminator, Field, Tag, model_validator

from router.config import named, shown, suggestion, withheld
from router.policy.models import ModelEntry
from router.policy.sections import Name, Names, Section, one_or_more


class Pick(Section):
    """Every model of which all that is given is true, in the order of the file."""

    capability: Names | None = None
    """All of these are among its `capabilities`; a model that states none is not picked."""
    tag: Annotated[dict[Name, Names], Field(min_length=1)] | None = None
    """Each of its `tags` has the value, or one of the values."""
    region: Names | None = None
    """All of its deployments are in one of these regions."""

    @model_validator(mode="after")
    def _says_something(self) -> Pick:
        if self.capability is None and self.tag is None and self.region is None:
            raise ValueError("picks by `capability`, `tag` or `region`, such as {capability: vision, region: eu}")
        return self

    def takes(self, model: ModelEntry) -> bool:
        """Whether it picks this model."""
        if self.capability is not None and not set(self.capability) <= set(model.capabilities or ()):
            return False
        if self.tag is not None and any(model.tags.get(name) not in values for name, values in self.tag.items()):
            return False
        return self.region is None or all(place.region in self.region for place in model.places())

    def shown(self) -> str:
        """As an author wrote it, nearly."""
        told = [f"capability {' and '.join(self.capability)}"] if self.capability else []
        told += [f"{name}: {' or '.join(values)}" for name, values in (self.tag or {}).items()]
        return ", ".join([*told, *([f"region {' or '.join(self.region)}"] if self.region else [])])


def _kind(value: object) -> str:
    return "pick" if isinstance(value, (dict, Pick)) else "id"


IdOrPick = Annotated[Annotated[Name, Tag("id")] | Annotated[Pick, Tag("pick")], Discriminator(_kind)]
"""An id, a pattern of ids such as `gpt-*`, or a `Pick`."""
Picks = Annotated[list[IdOrPick], BeforeValidator(one_or_more, json_schema_input_type=IdOrPick | list[IdOrPick])]


def picked(wanted: Name | Pick, models: Mapping[str, ModelEntry]) -> list[str] | str:
    """The ids that an entry stands for, or why there are none."""
    if isinstance(wanted, Pick):
        found = [name for name, model in models.items() if wanted.takes(model)]
        return found or f"no model is picked by {withheld(wanted.shown())}; known are {_known(models)}"
    if wanted in models:
        return [wanted]
    if any(sign in wanted for sign in "*?["):
        found = [name for name in models if fnmatchcase(name, wanted)]
        return found or f"no model's id is like {shown(wanted)}; known are {_known(models)}"
    return f"no model has the id {shown(wanted)}{suggestion(wanted, list(models))}"


def listed(picks: Sequence[Name | Pick], models: Mapping[str, ModelEntry]) -> list[str]:
    """The ids that entries stand for together, each once, where it stands first."""
    found = (picked(wanted, models) for wanted in picks)
    return list(dict.fromkeys(name for names in found if not isinstance(names, str) for name in names))


def _known(models: Mapping[str, ModelEntry]) -> str:
    return named(list(models))
