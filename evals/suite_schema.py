"""What may stand in a suite file: the keys, their types and their limits."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, Json, model_validator

from evals.scorers import scorer
from evals.scorers.registry import typed_options
from evals.types import Scorer

Name = Annotated[str, Field(min_length=1, max_length=100, pattern=r"^[^/\\\x00-\x1f]+$")]
Where = Annotated[str, Field(min_length=1, max_length=500, pattern=r"^[^\x00-\x1f]+$")]
"""A path relative to the suite file, a name on the hub, or another text of one line."""


class Section(BaseModel):
    """A part of a suite file."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class ScorerEntry(Section):
    """A scorer and its options; a bare name means no options."""

    # Which options there are is the factory's to say; those that need limits of their own stand below.
    model_config = ConfigDict(extra="allow", frozen=True)

    name: Name
    choices: Annotated[list[Where], Field(min_length=2)] | None = None
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
    logprobs: bool | None = None
    """Whether to ask how likely each token was, for the outcome table."""
    tools: Json[list[dict[str, Any]]] | None = None
    """OpenAI's tool definitions, as JSON text."""


class BarEntry(Section):
    """Quality to prove, as in a policy."""

    min: Annotated[float, Field(ge=0, le=1)]
    confidence: Annotated[float, Field(gt=0.5, lt=1)] = 0.95


def _bar(value: object) -> object:
    return value if isinstance(value, dict) else {"min": value}


class HubEntry(Section):
    """A data set on the Hugging Face hub, or local files by the same call; the arguments of `load_dataset`."""

    path: Where
    """Such as `openai/gsm8k`; `parquet`, `json` or `csv` for local `data_files`."""
    name: Where | None = None
    """Configuration of the data set."""
    split: Where | None = None
    """Default: `test`; for local files `train`, as the library calls all of them."""
    revision: Where | None = None
    """Commit or tag. Without one, what the hub holds today; the suite's hash tells when that has changed."""
    data_files: Where | list[Where] | None = None


class LedgerEntry(Section):
    """Requests out of the router's own ledger, as far as it holds their text."""

    state: Where | None = None
    """State directory, relative to the suite; default as for the router."""
    tasks: Annotated[list[Name], Field(min_length=1)] | None = None
    """Tasks of the ledger; default: the one of the same name."""
    per_task: Annotated[int, Field(ge=1, le=100_000)] = 50
    """At most so many of each task."""
    days: Annotated[float, Field(gt=0)] | None = None
    """Only requests of the last so many days."""
    redact: Where = "builtin"
    """`builtin`, `none`, or `FILE.py:FUNCTION` from text to text."""


_ORIGINS = ("source", "hub", "ledger", "generate")
AdapterName = Literal[
    "classification",
    "extraction",
    "gsm8k",
    "humaneval",
    "ifeval",
    "mbpp",
    "mmlu",
    "mmlu_pro",
    "rag_qa",
    "summarisation",
]


class TaskEntry(Section):
    """One task of a suite."""

    source: Where | None = None
    """JSONL, CSV or Parquet file, relative to the suite."""
    hub: HubEntry | None = None
    ledger: LedgerEntry | None = None
    generate: Literal["local-pool", "samples"] | None = None
    """Samples made by code, instead of a source: our own, or those of a Python suite's `samples()`."""
    adapter: AdapterName | None = None
    """Brings rows in a public data set's shape into columns; see `evals.sources.adapters`."""
    split: Literal["train", "test", "all"] = "all"
    """`test` asks about one sample in five, by its id, and `train` the others: tune on one, promise on the other."""
    limit: Annotated[int, Field(ge=1)] | None = None
    """At most so many samples, drawn by the suite's seed; any limit is part of every larger one."""
    repeats: Annotated[int, Field(ge=1, le=100)] = 1
    """How often each sample is asked."""
    cluster: str | None = None
    """Column that says which samples belong together (one document, one person), for clustered errors."""
    contexts: str | None = None
    """Column with the passages that an answer rests on (a text, or a list of texts), for judges of such answers."""
    contamination: str | None = None
    """What is known about the samples having been in training data; shown in reports."""
    seed: int = 0
    """Of the generator, or of the draw out of a ledger."""
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
        given = [name for name in _ORIGINS if getattr(self, name) is not None]
        if len(given) != 1:
            told = f"not both `{given[0]}` and `{given[1]}`" if given else "`hub: {path: ...}` or `ledger: {...}`"
            raise ValueError(f"needs either `source: FILE` or `generate: local-pool`, {told}")
        return self

    def from_file(self, path: str) -> TaskEntry:
        """The same task with another file as its source."""
        others: dict[str, object] = dict.fromkeys(_ORIGINS)
        return self.model_copy(update={**others, "source": path})


class SuiteFile(Section):
    """A whole suite file."""

    version: Literal["1"]
    name: Name
    description: str | None = None
    seed: int = 0
    """Of the order in which samples are asked."""
    tasks: Annotated[dict[Name, TaskEntry], Field(min_length=1)]
