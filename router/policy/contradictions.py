"""Mistakes of a policy that only show when its parts are held against each other."""

from __future__ import annotations

from collections.abc import Mapping

from router.config import Document, Path_, shown, suggestion
from router.policy.cases import strange_names
from router.policy.picks import listed, picked
from router.policy.schema import Bar, ModelEntry, PolicyFile, RuleEntry
from router.spend.budget import UNALLOCATED


def contradictions(file: PolicyFile, document: Document) -> list[str]:
    """Mistakes that only show when the parts are held against each other."""
    ids = [model.id for model in file.models]
    models = {model.id: model for model in file.models}
    problems = [
        document.problem(("models", i, "id"), f"model id {shown(name)} stands here for the second time; ids are unique")
        for i, name in enumerate(ids)
        if name in ids[:i]
    ]
    bars: list[tuple[Path_, Bar]] = [(("tasks", name, "bar"), entry.bar) for name, entry in file.tasks.items()]
    bars += [(("rules", i, "bar"), rule.bar) for i, rule in enumerate(file.rules) if rule.bar is not None]
    problems += [
        document.problem((*here, "vs"), f"vs: no model has the id {shown(bar.vs)}{suggestion(bar.vs, ids)}")
        for here, bar in bars
        if bar.vs is not None and bar.vs not in ids
    ]
    problems += _budgets_asked(file, document)
    problems += _tests_named(file, document)
    for i, rule in enumerate(file.rules):
        here = ("rules", i)
        if rule.verifier is not None and rule.verifier not in ids:
            hint = suggestion(rule.verifier, ids)
            problems.append(
                document.problem((*here, "verifier"), f"verifier: no model has the id {shown(rule.verifier)}{hint}")
            )
        for key, names in (("candidates", rule.candidates), ("fallback", rule.fallback)):
            problems += [
                document.problem((*here, key, j), f"{key}: {found}")
                for j, wanted in enumerate(names)
                if isinstance(found := picked(wanted, models), str)
            ]
        for key, trial in (("canary", rule.canary), ("shadow", rule.shadow)):
            if trial is not None and trial.model not in models:
                told = f"{key}: no model has the id {shown(trial.model)}{suggestion(trial.model, ids)}"
                problems.append(document.problem((*here, key, "model"), told))
        problems += _own_shadow(rule, models, document, here)
        asked = rule.when.task
        if rule.bar is None and rule.strategy != "fixed" and rule.data.refuse is None:
            if asked is None:
                problems.append(
                    document.problem(
                        here,
                        "a rule that matches every task needs its own bar (`bar: 0.9`; `bar: 0` takes the cheapest), "
                        "or `strategy: fixed`",
                    )
                )
            for name in asked or ():
                if name not in file.tasks:
                    problems.append(
                        document.problem(
                            (*here, "when", "task"),
                            f"task {shown(name)} has no bar: give the rule one or add it under `tasks`"
                            f"{suggestion(name, list(file.tasks))}",
                        )
                    )
    return problems


def _own_shadow(rule: RuleEntry, models: Mapping[str, ModelEntry], document: Document, here: Path_) -> list[str]:
    """A model in the shadow of itself, which tells nothing."""
    shadow = rule.shadow
    if shadow is None or any(isinstance(picked(wanted, models), str) for wanted in rule.candidates):
        return []
    if listed(rule.candidates, models) != [shadow.model]:
        return []
    told = f"shadow: {shown(shadow.model)} is the rule's only candidate, and nothing is learned from its own shadow"
    return [document.problem((*here, "shadow", "model"), f"{told}; name another model")]


def _budgets_asked(file: PolicyFile, document: Document) -> list[str]:
    """Rules that ask for a budget that is not there, or that nobody knows before a model is chosen."""
    budgets = {one.name: one for one in (entry.budget(tuple(file.required_tags or ())) for entry in file.budgets)}
    problems = [
        document.problem(("budgets", i, "scope"), "`unallocated` is what lacks a required tag; give `required_tags`")
        for i, entry in enumerate(file.budgets)
        if entry.scope == UNALLOCATED and not file.required_tags
    ]
    for i, rule in enumerate(file.rules):
        for one in rule.when.each():
            if one.budget is None:
                continue
            where, name = ("rules", i, "when", "budget", "name"), one.budget.name
            if name not in budgets:
                told = f"budget: no budget is called {shown(name)}{suggestion(name, list(budgets))}"
                problems.append(document.problem(where, told))
            elif budgets[name].asks_model:
                told = f"budget {shown(name)} depends on the model, which no rule knows before it has matched"
                problems.append(document.problem(where, told))
    return problems


def _tests_named(file: PolicyFile, document: Document) -> list[str]:
    """Tests that speak of rules, models or budgets that are not there."""
    budgets = (entry.budget(tuple(file.required_tags or ())) for entry in file.budgets)
    found = strange_names(
        file.tests,
        rules=[rule.name or f"rule {i + 1}" for i, rule in enumerate(file.rules)],
        models=[model.id for model in file.models],
        budgets={one.name: one.asks_model for one in budgets},
    )
    return [document.problem(where, told) for where, told in found]
