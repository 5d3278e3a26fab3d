"""Reading a routing table from disk into the form that requests are matched against."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from router.config import Document, Path_, shown
from router.errors import ConfigurationError, PolicyError
from router.policy.compose import Composed, compose
from router.policy.contradictions import contradictions
from router.policy.evidence import EvidenceTable, read_evidence
from router.policy.match import compiled
from router.policy.models import ModelEntry
from router.policy.policy import Policy
from router.policy.schema import PolicyFile, Rule
from router.spend.budget import Budgets
from router.spend.prices import Price, bundled_price
from router.spend.prices.book import Book, book_as_of
from router.validation import validated

DEFAULT_PATH = Path("policies/default.yaml")


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
