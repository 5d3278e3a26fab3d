"""What a run says about a routing table: who could serve cheaper, and who must leave. A person decides."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean

from evals.outcomes import by_pair, value_of
from evals.plan import Asks
from evals.policy_diff import changed_text, unified
from evals.propose import evidence
from evals.stats import Interval, paired_bootstrap
from evals.store import Run
from evals.summary import Standing, standings
from evals.types import EvalError, Sample

SHOWN = 10
"""Discordant samples that are named in a proposal; there may be more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """One change, with what speaks for and against it."""

    task: str
    model: str
    kind: str
    """`enters`, `leaves`, or `serves` (a candidate already; its evidence alone moves the task)."""
    rule: str
    position: int
    """Of the rule in the policy, from 0."""
    serving: str | None
    """Who serves the task now."""
    bar: float
    lower: float
    n: int
    saved_usd: Interval | None = None
    """By 1,000 requests at list price, with its 95 % interval; None when a cost is unknown."""
    worse: tuple[str, ...] = ()
    """Samples that the serving model answers better."""
    better: tuple[str, ...] = ()

    def words(self) -> str:
        """The proposal in plain lines."""
        if self.kind == "leaves":
            head = f"{self.rule}: {self.model} leaves; on task {self.task} it fails bar {self.bar:g}"
        else:
            way = "enters and serves" if self.kind == "enters" else "serves (evidence alone moves it)"
            head = f"{self.rule}: {self.model} {way} task {self.task} instead of {self.serving or 'nobody'}"
        lines = [head, f"  lower bound {self.lower:.3f} against bar {self.bar:g}, {self.n} samples"]
        if self.saved_usd is not None:
            saved = self.saved_usd
            lines.append(
                f"  saves ${saved.value:.4f} by 1,000 requests (95 % interval ${saved.low:.4f} to ${saved.high:.4f})"
            )
        elif self.kind != "leaves":
            lines.append("  money unknown: the run has no costs of both on the same samples")
        for name, ids in (("worse", self.worse), ("better", self.better)):
            if ids:
                more = f" and {len(ids) - SHOWN} more" if len(ids) > SHOWN else ""
                lines.append(f"  {name} than {self.serving} on {', '.join(ids[:SHOWN])}{more}")
        return "\n".join(lines)


def proposals(run: Run, router: Asks, *, candidates: Sequence[str] | None = None) -> list[Proposal]:
    """Who could serve each task of a run cheaper by its evidence, and which candidate its evidence refutes.

    Args:
        run: a run.
        router: routes by the policy in question.
        candidates: only these may move; default all.

    Raises:
        EvalError: the run is no evidence (see `evals.propose.evidence`).
    """
    evidence(run, candidates=candidates)  # refuses a run with many failures or a version that changed
    by_task: dict[str, list[Standing]] = {}
    for standing in standings(run):
        by_task.setdefault(standing.task, []).append(standing)
    samples = run.samples()
    found: list[Proposal] = []
    for task, reached in by_task.items():
        first = next(sample for sample in samples if sample.task == task)
        decision = router.explain(first.messages, task=task)
        policy = router.policy
        named = [position for position in range(len(policy.rules)) if policy.rule_name(position) == decision.rule]
        if not named or policy.rules[named[0]].strategy == "fixed":
            continue  # a fixed route asks for no evidence, so evidence moves nothing
        rule = policy.rules[named[0]]
        asked = policy.bar_of(rule, task)
        serving = decision.plan[0] if decision.plan else None
        about = Proposal(task=task, model="", kind="", rule=decision.rule, position=named[0], serving=serving,
                         bar=asked.min, lower=0.0, n=0)  # fmt: skip
        chosen = [one for one in reached if candidates is None or one.candidate in candidates]
        if (best := _cheapest(chosen, asked.min, asked.confidence)) is not None and best.candidate != serving:
            current = next((one for one in reached if one.candidate == serving), None)
            if current is None or current.cost_usd is None or (best.cost_usd or 0) < current.cost_usd:
                kind = "serves" if best.candidate in rule.candidates else "enters"
                found.append(_compared(run, _at(about, best, kind), samples))
        for one in chosen:
            if one.candidate in rule.candidates and _fails(one, asked.min):
                found.append(_at(about, one, "leaves"))
    return found


def written_diff(found: Sequence[Proposal], router: Asks) -> str:
    """Proposals in words (lines that `patch` passes over) and, where a list of candidates changes, as a diff."""
    policy = router.policy
    path = Path(policy.path)
    lists: dict[int, list[str]] = {}
    by_hand: list[str] = []
    for proposal in found:
        names = lists.get(proposal.position, list(policy.rules[proposal.position].candidates))
        if proposal.kind == "enters" and proposal.model not in names:
            place = names.index(proposal.serving) if proposal.serving in names else 0
            lists[proposal.position] = [*names[:place], proposal.model, *names[place:]]
        elif proposal.kind == "leaves":
            tasks = policy.rules[proposal.position].when.task or ()
            refuted = {one.task for one in found if one.kind == "leaves" and one.model == proposal.model}
            if set(tasks) - refuted or not tasks:
                by_hand.append(f"{proposal.model} stays in {proposal.rule}, which serves other tasks as well; "
                               f"its evidence keeps it away from {proposal.task}")  # fmt: skip
            elif names != [proposal.model]:
                lists[proposal.position] = [name for name in names if name != proposal.model]
            else:
                by_hand.append(f"{proposal.model} is the only candidate of {proposal.rule}; name another one first")
    parts = [proposal.words() for proposal in found]
    hunks = ""
    for position, names in lists.items():
        try:
            changed_text(path, {position: names})
        except EvalError as error:
            by_hand.append(f"{error}: candidates: [{', '.join(names)}]")
            lists = {other: kept for other, kept in lists.items() if other != position}
    if lists:
        hunks = unified(path, changed_text(path, lists))
    head = "\n".join([*parts, *dict.fromkeys(by_hand)]) or "nothing to change: the run moves no task"
    return "".join(f"# {line}\n" for line in head.splitlines()) + hunks


def _at(proposal: Proposal, standing: Standing, kind: str) -> Proposal:
    return replace(proposal, model=standing.candidate, kind=kind, lower=standing.lower, n=standing.n)


def _cheapest(reached: Sequence[Standing], bar: float, confidence: float) -> Standing | None:
    held = [one for one in reached if one.lower >= bar and one.confidence >= confidence and one.cost_usd is not None]
    return min(held, key=lambda one: one.cost_usd or 0.0, default=None)


def _fails(standing: Standing, bar: float) -> bool:
    return replace(standing, bar=bar).verdict == "failed"


def _compared(run: Run, proposal: Proposal, samples: Sequence[Sample]) -> Proposal:
    """With money and discordant samples, over the samples that both have answered."""
    costs: list[tuple[float, float]] = []
    worse: list[str] = []
    better: list[str] = []
    is_priced = True
    pairs = by_pair(run)
    for sample in samples:
        old, new = pairs.get((sample.id, proposal.serving or "")), pairs.get((sample.id, proposal.model))
        if sample.task != proposal.task or old is None or new is None:
            continue
        priced = [result.list_cost_usd for results in (old, new) for result in results]
        is_priced = is_priced and None not in priced
        if is_priced:
            costs.append((fmean(r.list_cost_usd or 0 for r in old), fmean(r.list_cost_usd or 0 for r in new)))
        values = [[value for value in map(value_of, results) if value is not None] for results in (old, new)]
        if all(values) and fmean(values[0]) != fmean(values[1]):
            (worse if fmean(values[0]) > fmean(values[1]) else better).append(sample.id)
    saved = None
    if costs and is_priced:
        one = paired_bootstrap([old for old, _ in costs], [new for _, new in costs])
        saved = Interval(one.value * 1000, one.low * 1000, one.high * 1000)
    return replace(proposal, saved_usd=saved, worse=tuple(worse), better=tuple(better))
