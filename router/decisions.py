"""The vocabulary of a decision: which kind of work a request is, who could serve it, and why one does.

All values are frozen; money, probabilities and qualities are as in `router.types`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskGuess:
    """Which kind of work a request is."""

    task: str | None
    """None: not recognised."""
    probability: float
    by: Literal["label", "classifier", "none"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """What the trained artifact expects of one model on one request."""

    quality: float
    """Expected quality (for pass/fail tasks: P(the answer clears)), in [0, 1]."""
    quality_low: float
    quality_high: float
    """Interval around `quality`; a wide one means "I do not know"."""
    output_tokens: float
    """Mean: what bills add up to."""
    output_tokens_p50: float
    """Half of the answers are at most so long."""
    output_tokens_p95: float
    """95 of 100 answers are at most so long: what to hold back from a budget until the bill is there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Dollars:
    """Expected USD of one call, by meter: input, cached, output and thinking add up to the total."""

    input_usd: Decimal
    """Input that the provider has to read anew."""
    cached_usd: Decimal
    """Input that its prompt cache is expected to hold."""
    output_usd: Decimal
    """Output; with the thinking in it where `thinking_usd` is None."""
    thinking_usd: Decimal | None = None
    """Reasoning tokens, by the share they had in this model's answers so far; None: nobody knows."""
    switch_usd: Decimal = Decimal(0)
    """What another model's warm prompt cache would save, and asking this one gives up. Not in the total: the other
    one's total has it taken off."""

    @property
    def total_usd(self) -> Decimal:
        """What the call itself is expected to cost."""
        return self.input_usd + self.cached_usd + self.output_usd + (self.thinking_usd or Decimal(0))


@dataclass(frozen=True, slots=True, kw_only=True)
class Warm:
    """A model whose provider holds the beginning of a request in its prompt cache, as far as we can tell."""

    model: str
    tokens: int
    """Estimated tokens of that beginning."""
    age_s: float
    """Seconds since it was last read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How long one call of a model takes, in seconds."""

    model: str
    median_s: float
    p95_s: float
    calls: int
    """Calls that say so; 0 where it is not counted."""
    of: Literal["attempts", "outcomes"]
    """`attempts`: recent calls in this task; `outcomes`: those that the artifact was trained on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What a decision looked at besides the text, so that it can be repeated; holds no text of the request."""

    at: str
    """The moment of the decision, ISO 8601."""
    bar: float | None = None
    """As the caller raised it."""
    max_cost_usd: Decimal | None = None
    """As the caller set it."""
    stream: bool = False
    has_media: bool = False
    params: Mapping[str, Any] = field(default_factory=dict)
    """Counts as given; of other parameters that matter, only that they were there (True)."""
    warm: tuple[Warm, ...] = ()
    paces: tuple[Pace, ...] | None = None
    """What was known of the candidates' latency; None where the rule does not limit it."""
    canary: str | None = None
    """Why the rule's canary had been rolled back; None where it goes on, or there is none."""
    session: str | None = None
    """The model that had answered the session last, where the rule is sticky."""
    asked: Mapping[str, Any] | None = None
    """What rules asked of the request and is not in its row: `language`, `modality`, `findings` (kinds, no text) and
    `used` (share of a budget, by name); None where none asked."""

    def asked_shown(self) -> str | None:
        """The same in words."""
        return shown_asked(self.asked)


def shown_asked(asked: Mapping[str, Any] | None) -> str | None:
    """What rules asked of a request, in words."""
    told = []
    for name, value in (asked or {}).items():
        if name == "used":
            shares = [f"{budget} {'not asked' if one is None else f'{one:.0%}'}" for budget, one in value.items()]
            told.append(f"used of budgets: {', '.join(shares)}")
        else:
            told.append(f"{name}: {value if isinstance(value, str) else ', '.join(value) or 'none'}")
    return "; ".join(told) or None


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """One model in a decision, with the reason it is in or out."""

    model: str
    is_in: bool
    reason: str
    quality: float | None = None
    """Expected quality: the prediction, else the evidence's mean; None when neither exists."""
    quality_low: float | None = None
    """Lower bound of the evidence behind it."""
    predicted_low: float | None = None
    predicted_high: float | None = None
    """90 % interval of the artifact's expectation for this request; None where it was not asked. A wide one means
    "I do not know"."""
    expected_cost_usd: Decimal | None = None
    """Total of `expected`."""
    expected: Dollars | None = None
    """What it is made of; None: nobody knows the price."""
    p95_cost_usd: Decimal | None = None
    """What 95 of 100 such calls cost at most, for a hold on a budget; None where no artifact predicts the length."""
    worst_cost_usd: Decimal | None = None
    """Upper bound of one attempt; only computed where a limit needs it."""
    propensity: float | None = None
    """Chance of being asked first, where the rule explores; None where nothing is left to chance."""
    latency_s: float | None = None
    """95 of 100 calls take at most so long; None where nobody knows, or the rule does not limit latency."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cached:
    """What the semantic cache said about one request; holds no text of it."""

    mode: str
    """`shadow` serves nothing, `on` serves hits."""
    outcome: Literal["hit", "miss", "verify", "refused"]
    """In shadow, `hit` would have been served. `verify`: a hit that was called all the same, as an audit."""
    reason: str
    entry: str | None = None
    """Id of the request whose answer it is, of a hit or an audit."""
    similarity: float | None = None
    """Cosine of the two questions."""
    p_wrong: float | None = None
    """Predicted chance that the stored answer is wrong here."""
    max_error: float | None = None
    """What the policy promises of wrong / hits."""
    wrong_upper: float | None = None
    """Upper bound of wrong / hits so far in this process, as the labels have it; only of a hit or an audit."""
    saves_usd: Decimal | None = None
    """Expected cost of the call that a hit saves, or in shadow would have saved."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shade:
    """A model in the shadow that was drawn for a request: it is asked the same after the answer, and never serves."""

    name: str
    """RULE/MODEL."""
    model: str
    barred: str | None = None
    """Why it cannot be asked; None: it can."""

    def shown(self) -> str:
        """In words."""
        told = "is drawn, to be asked after the answer" if self.barred is None else f"cannot be asked: {self.barred}"
        return f"shadow: {self.model} {told}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """Why a request goes where it goes: enough to explain it and to repeat it."""

    id: str
    task: TaskGuess
    rule: str
    """The policy rule that matched, by name or by file line; "pinned" for a pinned model."""
    strategy: str
    bar: float
    """Least mean quality; 0 where there is none, or where it is a drop."""
    plan: tuple[str, ...]
    """Model ids in the order in which they are tried; empty: no route."""
    candidates: tuple[Candidate, ...]
    policy_version: str
    """Hash of the policy's text and its evidence, first 12 hex digits."""
    artifact_version: str | None = None
    propensity: float = 1.0
    """Chance with which the plan's first model was first; below 1 only where the rule explores."""
    feedback_row: int = 0
    """Last row of the ledger's feedback that was known; 0 where the rule does not learn from feedback."""
    promise: str | None = None
    """What the learned plan promises at its operating point, or why no learned plan serves; None without artifact."""
    max_drop: float | None = None
    """Mean quality that may be lost against `versus`, where the bar is a drop."""
    versus: str | None = None
    data: str | None = None
    """What the rule says of the request's data, in words; None: nothing."""
    canary: str | None = None
    """The canary that took the request, as RULE/MODEL."""
    shadow: Shade | None = None
    """The model in the shadow that was drawn; None where none was."""
    shadow_of: str | None = None
    """Id of the request that this one is the shadow of."""
    squeezed: str | None = None
    """The budget that asked for cheaper routes, with its share; None where none did."""
    run_stop: str | None = None
    """What the run breaker would have stopped the request's run for, in shadow; None where it is in order."""
    facts: Facts | None = None
    """What was looked at besides the text; None where nothing was decided (an answer out of the cache)."""
    semantic: Cached | None = None
    """What the semantic cache said, where the rule asks it."""
    max_latency_ms: int | None = None
    """What the rule says of latency."""
    late: tuple[str, ...] | None = None
    """Models that a cascade would have asked, had there been time left for their answers."""

    verifier: str | None = None
    """The rule's verifier and whether it may be asked, or why not; None where the rule names none."""
    verdicts: Mapping[str, float | None] | None = None
    """What it said of which model's answer, 0 (wrong) to 1 (right); None of an answer: nothing that could be read."""

    def explain(self) -> str:
        """The decision in plain lines, one per candidate."""
        bar = f"{self.bar:g}" if self.max_drop is None else f"drop {self.max_drop:g} vs {self.versus}"
        head = f"task {self.task.task or 'unknown'} (by {self.task.by}), {self.rule}, bar {bar}, {self.strategy}"
        rows = [f"  {'→' if c.model in self.plan else '·'} {c.model}: {c.reason}" for c in self.candidates]
        promise = [f"  {self.promise}"] if self.promise else []
        asked = [f"  {told}"] if self.facts is not None and (told := self.facts.asked_shown()) else []
        asked += [f"  data: {self.data}"] if self.data else []
        if self.facts is not None and self.facts.canary is not None:
            asked.append(f"  the canary was rolled back: {self.facts.canary}")
        asked += [f"  {self.shadow.shown()}"] if self.shadow is not None else []
        return "\n".join([head, *asked, *promise, *rows, *self._checked(), *self._timed(), *self._cached()])

    def _checked(self) -> list[str]:
        if self.verifier is None:
            return []
        said = (self.verdicts or {}).items()
        words = [f"; of {model}'s answer: {'nothing' if word is None else f'{word:g}'}" for model, word in said]
        return [f"  verifier {self.verifier}{''.join(words)}"]

    def _timed(self) -> list[str]:
        if self.max_latency_ms is None:
            return []
        unknown = [c.model for c in self.candidates if c.latency_s is None]
        told = f"; unknown, and let through: {', '.join(unknown)}" if unknown else ""
        late = f"; no time was left to ask {', '.join(self.late)}" if self.late else ""
        return [f"  latency at most {self.max_latency_ms:,} ms{told}{late}"]

    def _cached(self) -> list[str]:
        said = self.semantic
        if said is None:
            return []
        alike = "" if said.similarity is None else f", similarity {said.similarity:.3f}"
        from_ = "" if said.entry is None else f", answer of {said.entry}"
        bound = "" if said.wrong_upper is None else f"; wrong / hits <= {said.wrong_upper:.2%}"
        return [f"  semantic cache ({said.mode}): {said.outcome}, {said.reason}{alike}{from_}{bound}"]
