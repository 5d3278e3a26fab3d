"""What a policy says of the run breaker: `breaker: {mode: shadow}`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from router.policy.sections import Section
from router.spend.breaker import Breaking

_Count = Annotated[int, Field(ge=2, le=1_000_000)]
_Above = Annotated[float, Field(gt=0, le=1_000_000, allow_inf_nan=False)]


class RunLimits(Section):
    """Limits that are given, and not learned from the workflow's runs."""

    cycle: _Count | None = None
    """Calls in a row that ask what was asked a lap before."""
    repeats: Annotated[int, Field(ge=2, le=64)] | None = None
    """How often one question may stand among the last 64 calls."""
    calls: _Count | None = None
    cost_usd: _Above | None = None
    usd_per_minute: _Above | None = None
    growth: Annotated[float, Field(gt=1, le=1_000_000)] | None = None
    """Input tokens of the last call over those of the first."""


class BreakerEntry(Section):
    """When runs of workflows are stopped."""

    mode: Literal["off", "shadow", "on"] = "off"
    """`shadow` writes down which runs it would have stopped, and stops none."""
    limits: RunLimits = RunLimits()
    factor: Annotated[float, Field(ge=1, le=1_000)] = 3.0
    """Calls, cost and growth may be so many times the 99th percentile of the workflow's runs."""

    @model_validator(mode="before")
    @classmethod
    def _mode_alone(cls, value: object) -> object:
        return value if isinstance(value, dict) else {"mode": value}

    def breaking(self) -> Breaking:
        """As runs are judged by it."""
        return Breaking(mode=self.mode, limits=self.limits.model_dump(exclude_none=True), factor=self.factor)
