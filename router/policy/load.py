"""Reading a routing table from disk into the form that requests are matched against."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from pathlib import Path

from router.config import Document, Path_, shown, validated
from router.errors import ConfigurationError, PolicyError
from router.policy.approvals import Approvals
from router.policy.canary import Canary
from router.policy.cases import Case
from router.policy.compose import Composed, compose
from router.policy.contradictions import contradictions
from router.policy.evidence import EvidenceTable, read_evidence
from router.policy.match import Table, compiled
from router.policy.schema import Bar, Data, Learning, ModelEntry, PolicyFile, Rule, TaskEntry
from router.policy.standing import Standing
from router.spend.breaker import Breaking
from router.spend.budget import Budgets
from router.spend.prices import Price, bundled_price
from router.spend.prices.book import Book, book_as_of
from router.spend.sinks import Sink
from router.types import Deployment

READ_FROM_TEXT = ("input_tokens", "language", "findings")
DEFAULT_PATH = Path("policies/default.yaml")


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


def find_policy(given: str | os.PathLike[str] | None = None) -> Path:
    """The policy file: argument, else `CLEARBAR_POLICY`, else `./policies/default.yaml`.

    Raises:
        ConfigurationError: none of the three names a file.
    """
    if given is not None:
        return Path(given)
    if named := os.environ.get("CLEARBAR_POLICY"):
        return Path(named)
    if DEFAULT_PATH.is_file():
        return DEFAULT_PATH
    raise ConfigurationError(
        f"no policy: pass Router(policy=PATH), set CLEARBAR_POLICY, or put one at ./{DEFAULT_PATH} "
        "(`clearbar init` writes a first one from the keys and servers it finds)"
    )


def shipped_policies() -> Path:
    """The folder of the policies that come with the package (in a checkout, the top-level `policies/`)."""
    installed = Path(__file__).parent / "shipped"
    return installed if installed.is_dir() else Path(__file__).parents[2] / "policies"


def load_policy(
    path: str | os.PathLike[str], environment: str | None = None, *, kept: Mapping[Path, bytes] | None = None
) -> Policy:
    """Read and check a policy file, with what it includes.

    Args:
        path: of the file.
        environment: one of its `environments`; default CLEARBAR_ENV, which a file without environments passes over.
            An empty text: none.
        kept: what stood in the file and in what it includes, by path, where that is not to be read from disk.

    Raises:
        PolicyError: with one line per mistake: file, line, column, value and remedy.
    """
    composed = compose(Path(path), kept)
    environment = _environment(composed, environment)
    document, file = _checked(composed.of(environment))
    for other in composed.environments:  # a mistake in one should not wait until that one is served
        if other != environment:
            _checked_as(composed.of(other), other)
    models = {model.id: model for model in file.models}
    rules = tuple(entry.rule(models) for entry in file.rules)
    folder = document.path.parent
    try:
        evidence, evidence_problems = read_evidence(folder / file.evidence)
        book = book_as_of(folder / file.prices)
    except OSError as error:  # a folder that may not be looked into
        raise PolicyError(f"{document.path}:1:1: {error.filename}: {error.strerror}; make it readable") from error
    prices = {model.id: _prices(model, book) for model in file.models}
    booked = "".join(price.id for known in prices.values() for price in known) if book else ""
    return Policy(
        path=document.path,
        files=composed.files,
        contents=composed.contents,
        environment=environment,
        document=document,
        version=_version(document.text + booked, evidence),
        routes_version=_version(_routes(file, rules), evidence),
        models=models,
        tasks=file.tasks,
        rules=rules,
        table=compiled(rules, [model.sunset for model in file.models if model.sunset is not None]),
        evidence=evidence,
        evidence_folder=folder / file.evidence,
        evidence_problems=tuple(evidence_problems),
        artifact=folder / file.artifact if file.artifact else None,
        prices=prices,
        price_books=folder / file.prices,
        deployments={model.id: model.places() for model in file.models},
        rule_lines=tuple(document.places["rules", i][0] for i in range(len(file.rules))),
        rule_files=tuple(document.file_of(("rules", i)) for i in range(len(file.rules))),
        data=file.data,
        learning=file.learning,
        budgets=Budgets(tuple(entry.budget(tuple(file.required_tags or ())) for entry in file.budgets)),
        required_tags=tuple(file.required_tags or ()),
        breaker=file.breaker.breaking(),
        alerts=tuple(entry.told() for entry in file.alerts),
        approvals=file.approvals,
        tests=tuple(file.tests),
        test_places=tuple(_place(document, ("tests", i)) for i in range(len(file.tests))),
    )


def show_resolved(path: str | os.PathLike[str], environment: str | None = None) -> str:
    """The policy as YAML with includes and an environment put in, and each default as a comment.

    Raises:
        PolicyError: it does not load.
    """
    from router.policy.resolved import resolved

    composed = compose(Path(path))
    return resolved(*_checked(composed.of(_environment(composed, environment))))


def _environment(composed: Composed, given: str | None) -> str | None:
    return (os.environ.get("CLEARBAR_ENV") if given is None and composed.environments else given) or None


def _checked_as(document: Document, environment: str) -> None:
    """Check an environment that is not served now; what is wrong only there says so."""
    try:
        _checked(document)
    except PolicyError as error:
        raise PolicyError(*(f"{line} (in the environment {shown(environment)})" for line in error.problems)) from None


def _checked(document: Document) -> tuple[Document, PolicyFile]:
    """A document by its schema, and held against itself."""
    file = validated(PolicyFile, document)
    if problems := contradictions(file, document):
        raise PolicyError(*problems)
    return document, file


def _place(document: Document, where: Path_) -> str:
    return f"{document.file_of(where)}:{document.place_of(where)[0]}"


def _routes(file: PolicyFile, rows: Sequence[Rule]) -> str:
    # Without what is left at its default: a key that the language gains later moves no version.
    rules = [rule.model_dump_json(exclude={"cache", "shadow"}, exclude_defaults=True) for rule in rows]
    untold = {"models": {"__all__": {"owner", "card"}}}  # nobody is asked otherwise because of them
    parts = file.model_dump_json(
        include={"models", "tasks", "artifact", "learning"}, exclude=untold, exclude_defaults=True
    )
    return "\n".join([parts, *rules])


def _version(text: str, evidence: EvidenceTable) -> str:
    digest = hashlib.sha256(text.encode())
    for key in sorted(evidence):
        digest.update(evidence[key].model_dump_json().encode())
    return digest.hexdigest()[:12]


def _prices(model: ModelEntry, book: Book | None) -> tuple[Price, ...]:
    if model.price:
        return tuple(entry.price() for entry in model.price)
    if book is not None and (known := book.prices(model.call)):
        return known
    found = bundled_price(model.call)
    return (found,) if found else ()
