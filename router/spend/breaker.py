"""The run breaker: when a run of a workflow turns in circles or runs away, judged by what is normal for its workflow.

Pure: a run's state goes in and comes out. Six readings are looked at before each request, so a run is stopped within
seconds, by its calls and not by a bill:

- `cycle`: calls in a row that ask what was asked one lap before; a lap is 1 to 8 calls, so A-B-A-B is seen;
- `repeats`: how often one question stands among the last 64 calls;
- `calls`: of the whole run;
- `cost_usd`: of the whole run;
- `usd_per_minute`: cost, each call weighted by exp(-age / 60 s);
- `growth`: input tokens of the last call over those of the first (at least 1,000).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

READINGS = ("cycle", "repeats", "calls", "cost_usd", "usd_per_minute", "growth")
LONGEST_LAP = 8
RECENT = 64
MINUTE_S = 60.0
LEAST_RUNS = 20
"""Runs of a workflow from which on its own history says what is normal."""
UNKNOWN: Mapping[str, float] = {
    "cycle": 8, "repeats": 24, "calls": 500, "cost_usd": 25.0, "usd_per_minute": 10.0, "growth": 100,
}  # fmt: skip
"""Limits of a workflow without a history."""
FLOORS: Mapping[str, float] = {
    "cycle": 8, "repeats": 16, "calls": 50, "cost_usd": 0.50, "usd_per_minute": 0.25, "growth": 10,
}  # fmt: skip
"""No limit is learned below these: what is smaller is not worth a stopped run."""
MARGIN: Mapping[str, float] = {"cycle": 5, "repeats": 8}
"""Questions that come back are counted: so many more than ever before. The others are measured, and multiplied."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Breaking:
    """What a policy says of the breaker."""

    mode: Literal["off", "shadow", "on"] = "off"
    limits: Mapping[str, float] = field(default_factory=dict)
    """Readings whose limit is given, and not learned."""
    factor: float = 3.0
    """A measured reading may be so many times the 99th percentile of its workflow's runs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunState:
    """What is remembered of a run; holds no text."""

    calls: int = 0
    cost_usd: float = 0.0
    rate_usd: float = 0.0
    """Decayed sum of costs, as of `rate_at_s`."""
    rate_at_s: float = 0.0
    first_input: int = 0
    last_input: int = 0
    recent: tuple[int, ...] = ()
    """Fingerprints of the last calls, oldest first."""
    laps: tuple[int, ...] = (0,) * LONGEST_LAP
    """For laps of 1, 2, ... calls: how many of the latest calls in a row equal the one a lap before."""

    def asked(self, fingerprint: int) -> RunState:
        """After a request that is about to be sent."""
        recent = self.recent
        laps = tuple(
            streak + 1 if len(recent) >= lap and recent[-lap] == fingerprint else 0
            for lap, streak in enumerate(self.laps, 1)
        )
        return replace(self, calls=self.calls + 1, recent=(*recent, fingerprint)[-RECENT:], laps=laps)

    def paid(self, cost_usd: float, input_tokens: int, at_s: float) -> RunState:
        """After a request that was answered, or failed: what it cost and read."""
        return replace(
            self,
            cost_usd=self.cost_usd + cost_usd,
            rate_usd=self._rate(at_s) + cost_usd,
            rate_at_s=max(at_s, self.rate_at_s),
            first_input=self.first_input or input_tokens,
            last_input=input_tokens or self.last_input,
        )

    def readings(self, at_s: float) -> dict[str, float]:
        """All of `READINGS`, at a moment in seconds since 1970."""
        most = max(Counter(self.recent).values(), default=0)
        return {
            "cycle": max(self.laps),
            "repeats": most,
            "calls": self.calls,
            "cost_usd": self.cost_usd,
            "usd_per_minute": self._rate(at_s),
            "growth": self.last_input / max(1_000, self.first_input),
        }

    def _rate(self, at_s: float) -> float:
        return self.rate_usd * math.exp(-max(0.0, at_s - self.rate_at_s) / MINUTE_S)


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """From which value on a reading stops a run."""

    most: float
    basis: str
    """What it rests on, in words: the policy, so many runs, or nothing yet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trip:
    """Why a run is stopped."""

    reason: str
    """One of `READINGS`."""
    value: float
    limit: float
    basis: str

    def shown(self) -> str:
        """In words."""
        return f"{_WORDS[self.reason].format(_number(self.value))} (limit {_number(self.limit)}, {self.basis})"


_WORDS = {
    "cycle": "{} calls in a row ask what was asked a lap before",
    "repeats": "one question stands {} times among the last calls",
    "calls": "{} calls",
    "cost_usd": "${} spent",
    "usd_per_minute": "${} a minute",
    "growth": "the context is {} times as long as at the start",
}


def learned_limits(peaks: Mapping[str, Sequence[float]], settings: Breaking) -> dict[str, Limit]:
    """Limits for a workflow's runs.

    A counted reading may be `MARGIN` above the 99.9th percentile of the workflow's runs, a measured one `factor` times
    the 99th; never below `FLOORS`.

    Args:
        peaks: for each reading, the highest value of each of the workflow's recent runs.
        settings: the policy's own limits stand as they are.
    """
    limits = {}
    for name in READINGS:
        known = sorted(peaks.get(name, ()))
        if name in settings.limits:
            limits[name] = Limit(most=settings.limits[name], basis="the policy's")
        elif len(known) < LEAST_RUNS:
            limits[name] = Limit(most=UNKNOWN[name], basis=f"a default: {len(known)} runs known")
        else:
            if name in MARGIN:
                most = _quantile(known, 0.999) + MARGIN[name]
            else:
                most = settings.factor * _quantile(known, 0.99)
            limits[name] = Limit(most=max(FLOORS[name], most), basis=f"from {len(known):,} runs of the workflow")
    return limits


def trip_of(readings: Mapping[str, float], limits: Mapping[str, Limit]) -> Trip | None:
    """The first reading that has reached its limit, in the order of `READINGS`; None: the run may go on."""
    for name in READINGS:
        limit = limits[name]
        if readings[name] >= limit.most:
            return Trip(reason=name, value=readings[name], limit=limit.most, basis=limit.basis)
    return None


def _quantile(ascending: Sequence[float], share: float) -> float:
    """The smallest value with at least this share of the values at or below it."""
    return ascending[max(0, math.ceil(share * len(ascending)) - 1)]


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 1_000 or value == int(value) else f"{value:.3g}"
