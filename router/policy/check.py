"""What is wrong or missing in a policy that loads: evidence, prices, keys."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from itertools import islice

from router import entities
from router.config import Path_, shown, suggestion
from router.policy.binding import never_binding, slips
from router.policy.evidence import DROP_NEEDS_ARTIFACT, evidence_gap
from router.policy.finding import Finding, warning
from router.policy.governance import governed
from router.policy.inline_keys import inline_keys
from router.policy.models import CAPABILITIES
from router.policy.policy import Policy
from router.policy.reach import unreached
from router.policy.schema import Bar, Rule
from router.policy.servable import never_asked

MOST_FOUND = 1_000
"""Findings of one kind that are told."""
MOST_PAIRS = 1_000_000
Carries = Callable[[Rule, str, Bar], str | None]
"""Why the policy's artifact does not carry a rule's bar for a task; None where it does."""


def check(policy: Policy, now: datetime | None = None, carries: Carries | None = None) -> list[Finding]:
    """Findings about a loaded policy; empty when nothing is missing.

    Args:
        policy: as loaded.
        now: for evidence that expires; default the clock.
        carries: of its artifact. Where that carries a bar as a whole, candidates must have been measured, but need
            not reach the bar alone.
    """
    now = now or datetime.now(UTC)
    findings = [Finding(level="evidence", text=problem) for problem in policy.evidence_problems]
    for position, model in enumerate(policy.models.values()):
        here = ("models", position)
        for place in policy.deployments[model.id]:
            if place.api_key_env and not os.environ.get(place.api_key_env):
                told = f"model {shown(model.id)}: {place.api_key_env} is not set; calls will fail"
                findings.append(warning(policy, (*here, "api_key_env"), told))
        for name in model.capabilities or ():
            if name not in CAPABILITIES:
                hint = suggestion(name, CAPABILITIES)
                told = f"model {shown(model.id)}: nothing asks for the capability {shown(name)}{hint}"
                findings.append(warning(policy, (*here, "capabilities"), told))
        if not policy.prices[model.id]:
            told = f"model {shown(model.id)}: price unknown; give `price: {{input: ..., output: ...}}`"
            findings.append(warning(policy, here, told))
    if policy.required_tags and not any(one.lacking for one in policy.budgets.each):
        told = "nothing limits requests without them; add a budget with `scope: unallocated`"
        told = f"required_tags [{', '.join(policy.required_tags)}]: {told}"
        findings.append(warning(policy, ("required_tags",), told))
    if policy.data.store_text == "full":
        told = f"stores prompts and answers as they are for {policy.data.keep_days} days"
        told = f"data: {told}; `store_text: redacted` takes out addresses, numbers and keys"
        findings.append(warning(policy, ("data", "store_text"), told))
    kinds = (
        _not_installed(policy), inline_keys(policy), slips(policy), never_binding(policy), unreached(policy, now),
        never_asked(policy, now), _unproved(policy, now, carries), governed(policy, now),
    )  # fmt: skip
    for kind in kinds:
        some = [*islice(kind, MOST_FOUND + 1)]
        if len(some) > MOST_FOUND:
            some[-1] = warning(policy, (), f"more findings like the one before than the {MOST_FOUND:,} that are told")
        findings += some
    return findings


def _unproved(policy: Policy, now: datetime, carries: Carries | None) -> Iterator[Finding]:
    """Candidates without evidence for a bar."""
    pairs = 0
    for i, rule in enumerate(policy.rules):
        here: Path_ = ("rules", i, "candidates")
        pairs += len(rule.candidates) * max(1, len(rule.when.task or policy.tasks))
        if pairs > MOST_PAIRS:
            yield warning(policy, here, f"evidence is not looked for from here on: over {MOST_PAIRS:,} bars and models")
            return
        for told in _gaps(policy, rule, now, carries):
            yield Finding(level="evidence", text=policy.document.problem(here, told))


def _not_installed(policy: Policy) -> Iterator[Finding]:
    """What rules ask for, and this machine does not have."""
    if policy.caches_alike and (reason := _no_embedder()):
        first = next(i for i, rule in enumerate(policy.rules) if rule.cache.looks_alike)
        told = f"cache: requests that are only alike are not looked up: {reason}"
        yield warning(policy, ("rules", first, "cache"), told)
    if (asks := policy.names_asked) is not None and (reason := entities.missing()):
        told = f"findings: names cannot be found here, and no router starts: {reason}"
        yield warning(policy, ("rules", asks, "when"), told)


def _no_embedder() -> str | None:
    from router.embedding import missing  # numpy stays out of policies that do not need it

    return missing()


def _gaps(policy: Policy, rule: Rule, now: datetime, carries: Carries | None) -> list[str]:
    if rule.strategy == "fixed":
        return []
    tasks: list[str | None] = [*(rule.when.task or policy.tasks)] or [None]
    gaps = []
    for task in tasks:
        entry = policy.tasks.get(task) if task else None
        bar, metric = policy.bar_of(rule, task), entry.metric if entry else None
        why = carries(rule, task, bar) if carries and task else DROP_NEEDS_ARTIFACT
        if bar.max_drop is not None and why is not None:
            if set(rule.candidates) != {bar.vs}:
                gaps.append(_drop_gap(bar, task, why))
            continue
        found, asked = len(gaps), 0
        for name in rule.candidates:
            if policy.barred(name, now):
                continue  # nobody asks it, whatever its evidence
            asked += 1
            evidence = policy.evidence.get((task, name)) if task else None
            model, is_alone = policy.models[name], why is not None
            gap = evidence_gap(evidence, task=task, model=model, bar=bar, metric=metric, now=now, is_alone=is_alone)
            if gap:
                gaps.append(
                    f"candidate {shown(name)}: {gap}. Run: clearbar eval run SUITE --candidates {name} --out RUN, "
                    f"then clearbar eval propose RUN --out {policy.evidence_folder}"
                )
        if asked and len(gaps) - found == asked and not rule.fallback:
            gaps[-1] += f". Until then nobody serves task {task or 'unknown'} here: give the rule a `fallback`"
    return gaps


def _drop_gap(bar: Bar, task: str | None, why: str) -> str:
    return (
        f"bar {bar.shown()} of task {task or 'unknown'}: {why}; until a plan carries it, no candidate but "
        f"{bar.vs!r} serves. Run: clearbar train --outcomes FILE --out DIR, with outcomes of {bar.vs!r} and of the "
        "candidates"
    )
