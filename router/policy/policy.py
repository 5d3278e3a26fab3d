"""A routing table, checked and ready to be matched."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from pathlib import Path

from router.config import Document
from router.findings import NAMES, kinds_of
from router.policy.approving import Approvals
from router.policy.canary import Canary
from router.policy.cases import Case
from router.policy.evidence import EvidenceTable
from router.policy.match import Table
from router.policy.models import ModelEntry
from router.policy.schema import Bar, Data, Learning, Rule, TaskEntry
from router.policy.standing import Standing
from router.spend.breaker import Breaking
from router.spend.budget import Budgets
from router.spend.prices import Price
from router.spend.sinks import Sink
from router.types import Deployment

READ_FROM_TEXT = ("input_tokens", "language", "findings")


@dataclass(frozen=True, kw_only=True)  # without slots, for what is worked out once
class Policy:
    """A routing table, checked and ready to be matched."""

    path: Path
    files: tuple[Path, ...]
    """The file, and those that it includes."""
    contents: tuple[bytes, ...]
    """Of each of `files`, as it was read."""
    environment: str | None
    """Which of its environments this is."""
    document: Document = field(repr=False)
    """What it was made of, with the place of each value, for who has something to say about one."""
    version: str
    """First 12 hex digits of the SHA-256 of the files' text, the environment, all evidence and the book's prices."""
    models: Mapping[str, ModelEntry]
    tasks: Mapping[str, TaskEntry]
    rules: tuple[Rule, ...]
    table: Table
    """The rules, ready to be matched."""
    evidence: EvidenceTable
    evidence_folder: Path
    """It need not exist."""
    evidence_problems: tuple[str, ...]
    """One line for each evidence file that cannot be used."""
    artifact: Path | None
    prices: Mapping[str, tuple[Price, ...]]
    """By model id; an empty tuple means that nobody knows the price."""
    price_books: Path
    """Folder of price books; it need not exist."""
    deployments: Mapping[str, tuple[Deployment, ...]]
    routes_version: str
    """First 12 hex digits of the SHA-256 of models, tasks, rules and evidence: as `version`, but a changed `cache`,
    `shadow`, comment or layout leaves it as it is, so that what shadow has learned serves when it is turned on."""
    rule_lines: tuple[int, ...]
    """Line of each rule in its file."""
    rule_files: tuple[Path, ...]
    """The file of each rule."""
    data: Data
    """What is kept of prompts and answers."""
    learning: Learning
    """Of the rules that say nothing of it."""
    budgets: Budgets
    """What may be spent, by whom and when."""
    required_tags: tuple[str, ...]
    """What lacks one of them is the budgets' `unallocated`."""
    breaker: Breaking
    """When runs are stopped."""
    alerts: tuple[Sink, ...]
    """Where alerts are told."""
    approvals: Approvals | None
    """Whose signatures its bars need before it is served; held by who serves it."""
    tests: tuple[Case, ...]
    """What `clearbar policy test` runs."""
    test_places: tuple[str, ...]
    """File and line of each."""

    @cached_property
    def standings(self) -> Mapping[str, Standing]:
        """Of the models that may not always be asked."""
        return {name: standing for name, model in self.models.items() if (standing := model.standing) is not None}

    def barred(self, model: str, now: datetime, *, is_tried: bool = False) -> str | None:
        """Why a model may not be asked at a moment, whatever is asked of it; see `Standing.barred`."""
        standing = self.standings.get(model)
        return standing.barred(now, is_tried=is_tried) if standing is not None else None

    @property
    def environments(self) -> tuple[str, ...]:
        """All that the file names."""
        return tuple(self.document.values.get("environments", ()))

    @property
    def learns(self) -> bool:
        """Whether any rule learns from feedback."""
        return any(self.learning_of(rule).from_feedback for rule in self.rules)

    def learning_of(self, rule: Rule) -> Learning:
        """The rule's, else the policy's; a fixed rule learns nothing."""
        if rule.strategy == "fixed":
            return Learning()
        return rule.learning or self.learning

    @property
    def caches_exactly(self) -> bool:
        """Whether any rule allows the exact cache."""
        return any(rule.cache.keeps for rule in self.rules)

    @property
    def limits_latency(self) -> bool:
        """Whether any rule limits latency."""
        return any(rule.max_latency_ms is not None for rule in self.rules)

    @property
    def caches_alike(self) -> bool:
        """Whether any rule asks the semantic cache, if only in shadow."""
        return any(rule.cache.looks_alike for rule in self.rules)

    @property
    def cacheable(self) -> frozenset[str]:
        """Models whose provider reads cached input at a price of its own."""
        return frozenset(
            model for model, prices in self.prices.items() if any(price.cached_input is not None for price in prices)
        )

    @cached_property
    def matched_tags(self) -> tuple[str, ...]:
        """The tags that rules look at, or that must be equal for a stored answer."""
        asked = {name for rule in self.rules for one in rule.when.each() for name in one.tags}
        return tuple(sorted(asked.union(*(rule.cache.tags for rule in self.rules))))

    @property
    def canaries(self) -> Mapping[str, Canary]:
        """Models on trial, by what their state is kept under."""
        named = ((self.rule_name(i), rule.canary) for i, rule in enumerate(self.rules))
        return {canary.key(name): canary for name, canary in named if canary is not None}

    @cached_property
    def binds_data(self) -> bool:
        """Whether any rule says where its requests may be sent, or what may be kept of them."""
        return any(rule.data.is_bound or rule.data.log for rule in self.rules)

    @property
    def reads_text(self) -> str | None:
        """The condition, if a rule has one, that only a request's text can answer."""
        asked = [one for rule in self.rules for one in rule.when.each()]
        return next((name for name in READ_FROM_TEXT if any(getattr(one, name) is not None for one in asked)), None)

    @property
    def names_asked(self) -> int | None:
        """Position of the first rule that asks for names of people or places."""
        for position, rule in enumerate(self.rules):
            if any(not kinds_of(one.findings or ()).isdisjoint(NAMES) for one in rule.when.each()):
                return position
        return None

    def rule_name(self, position: int) -> str:
        """A rule's name, else its place in the file."""
        file = self.rule_files[position]
        where = "" if file == self.path else f"{file.name} "
        return self.rules[position].name or f"rule {position + 1} ({where}line {self.rule_lines[position]})"

    def bar_of(self, rule: Rule, task: str | None) -> Bar:
        """The rule's bar, else the task's, else none (0)."""
        if rule.bar is not None:
            return rule.bar
        entry = self.tasks.get(task) if task is not None else None
        return entry.bar if entry else Bar(min=0.0)
