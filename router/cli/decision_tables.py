"""A decision for a terminal: who was a candidate and why, what each was expected to cost, and what was billed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from rich.console import Console
from rich.table import Table

from router.decisions import Shade, shown_asked

MOST_COLUMNS = 100
MOST_RULES = 20
DIGITS = 3
"""Significant digits of an expectation; a bill keeps all of its digits."""


def show(decision: Mapping[str, Any] | None, past: Mapping[str, Any] | None) -> None:
    """Print a decision, given as JSON, and of a past request its end and its attempts.

    The ledger leaves out what is None, and older versions knew fewer keys; what is not said stays out.
    """
    console = Console(markup=False, highlight=False)
    console = Console(markup=False, highlight=False, width=min(console.width, MOST_COLUMNS))
    if decision is None:
        console.print(f"{(past or {}).get('id')}: no decision was written down")
    else:
        for line in _head(decision):
            console.print(line)
        for line in _way(decision.get("way")):
            console.print(line)
        if decision["candidates"]:
            console.print(_candidates(decision))
            for table in _dollars(decision):
                console.print(table)
    if past is not None:
        if past["attempts"]:
            console.print(_attempts(past["attempts"], decision))
        console.print(_end(past, decision))


def _head(decision: Mapping[str, Any]) -> list[str]:
    task = decision["task"]
    sure = f", {task['probability']:.2f}" if task["by"] == "classifier" else ""
    lines = [
        decision["id"],
        f"task {task.get('task') or 'unknown'} (by {task['by']}{sure}) · {decision['rule']} · "
        f"bar {_bar(decision)} · {decision['strategy']}",
        f"policy {decision['policy_version']}, artifact {decision.get('artifact_version') or 'none'}",
    ]
    if told := shown_asked((decision.get("facts") or {}).get("asked")):
        lines.append(f"asked by rules: {told}")
    if why := (decision.get("facts") or {}).get("canary"):
        lines.append(f"the canary was rolled back: {why}")
    if shade := decision.get("shadow"):
        lines.append(Shade(**shade).shown())
    if decision.get("shadow_of"):
        lines.append(f"in the shadow of {decision['shadow_of']}: asked after that was answered, and served to nobody")
    if decision.get("data"):
        lines.append(f"data: {decision['data']}")
    if decision.get("promise"):
        lines.append(f"promise: {decision['promise']}")
    for warm in (decision.get("facts") or {}).get("warm", ()):
        lines.append(f"warm: {warm['model']} read {warm['tokens']:,} tokens of this {warm['age_s']:.0f} s before")
    if decision.get("propensity", 1.0) != 1.0:
        lines.append(f"explored: the first model was first with a chance of {decision['propensity']:.3f}")
    if decision.get("verifier"):
        lines.append(_verifier(decision))
    if decision.get("max_latency_ms") is not None:
        lines.append(_latency(decision))
    if not decision["plan"]:
        lines.append("no model may serve it")
    return lines


def _way(way: Mapping[str, Any] | None) -> list[str]:
    """The rules on a request's way, where it is known: of a past request it is not."""
    if way is None:
        return []
    passed, met = way["passed"], way["met"]
    lines = [f"rule {one['rule']!r}: no, {one['why']}" for one in passed[:MOST_RULES]]
    if more := len(passed) - MOST_RULES:
        lines += [f"{more} more rules: no; --json has all"] if more > 0 else []
    return [*lines, f"rule {met['rule']!r}: yes, {met['why']}" if met else "no rule is for it"]


def _verifier(decision: Mapping[str, Any]) -> str:
    said = (decision.get("verdicts") or {}).items()
    words = [f"; of {model}'s answer: {'nothing' if word is None else f'{word:g}'}" for model, word in said]
    return f"verifier: {decision['verifier']}{''.join(words)}"


def _latency(decision: Mapping[str, Any]) -> str:
    told = f"latency: at most {decision['max_latency_ms']:,} ms; 95 of 100 calls take up to"
    known = [(one["model"], one.get("latency_s")) for one in decision["candidates"]]
    each = ", ".join(f"{model} {'unknown' if taken is None else f'{taken:.2f} s'}" for model, taken in known)
    late = f"; no time was left to ask {', '.join(decision['late'])}" if decision.get("late") else ""
    return f"{told}: {each}{late}"


def _bar(decision: Mapping[str, Any]) -> str:
    told = f"{decision['bar']:g}"
    if decision.get("max_drop") is None:
        return told
    drop = f"drop {decision['max_drop']:g} vs {decision['versus']}"
    return f"{told} and {drop}" if decision["bar"] else drop


def _candidates(decision: Mapping[str, Any]) -> Table:
    table = Table("", "model", "quality", "predicted", "evidence", "USD", "why", title="candidates")
    for column in table.columns[2:6]:
        column.justify = "right"
        column.no_wrap = True
    for one in decision["candidates"]:
        low, high = one.get("predicted_low"), one.get("predicted_high")
        table.add_row(
            "→" if one["model"] in decision["plan"] else "·",
            one["model"],
            _number(one.get("quality")),
            f"{low:.2f}-{high:.2f}" if low is not None and high is not None else "",
            f"≥ {one['quality_low']:.2f}" if one.get("quality_low") is not None else "",
            _usd(one.get("expected_cost_usd")),
            one["reason"],
        )
    return table


def _dollars(decision: Mapping[str, Any]) -> list[Table]:
    """Expected dollars by meter, where anything is known of them."""
    known = [one for one in decision["candidates"] if one.get("expected")]
    if not known:
        return []
    meters = ("input", "cached", "output", "thinking", "switch")
    table = Table("model", *meters[:4], "total", "a switch gives up", title="expected USD")
    for column in table.columns[1:]:
        column.justify = "right"
    for one in known:
        told = [_usd(one["expected"].get(f"{meter}_usd"), nothing="") for meter in meters]
        table.add_row(one["model"], *told[:4], _usd(one["expected_cost_usd"]), told[4])
    return [table]


def _attempts(attempts: Sequence[Mapping[str, Any]], decision: Mapping[str, Any] | None) -> Table:
    expected = {one["model"]: one.get("expected_cost_usd") for one in (decision or {}).get("candidates", ())}
    table = Table("", "model", "outcome", "input", "output", "expected", "billed", "s", title="calls, in order (USD)")
    for column in table.columns[3:]:
        column.justify = "right"
    for one in attempts:
        table.add_row(
            str(one["number"] + 1),
            f"{one['model']} ({one['role']})" if one.get("role") else one["model"],
            one["outcome"],
            _tokens(one["input_tokens"], one["cached_input_tokens"], "cached"),
            _tokens(one["output_tokens"], one["reasoning_tokens"], "thinking"),
            "" if one.get("role") else _usd(expected.get(one["model"])),
            _bill(one["cost_usd"]),
            f"{one['latency_s']:.1f}",
        )
    return table


def _end(past: Mapping[str, Any], decision: Mapping[str, Any] | None) -> str:
    billed = f"billed {_bill(past['cost_usd'])} USD"
    if past["cache"] == "exact":
        return f"out of the cache, {billed}"
    if past["cache"] == "semantic":
        return f"out of the cache, the answer to a question like it, {billed}"
    if past["model_served"] is None:
        return f"{past['outcome']}: {past['error']}; {billed}"
    asked = list(dict.fromkeys(one["model"] for one in past["attempts"] if not one.get("role")))
    spared = [model for model in (decision or {}).get("plan", ()) if model not in asked]
    steps = " → ".join(asked)
    tail = f"; not asked: {', '.join(spared)}" if spared else ""
    return f"{past['outcome']}: {steps}, the answer of {past['model_served']} stands; {billed}{tail}"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"


def _tokens(count: int | None, part: int | None, name: str) -> str:
    return "" if count is None else f"{count:,}" + (f" ({part:,} {name})" if part else "")


def _usd(value: str | None, *, nothing: str = "0") -> str:
    """An expectation, to three significant digits and without an exponent."""
    if value is None:
        return "?" if nothing else ""
    amount = Decimal(value)
    if not amount:
        return nothing
    return f"{amount.quantize(Decimal(1).scaleb(min(amount.adjusted() - DIGITS + 1, 0))).normalize():f}"


def _bill(value: Decimal | None) -> str:
    return "unknown" if value is None else f"{value.normalize():f}"
