"""Gates of a change: each is held, failed, or neither, for lack of evidence."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from router.predict.value import LEAST_EFFECTIVE
from router.simulate.compare import Comparison
from router.simulate.intervals import Interval

Verdict = Literal["held", "failed", "not enough evidence"]
HELD, FAILED, NOT_ENOUGH = 0, 1, 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a change may do; None: nobody asks."""

    cost_change: float | None = None
    """Relative: 0.05 is 5 % more."""
    quality_drop: float | None = None
    latency_change: float | None = None
    """Relative."""
    denied: float | None = None
    """Share of requests without an answer under the new policy."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """One of them, judged."""

    name: str
    limit: float
    verdict: Verdict
    why: str


def judge(found: Comparison, limits: Limits) -> list[Gate]:
    """Judge each gate that is asked for by the whole interval, its extrapolated part included.

    Args:
        found: of which the total is judged.
        limits: of the change.
    """
    return list(_judged(found, limits))


def exit_code(gates: Sequence[Gate]) -> int:
    """0 all held, 1 one failed, 2 one cannot be told (which goes before)."""
    verdicts = {gate.verdict for gate in gates}
    return NOT_ENOUGH if "not enough evidence" in verdicts else FAILED if "failed" in verdicts else HELD


def _judged(found: Comparison, limits: Limits) -> Iterator[Gate]:
    total = found.total
    if limits.cost_change is not None:
        yield _gate("cost change", limits.cost_change, total.cost, total.unknown.get("cost", 0), "{:+.1%}")
    if limits.quality_drop is not None:
        one = total.quality
        drop = Interval(value=_minus(one.value), low=_minus(one.high), high=_minus(one.low), worst=_minus(one.best),
                        best=_minus(one.worst))  # fmt: skip
        few = found.effective_n is not None and found.effective_n < LEAST_EFFECTIVE and total.changed > 0
        why = (
            f"{found.effective_n:.0f} effective scored answers, below {LEAST_EFFECTIVE:.0f}; serve with "
            "`learning: {from_feedback: true, explore: 0.05}` for a while"
            if few and found.effective_n is not None
            else None
        )
        yield _gate("quality drop", limits.quality_drop, drop, 0, "{:+.4f}", why)
    if limits.latency_change is not None:
        yield _gate("latency change", limits.latency_change, total.latency, total.unknown.get("latency", 0),
                    "{:+.1%}")  # fmt: skip
    if limits.denied is not None:
        yield _gate("denied", limits.denied, total.after.denied, 0, "{:.2%}")


def _gate(name: str, limit: float, one: Interval, unknown: int, form: str, lacks: str | None = None) -> Gate:
    verdict: Verdict = "not enough evidence"
    if lacks is not None:
        why = lacks
    elif one.ends is None:
        why = "too few requests tell it" if one.value is not None else "nothing recorded tells it"
    elif unknown:
        why = f"unknown of {unknown:,} requests"
    else:
        low, high = one.ends
        verdict = "held" if high <= limit else "failed" if low > limit else verdict
        why = f"{form.format(low)} to {form.format(high)}"
        if (low, high) != (one.low, one.high):
            why += ", whatever the extrapolated part is worth"
    return Gate(name=name, limit=limit, verdict=verdict, why=why)


def _minus(value: float | None) -> float | None:
    return None if value is None else -value + 0.0
