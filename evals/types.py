"""The vocabulary of evals: what is asked, of whom, and how good the answer was."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeAlias

from router.errors import ConfigurationError
from router.types import Message, message_texts

CALLS_AT_ONCE = 64
"""Calls at once that a hosted provider gets at most, unless the user says otherwise."""


class EvalError(ConfigurationError):
    """A suite, a run directory or an argument of an eval command is wrong; nothing was spent because of it."""


class NotEnoughEvidenceError(EvalError):
    """What was measured does not carry the claim that was asked for; nothing is broken."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One question with its known answer."""

    id: str
    """First 16 hex digits of the sha256 of task, messages and reference: the same content is the same sample."""
    task: str
    subtask: str = ""
    messages: tuple[Message, ...]
    reference: str
    metadata: Mapping[str, Any] = field(default_factory=dict)
    """What a reader may want to know; never part of the id and never shown to a model."""

    @property
    def prompt(self) -> str:
        """All text a model sees, joined like `router.types.Request.text`, so that training reads what serving reads."""
        return "\n".join(text for message in self.messages for text in message_texts(message))


def make_sample(
    task: str,
    messages: tuple[Message, ...],
    reference: str,
    *,
    subtask: str = "",
    metadata: Mapping[str, Any] | None = None,
) -> Sample:
    """Make a sample under its content hash."""
    content = json.dumps([task, [dict(message) for message in messages], reference], ensure_ascii=False, sort_keys=True)
    digest = hashlib.sha256(content.encode()).hexdigest()[:16]
    return Sample(
        id=digest, task=task, subtask=subtask, messages=messages, reference=reference, metadata=dict(metadata or {})
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """The unit of work, of resume and of cost: one sample asked of one candidate once."""

    suite_sha256: str
    sample: str
    """Sample id."""
    candidate: str
    """Policy model id."""
    repeat: int = 0


@dataclass(frozen=True, slots=True)
class Scored:
    """The answer was judged."""

    value: float
    """In [0, 1]; never NaN."""
    reason: str = ""

    def __post_init__(self) -> None:
        if not 0.0 <= self.value <= 1.0:  # also catches NaN, which compares false
            raise ValueError(f"score {self.value!r} is outside [0, 1]; a scorer that cannot judge returns Unscored")


@dataclass(frozen=True, slots=True)
class Unscored:
    """An answer is there, but this scorer cannot judge it (such as a sample without a reference)."""

    reason: str


@dataclass(frozen=True, slots=True)
class Failed:
    """No answer: the call failed, or the scorer itself broke."""

    error: str


Score: TypeAlias = Scored | Unscored | Failed


def score_row(score: Score) -> dict[str, Any]:
    """A score as plain JSON values."""
    match score:
        case Scored(value, reason):
            return {"scored": value, "reason": reason}
        case Unscored(reason):
            return {"unscored": reason}
        case Failed(error):
            return {"failed": error}


def score_of(row: Mapping[str, Any]) -> Score:
    """Read back what `score_row` made."""
    if "scored" in row:
        return Scored(float(row["scored"]), row["reason"])
    return Unscored(row["unscored"]) if "unscored" in row else Failed(row["failed"])


class Scorer(Protocol):
    """Judges one answer against its reference. Pure: the same arguments always give the same score."""

    def __call__(self, response: str, reference: str) -> Score:
        """Judge an answer."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """A finished cell: what came back, what it is worth and what it cost."""

    cell: Cell
    score: Score
    response: str = ""
    input_tokens: int = 0
    output_tokens: int = 0
    cost_usd: float | None = None
    """Billed, all attempts of the call together; None when nobody knows the price."""
    list_cost_usd: float | None = None
    """What the same call would cost afresh, where that is not what was billed (the answer came from a cache)."""
    latency_s: float | None = None
    logprob: float | None = None
    """Mean log-probability of the answer's tokens, where the provider told it."""
    model_version: str | None = None
    """What the provider said it served; evidence holds for this version only."""

    def to_row(self) -> dict[str, Any]:
        """The result as plain JSON values."""
        return {
            "suite_sha256": self.cell.suite_sha256,
            "sample": self.cell.sample,
            "candidate": self.cell.candidate,
            "repeat": self.cell.repeat,
            "score": score_row(self.score),
            "response": self.response,
            "input_tokens": self.input_tokens,
            "output_tokens": self.output_tokens,
            "cost_usd": self.cost_usd,
            "list_cost_usd": self.list_cost_usd,
            "latency_s": self.latency_s,
            "logprob": self.logprob,
            "model_version": self.model_version,
        }

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> Result:
        """Read back what `to_row` wrote.

        Raises:
            KeyError, TypeError, ValueError: the row is not one of ours.
        """
        return cls(
            cell=Cell(
                suite_sha256=row["suite_sha256"],
                sample=row["sample"],
                candidate=row["candidate"],
                repeat=row["repeat"],
            ),
            score=score_of(row["score"]),
            response=row["response"],
            input_tokens=row["input_tokens"],
            output_tokens=row["output_tokens"],
            cost_usd=row["cost_usd"],
            list_cost_usd=row["cost_usd"] if row.get("list_cost_usd") is None else row["list_cost_usd"],
            latency_s=row["latency_s"],
            logprob=row.get("logprob"),
            model_version=row["model_version"],
        )
