"""What a policy says of a system of which only tags and tasks are known: rules, bars, budgets. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from router.policy import Policy, Rule, evidence_gap
from router.spend.budget import Balance, Budget

Known = Mapping[str, str | None]
"""Tags that are known of a system; None: its requests are without them. What is not in it may be anything."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Promise:
    """A bar that a system's requests are held against."""

    rule: str
    task: str | None
    bar: str
    """As an author wrote it; 0 where nothing is promised."""
    carried: int
    """Candidates that may be asked and whose evidence carries it today."""
    candidates: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Cap:
    """A budget that a system's calls are booked on."""

    budget: str
    scope: str
    window: str
    unit: str
    limit: Decimal
    """USD, or a count."""
    used: float | None
    """Settled and held, as a share of the limit with approvals, of the account that has least left; None: of none."""
    stops: bool
    """Whether calls are refused from some share on."""


def rules_met(policy: Policy, tags: Known, tasks: Collection[str | None], now: datetime) -> list[int]:
    """Positions of the rules that a system's requests may meet, in the order of the file."""
    found: set[int] = set()
    for task in tasks:
        for position, rule in enumerate(policy.rules):
            is_met = _meets(rule, tags, task, now)
            if is_met is not False:
                found.add(position)
            if is_met:
                break
    return sorted(found)


def _meets(rule: Rule, tags: Known, task: str | None, now: datetime) -> bool | None:
    """Whether a rule matches; None: it depends on what is not known."""
    when = rule.when
    if when.task is not None and task not in when.task:
        return False
    if (rule.from_ is not None and now < rule.from_) or (rule.until is not None and now >= rule.until):
        return False
    if any(name in tags and tags[name] not in values for name, values in when.tags.items()):
        return False
    others = (when.input_tokens, when.language, when.modality, when.tools, when.findings, when.time, when.budget)
    is_open = any(one is not None for one in others) or bool(when.not_) or any(name not in tags for name in when.tags)
    return None if is_open else True


def promises(policy: Policy, rules: Sequence[int], tasks: Collection[str | None], now: datetime) -> list[Promise]:
    """The bars of rules for tasks, and who carries them by evidence alone (an artifact is not asked)."""
    found = []
    for position in rules:
        rule = policy.rules[position]
        for task in sorted(tasks, key=lambda task: task or ""):
            if rule.when.task is not None and task not in rule.when.task:
                continue
            is_promise = rule.strategy != "fixed"
            bar, entry = policy.bar_of(rule, task), policy.tasks.get(task) if task else None
            able = [name for name in rule.candidates if policy.barred(name, now) is None]
            gaps = [
                evidence_gap(policy.evidence.get((task, name)) if task else None, task=task, model=policy.models[name],
                             bar=bar, metric=entry.metric if entry else None, now=now)
                for name in able
            ]  # fmt: skip
            found.append(
                Promise(
                    rule=policy.rule_name(position),
                    task=task,
                    bar=bar.shown() if is_promise else "0",
                    carried=sum(gap is None for gap in gaps) if is_promise else len(able),
                    candidates=len(rule.candidates),
                )
            )
    return found


def caps(
    budgets: Sequence[Budget], accounts: Sequence[Sequence[tuple[str, Balance]]], tags: Known,
    models: Collection[str], providers: Collection[str],
) -> list[Cap]:  # fmt: skip
    """The budgets over a system, and how the fullest account of each stands that its calls may be booked on.

    Args:
        budgets: of the policy.
        accounts: of each of them, as of `Holds.accounts`.
        tags: of the system.
        models: that its calls went to.
        providers: the same.
    """
    seen: dict[str, Collection[str]] = {"model": models, "provider": providers}
    seen |= {name: [value] if value is not None else [] for name, value in tags.items()}
    found = []
    for budget, booked in zip(budgets, accounts, strict=True):
        if not _is_over(budget, seen):
            continue
        shares = [_used(budget, balance) for account, balance in booked if _is_its(budget, account, seen)]
        scale = Decimal(10) ** -12 if budget.unit == "usd" else Decimal(1)
        found.append(
            Cap(
                budget=budget.name,
                scope=_scope(budget, seen),
                window=budget.window_shown,
                unit=budget.unit,
                limit=(budget.limit * scale).normalize(),
                used=max(shares, default=None),
                stops=budget.ceiling is not None,
            )
        )
    return found


def _is_over(budget: Budget, seen: Mapping[str, Collection[str]]) -> bool:
    if budget.lacking and all(seen.get(name) for name in budget.lacking):
        return False
    for name, allowed in budget.scope.items():
        if name in seen and not any(allowed is None or value in allowed for value in seen[name]):
            return False
    return True


def _is_its(budget: Budget, account: str, seen: Mapping[str, Collection[str]]) -> bool:
    values = budget.values_of(account) or {}
    return all(
        values.get(name) in seen[name] for name, allowed in budget.scope.items() if allowed is None and name in seen
    )


def _used(budget: Budget, balance: Balance) -> float:
    limit = budget.limit + balance.allowance
    return (balance.settled + balance.held) / limit if limit else 1.0


def _scope(budget: Budget, seen: Mapping[str, Collection[str]]) -> str:
    if budget.lacking:
        return f"without {' or '.join(budget.lacking)}"
    parts = [
        f"{name}={'|'.join(allowed) if allowed else '|'.join(sorted(seen.get(name, []))) or 'each'}"
        for name, allowed in budget.scope.items()
    ]
    return ", ".join(parts) or "everything"
