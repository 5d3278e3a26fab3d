"""What may stand in a suite file: the keys, their types and their limits."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from evals.scorers import scorer
from evals.scorers.registry import typed_options
from evals.types import Scorer

Name = Annotated[str, Field(min_length=1, max_length=100, pattern=r"^[^/\\\x00-\x1f]+$")]
Place = Annotated[str, Field(min_length=1, max_length=500, pattern=r"^[^\x00-\x1f]+$")]
"""A path relative to the suite file, or a name on the hub."""


class Section(BaseModel):
    """A part of a suite file."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class ScorerEntry(Section):
    """A scorer and its options; a bare name means no options."""

    # Which options there are is the factory's to say; those that need limits of their own stand below.
    model_config = ConfigDict(extra="allow", frozen=True)

    name: Name
    choices: Annotated[list[Name], Field(min_length=2)] | None = None
    tolerance: Annotated[float, Field(ge=0)] | None = None
    relative: Annotated[float, Field(ge=0)] | None = None

    @model_validator(mode="after")
    def _options_in_their_types(self) -> ScorerEntry:
        if self.__pydantic_extra__:
            self.__pydantic_extra__.update(typed_options(self.name, self.__pydantic_extra__))
        return self

    def make(self) -> Scorer:
        """The scorer itself.

        Raises:
            EvalError: no such scorer, or an option that it does not have.
        """
        return scorer(self.name, **self.model_dump(exclude={"name"}, exclude_none=True))


def _named(value: object) -> object:
    return {"name": value} if isinstance(value, str) else value


AnyScorer = Annotated[ScorerEntry, BeforeValidator(_named)]


class Params(Section):
    """What is sent to the model beside the messages; each can change a score."""

    max_tokens: Annotated[int, Field(ge=1)] | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None
    seed: int | None = None
    stop: list[str] | None = None


class BarEntry(Section):
    """Quality to prove, as in a policy."""

    min: Annotated[float, Field(ge=0, le=1)]
    confidence: Annotated[float, Field(gt=0.5, lt=1)] = 0.95


def _bar(value: object) -> object:
    return value if isinstance(value, dict) else {"min": value}


class TaskEntry(Section):
    """One task of a suite."""

    source: Name | None = None
    """JSONL or CSV file beside the suite."""
    generate: Literal["local-pool"] | None = None
    """Samples made by code, instead of a source."""
    seed: int = 0
    """Of the generator."""
    count: Annotated[int, Field(ge=1, le=1_000_000)] = 60
    """Samples to generate."""
    system: str | None = None
    """System message for each sample of a source; may name columns in braces."""
    prompt: str = "{prompt}"
    """User message; names columns in braces (`{{` for a brace itself)."""
    reference: str = "reference"
    """Column with the right answer."""
    subtask: str | None = None
    """Column with the kind of question, for finer tables."""
    scorer: AnyScorer
    subtask_scorers: dict[Name, AnyScorer] = {}
    """Other scorers for single subtasks."""
    params: Params = Params()
    bar: Annotated[BarEntry, BeforeValidator(_bar)] | None = None

    @model_validator(mode="after")
    def _one_origin(self) -> TaskEntry:
        if (self.source is None) == (self.generate is None):
            raise ValueError("needs either `source: FILE` or `generate: local-pool`")
        return self


class SuiteFile(Section):
    """A whole suite file."""

    version: Literal["1"]
    name: Name
    description: str | None = None
    seed: int = 0
    """Of the order in which samples are asked."""
    tasks: Annotated[dict[Name, TaskEntry], Field(min_length=1)]
