"""What two policies do with the same request, side by side."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class Rest:
    """What a request's figure owes to a mean over answers."""

    of: str
    """The mean; all that rests on the same one is wrong together."""
    error: float
    """What one standard error of the mean makes of the figure, in its unit."""
    freedom: float
    """Degrees of freedom behind the standard error."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """What one policy does with one request."""

    action: str | None
    """Models asked, in order, joined by ` > `; None: nobody was."""
    denied: str | None = None
    """Why it got no answer; None where it got one."""
    quality: float | None = None
    """Of the answer, in [0, 1]; None: unknown, or no answer. An off-policy estimate may lie outside."""
    cost_usd: float | None = None
    """Of all calls; 0 where nobody was asked; None: nobody knows."""
    latency_s: float | None = None
    extrapolated: bool = False
    """Whether quality and cost are expectations alone: nothing like it was recorded."""
    is_rough: bool = False
    """Whether not even the lengths of such answers are known, so that the cost may be half or double."""
    cost_rests: tuple[Rest, ...] = ()
    """Means that an expected cost rests on."""
    latency_rests: tuple[Rest, ...] = ()
    """The same of the latency."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """One request under both policies, `a` (before) and `b` (after)."""

    cluster: str
    """Requests of one cluster (a run, the same prompt) are alike and count as one draw."""
    scope: Mapping[str, str]
    """Task, tags and what else it may be grouped by."""
    a: Side
    b: Side
    plain: tuple[Side, Side] | None = None
    """The same without weights: how much one such request varies. None: `a` and `b` say it themselves."""
    noise: float = 0.0
    """Variance of the difference of the two answers' quality beyond `plain`, which holds expectations."""

    @property
    def is_changed(self) -> bool:
        """Whether another model is asked, or one that was not."""
        return self.a.action != self.b.action or (self.a.denied is None) != (self.b.denied is None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Simulated:
    """All requests, and what was left out."""

    pairs: list[Pair]
    left: Mapping[str, int] = field(default_factory=dict)
    """Requests left out, by reason."""
    notes: tuple[str, ...] = ()
    """What a reader has to know, a sentence each."""
    effective_n: float | None = None
    """Effective scored answers behind the quality of `b`; None where every answer was recorded."""
    replicates: Mapping[str, tuple[float, float]] | None = None
    """Standard deviations where budgets tie requests together: name -> (of the sample's mean, of one as long)."""
