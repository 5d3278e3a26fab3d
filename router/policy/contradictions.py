"""Mistakes of a policy that only show when its parts are held against each other."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice

from router.config import Document, Path_, shown, suggestion
from router.policy.cases import strange_names
from router.policy.models import ModelEntry
from router.policy.picks import listed, picked
from router.policy.schema import Bar, PolicyFile, RuleEntry
from router.spend.budget import UNALLOCATED
from router.validation import MOST_TOLD

MOST_PICKED = 1_000_000
"""Comparisons of a pattern with a model, over all rules of a policy."""


def contradictions(file: PolicyFile, document: Document) -> list[str]:
    """Mistakes that only show when the parts are held against each other; so many of them as are told."""
    problems = [*islice(_found(file, document), MOST_TOLD + 1)]
    if len(problems) > MOST_TOLD:
        problems[-1] = document.problem((), f"and more mistakes than the {MOST_TOLD} that are told")
    return problems


def _found(file: PolicyFile, document: Document) -> Iterator[str]:
    models = {model.id: model for model in file.models}
    ids = [*models]
    for name, i in _twice([model.id for model in file.models]):
        told = f"model id {shown(name)} stands here for the second time; ids are unique"
        yield document.problem(("models", i, "id"), told)
    bars: list[tuple[Path_, Bar]] = [(("tasks", name, "bar"), entry.bar) for name, entry in file.tasks.items()]
    bars += [(("rules", i, "bar"), rule.bar) for i, rule in enumerate(file.rules) if rule.bar is not None]
    for here, bar in bars:
        if bar.vs is not None and bar.vs not in models:
            yield document.problem((*here, "vs"), f"vs: no model has the id {shown(bar.vs)}{suggestion(bar.vs, ids)}")
    yield from _budgets_asked(file, document)
    yield from _tests_named(file, document)
    patterns = 0
    for i, rule in enumerate(file.rules):
        patterns += sum(not isinstance(one, str) or one not in models for one in [*rule.candidates, *rule.fallback])
        if patterns * len(models) > MOST_PICKED:
            told = f"candidates: patterns would be held against models over {MOST_PICKED:,} times; write ids out"
            yield document.problem(("rules", i, "candidates"), told)
            return
        yield from _models_named(rule, models, document, ("rules", i))
        yield from _without_bar(rule, file.tasks, document, ("rules", i))


def _twice(names: Sequence[str]) -> Iterator[tuple[str, int]]:
    """Names that stood before, with their position."""
    seen: set[str] = set()
    for position, name in enumerate(names):
        if name in seen:
            yield name, position
        seen.add(name)


def _models_named(rule: RuleEntry, models: Mapping[str, ModelEntry], document: Document, here: Path_) -> Iterator[str]:
    """Models of a rule that are not there."""
    ids = [*models]
    if rule.verifier is not None and rule.verifier not in models:
        hint = suggestion(rule.verifier, ids)
        yield document.problem((*here, "verifier"), f"verifier: no model has the id {shown(rule.verifier)}{hint}")
    for key, names in (("candidates", rule.candidates), ("fallback", rule.fallback)):
        for j, wanted in enumerate(names):
            if isinstance(found := picked(wanted, models), str):
                yield document.problem((*here, key, j), f"{key}: {found}")
    for key, trial in (("canary", rule.canary), ("shadow", rule.shadow)):
        if trial is not None and trial.model not in models:
            told = f"{key}: no model has the id {shown(trial.model)}{suggestion(trial.model, ids)}"
            yield document.problem((*here, key, "model"), told)
    yield from _own_shadow(rule, models, document, here)


def _without_bar(rule: RuleEntry, tasks: Mapping[str, object], document: Document, here: Path_) -> Iterator[str]:
    """Rules that ask for evidence of no bar."""
    asked = rule.when.task
    if rule.bar is not None or rule.strategy == "fixed" or rule.data.refuse is not None:
        return
    if asked is None:
        told = "a rule that matches every task needs its own bar (`bar: 0.9`; `bar: 0` takes the cheapest), "
        yield document.problem(here, f"{told}or `strategy: fixed`")
    for name in asked or ():
        if name not in tasks:
            told = f"task {shown(name)} has no bar: give the rule one or add it under `tasks`"
            yield document.problem((*here, "when", "task"), told + suggestion(name, list(tasks)))


def _own_shadow(rule: RuleEntry, models: Mapping[str, ModelEntry], document: Document, here: Path_) -> list[str]:
    """A model in the shadow of itself, which tells nothing."""
    shadow = rule.shadow
    if shadow is None or any(isinstance(picked(wanted, models), str) for wanted in rule.candidates):
        return []
    if listed(rule.candidates, models) != [shadow.model]:
        return []
    told = f"shadow: {shown(shadow.model)} is the rule's only candidate, and nothing is learned from its own shadow"
    return [document.problem((*here, "shadow", "model"), f"{told}; name another model")]


def _budgets_asked(file: PolicyFile, document: Document) -> Iterator[str]:
    """Rules that ask for a budget that is not there, or that nobody knows before a model is chosen."""
    budgets = {one.name: one for one in (entry.budget(tuple(file.required_tags or ())) for entry in file.budgets)}
    for i, entry in enumerate(file.budgets):
        if entry.scope == UNALLOCATED and not file.required_tags:
            told = "`unallocated` is what lacks a required tag; give `required_tags`"
            yield document.problem(("budgets", i, "scope"), told)
    for i, rule in enumerate(file.rules):
        for one in rule.when.each():
            if one.budget is None:
                continue
            where, name = ("rules", i, "when", "budget", "name"), one.budget.name
            if name not in budgets:
                told = f"budget: no budget is called {shown(name)}{suggestion(name, list(budgets))}"
                yield document.problem(where, told)
            elif budgets[name].asks_model:
                told = f"budget {shown(name)} depends on the model, which no rule knows before it has matched"
                yield document.problem(where, told)


def _tests_named(file: PolicyFile, document: Document) -> Iterator[str]:
    """Tests that speak of rules, models or budgets that are not there."""
    budgets = (entry.budget(tuple(file.required_tags or ())) for entry in file.budgets)
    found = strange_names(
        file.tests,
        rules=dict.fromkeys(rule.name or f"rule {i + 1}" for i, rule in enumerate(file.rules)),
        models=dict.fromkeys(model.id for model in file.models),
        budgets={one.name: one.asks_model for one in budgets},
    )
    return (document.problem(where, told) for where, told in found)
