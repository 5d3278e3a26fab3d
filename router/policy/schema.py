"""What a routing table may say: the schema of a policy file.

Values arrive as text (see `router.config`) and are converted here. Unknown keys are errors.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from router.policy.alerting import AlertEntry
from router.policy.approving import Approvals
from router.policy.breaking import BreakerEntry
from router.policy.budgets import BudgetEntry
from router.policy.caching import OFF, Caching
from router.policy.canary import Canary
from router.policy.cases import Cases
from router.policy.conditions import From, Until, When
from router.policy.data import ANYTHING, RuleData
from router.policy.models import ModelEntry
from router.policy.picks import Picks, listed
from router.policy.sections import (
    Amount,
    Folder,
    Name,
    Names,
    Section,
    one_or_more,
)
from router.policy.shadow import Shadow
from router.policy.sticky import Sticky


def _known_version(value: object) -> object:
    if value != "1":
        raise ValueError("this clearbar reads version 1; write `version: 1`, or upgrade clearbar")
    return value


class Bar(Section):
    """Required mean quality of a task's served answers, by itself or against a model, and how sure it must be."""

    min: Annotated[float, Field(ge=0, le=1)] = 0.0
    confidence: Annotated[float, Field(gt=0.5, lt=1)] = 0.95
    max_drop: Annotated[float, Field(gt=0, lt=1)] | None = None
    """Mean quality that may be lost against `vs` answering everything."""
    vs: Name | None = None
    """Id of the model that `max_drop` is held against."""

    @model_validator(mode="before")
    @classmethod
    def _one_kind(cls, value: object) -> object:
        if not isinstance(value, dict):
            return {"min": value}
        is_drop = bool({"max_drop", "vs"} & set(value))
        if is_drop and "min" in value:
            raise ValueError("give either `min` or `max_drop` with `vs`, not both")
        if is_drop and not {"max_drop", "vs"} <= set(value):
            raise ValueError("`max_drop` and `vs` go together: {max_drop: 0.02, vs: MODEL, confidence: 0.9}")
        if not is_drop and "min" not in value:
            raise ValueError("needs `min`: {min: 0.9, confidence: 0.95}, or just a number")
        return value

    def shown(self) -> str:
        """As an author thinks of it: `0.9`, or `drop 0.02 vs large`."""
        return f"{self.min:g}" if self.max_drop is None else f"drop {self.max_drop:g} vs {self.vs}"


class TaskEntry(Section):
    """What is asked of a task's answers."""

    bar: Bar
    pass_at: Annotated[float, Field(ge=0, le=1)] = 0.5
    """From this quality on, one answer clears."""
    metric: Name | None = None
    """When given, only evidence measured by this metric counts."""


class Learning(Section):
    """What feedback may change."""

    from_feedback: bool = False
    """Feedback moves expected qualities, bars models below the bar, and an alarm stops routing down."""
    explore: Annotated[float, Field(ge=0, le=0.5)] = 0.0
    """Share of the requests whose first model is drawn from all that may clear the bar."""

    @model_validator(mode="after")
    def _explores_to_learn(self) -> Learning:
        if self.explore and not self.from_feedback:
            raise ValueError("`explore` needs `from_feedback: true`: what is explored would teach nothing")
        return self


class RuleKeys(Section):
    """What a row of the routing table says besides who is asked."""

    name: Name | None = None
    when: When = When()
    from_: From = None
    """First day (UTC) or moment at which the rule may match."""
    until: Until = None
    """Last day (UTC), or the moment from which it matches no more."""
    bar: Bar | None = None
    """Overrides the task's bar."""
    strategy: Literal["single", "cascade", "fixed"] = "single"
    """`cascade` may look at cheap answers before it asks a dearer model; it needs an artifact that carries the bar."""
    buffer: bool = False
    """Whether a streamed request may be held back until its cascade is decided; else it gets a single call."""
    verifier: Name | None = None
    """Id of a model that a cascade may ask whether an answer is right, where that is worth its price; needs an artifact
    that was trained with its verdicts, and no evidence."""
    max_cost_usd: Amount | None = None
    max_latency_ms: Annotated[int, Field(ge=1, le=86_400_000)] | None = None
    """Models and cascades that are expected to take longer are left out; no deadline, which is a request's."""
    canary: Canary | None = None
    """A model on trial for a share of the requests."""
    shadow: Shadow | None = None
    """A model that is asked a share of the requests as well, once they are answered, and never serves."""
    sticky: Sticky | None = None
    """Which requests belong together, and when their model may change."""
    cache: Caching = OFF
    data: RuleData = ANYTHING
    """Where its requests may be sent, and what may be kept of them."""
    learning: Learning | None = None
    """Overrides the policy's `learning`."""

    @model_validator(mode="after")
    def _sticks_to_one(self) -> RuleKeys:
        if self.sticky is not None and self.strategy == "cascade":
            raise ValueError("`sticky` keeps one model, and `strategy: cascade` asks several; remove one of the two")
        return self

    @model_validator(mode="after")
    def _keeps_nothing(self) -> RuleKeys:
        if self.data.log == "none" and self.cache.keeps:
            raise ValueError("`data: {log: none}` keeps no text, and `cache` stores answers; remove one of the two")
        return self

    @model_validator(mode="after")
    def _ends_after_it_begins(self) -> RuleKeys:
        if self.from_ is not None and self.until is not None and self.until <= self.from_:
            raise ValueError("`until` lies before `from`: the rule would never match")
        return self

    @model_validator(mode="after")
    def _learns_where_it_chooses(self) -> RuleKeys:
        if self.learning is not None and self.strategy == "fixed":
            raise ValueError("`strategy: fixed` follows its order and learns nothing; remove `learning`")
        return self

    @model_validator(mode="after")
    def _verifies_cascades(self) -> RuleKeys:
        if self.verifier is not None and self.strategy != "cascade":
            raise ValueError("`verifier` is asked between the answers of a cascade; write `strategy: cascade`")
        if self.verifier is not None and self.max_latency_ms is not None:
            raise ValueError("nobody knows how long a verdict takes; give `verifier` or `max_latency_ms`, not both")
        return self


class RuleEntry(RuleKeys):
    """One row of the routing table; the first that matches decides."""

    candidates: Annotated[Picks, Field(min_length=1)] = []
    """Ids, patterns of ids such as `gpt-*`, or {capability, tag, region}; none where `data` refuses."""
    fallback: Picks = []
    """Tried when no candidate stands or all have failed; needs no evidence."""

    @model_validator(mode="after")
    def _asks_somebody(self) -> RuleEntry:
        asked = self.candidates or self.fallback or self.canary or self.shadow or self.verifier
        if self.data.refuse is not None and asked:
            raise ValueError("`data: {refuse: ...}` asks nobody; remove the rule's models")
        if self.data.refuse is None and not self.candidates:
            raise ValueError("key 'candidates' is missing; add it, or `data: {refuse: WHY}`")
        return self

    def rule(self, models: Mapping[str, ModelEntry]) -> Rule:
        """With its models written out."""
        said = {name: getattr(self, name) for name in RuleKeys.model_fields}
        said |= {} if self.candidates else {"strategy": "fixed"}  # who asks nobody promises nothing
        names = {"candidates": listed(self.candidates, models), "fallback": listed(self.fallback, models)}
        # Everything has been validated already; what was left out stays so.
        return Rule.model_construct(_fields_set=set(self.model_fields_set), **said, **names)


class Rule(RuleKeys):
    """A row whose models are written out."""

    candidates: list[Name]
    fallback: list[Name] = []


class Data(Section):
    """What may be kept of prompts and answers."""

    store_text: Literal["none", "redacted", "full"] = "none"
    """`redacted`: without e-mail addresses, long numbers, keys, pictures and sound; `full`: as it is."""
    keep_days: Annotated[int, Field(ge=1, le=3_650)] = 30
    """Text is deleted after so many days."""
    tasks: Names | None = None
    """Only requests of these tasks; default: all."""


class PolicyFile(Section):
    """A whole policy file."""

    version: Annotated[Literal["1"], BeforeValidator(_known_version)]
    models: Annotated[list[ModelEntry], Field(min_length=1, max_length=2_000)]
    tasks: Annotated[dict[Name, TaskEntry], Field(max_length=2_000)] = {}
    rules: Annotated[list[RuleEntry], Field(min_length=1, max_length=10_000)]
    include: Annotated[list[Name], BeforeValidator(one_or_more, json_schema_input_type=Name | list[Name])] = []
    """Files, relative to this one, whose models, tasks, rules and budgets stand before those of this file."""
    environments: dict[Name, dict[str, Any]] = {}
    """What differs where CLEARBAR_ENV names one of them: changes of models by id, of rules and budgets by name, and of
    everything else by key."""
    artifact: Folder | None = None
    """Directory of a trained artifact, relative to the file."""
    evidence: Folder = "evidence"
    """Directory of evidence files, relative to the file."""
    prices: Folder = "prices"
    """Directory of price books, relative to the file; the newest one prices the models that state no price here."""
    data: Data = Data()
    learning: Learning = Learning()
    budgets: Annotated[list[BudgetEntry], Field(max_length=2_000)] = []
    """Spending limits; a call has to fit all that are about it."""
    required_tags: Annotated[Names, Field(max_length=20)] | None = None
    """Requests without one of them are `unallocated`; a budget with that scope caps what they spend."""
    breaker: BreakerEntry = BreakerEntry()
    """When runs that turn in circles or run away are stopped."""
    alerts: Annotated[list[AlertEntry], Field(max_length=100)] = []
    """Where crossed budgets, stopped runs, anomalies and changed prices are told, by `clearbar spend watch`."""
    approvals: Approvals | None = None
    """Whose signatures the bars need before the policy is served."""
    tests: Cases = []
    """Requests and what has to come of them, run by `clearbar policy test`."""

    @model_validator(mode="after")
    def _sinks_apart(self) -> PolicyFile:
        names = [entry.told().name for entry in self.alerts]
        if twice := next((name for name in names if names.count(name) > 1), None):
            raise ValueError(f"alerts: two sinks are called {twice!r}; give each a `name` of its own")
        return self
