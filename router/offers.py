"""What every candidate offers for one request: whether it may serve, how good it should be, and at what price."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal

from router.decisions import Dollars, Prediction
from router.pace import TimeLimit
from router.policy import Bar, Evidence, ModelEntry, Policy, RuleData, evidence_gap
from router.select import Offer
from router.spend.expected import cache_saving, expected_dollars
from router.spend.meter import choices_of, output_cap, unbounded
from router.spend.prices import PER_MILLION, Price, price_on
from router.spend.usage import tiers_of
from router.tokens import estimate_tokens
from router.types import Request
from router.warmth import Known

TYPICAL_OUTPUT_TOKENS = 256
"""Expected output where no artifact predicts it; only used to compare prices."""


class Sheet:
    """Everything that is the same for all offers of one request.

    Args:
        request: what is asked.
        policy: the routing table.
        task: the request's task, if known.
        bar: what a model has to carry.
        limit: upper bound over everything the request may be billed, in USD.
        input_bound: upper bound of its input tokens; only looked at under a limit.
        now: the moment, which dates prices and ends evidence.
        known: which providers' prompt caches are warm, and which models think.
        time: what the rule says of latency.
        data: what the rule says of where the request may be sent.
    """

    def __init__(
        self,
        request: Request,
        policy: Policy,
        *,
        task: str | None,
        bar: Bar,
        limit: Decimal | None,
        input_bound: int,
        now: datetime,
        known: Known,
        time: TimeLimit | None = None,
        data: RuleData | None = None,
    ) -> None:
        self.request, self.policy, self.task, self.bar, self.limit = request, policy, task, bar, limit
        self.input_bound, self.now, self.known = input_bound, now, known
        self.time, self._data = time, data if data is not None and data.is_bound else None
        self.size = estimate_tokens(request.text)
        """Estimated tokens of its text."""
        self._standings = policy.standings
        self._asked_cap = output_cap(request.params)
        self._choices = choices_of(request.params)
        self._needed = _needs(request)
        self._warm = {one.model: one.tokens for one in known.warm}
        self._switch_usd = max(map(self._saving, self._warm), default=Decimal(0))
        entry = policy.tasks.get(task) if task is not None else None
        self._metric = entry.metric if entry else None

    def offer(
        self, name: str, prediction: Prediction | None = None, *, needs_evidence: bool, is_judged: bool = False,
        is_spare: bool = False, is_tried: bool = False,
    ) -> Offer:  # fmt: skip
        """What one model offers.

        Args:
            name: of the model.
            prediction: what the artifact expects of it.
            needs_evidence: without evidence asked for, no bar holds the model back.
            is_judged: the prediction's quality is held against the bar; else the evidence's mean is.
            is_spare: it only stands by, and may be slow: a late answer is better than none.
            is_tried: as a canary or shadow, for which models on trial are meant.
        """
        model = self.policy.models[name]
        price = self._price(name)
        evidence = self.policy.evidence.get((self.task, name)) if self.task is not None else None
        worst_usd = self._worst(model, price)
        dollars = self._expected(name, price, prediction)
        barred = self._withheld(name, is_tried=is_tried) or self._misfit(model, worst_usd)
        barred = barred or (None if is_spare else self._late(name))
        if barred is None and needs_evidence:
            barred = self._gap(model, evidence)
        quality = evidence.mean if evidence else None
        if prediction is not None and is_judged:
            quality = prediction.quality
        return Offer(
            model=name,
            barred=barred,
            quality=quality,
            quality_low=evidence.lower if evidence else None,
            prediction=prediction,
            expected_cost_usd=dollars.total_usd if dollars else None,
            expected=dollars,
            p95_cost_usd=self._most(price, prediction),
            worst_cost_usd=worst_usd,
            latency_s=pace.p95_s if self.time is not None and (pace := self.time.paces.get(name)) else None,
        )

    def misfit(self, name: str) -> str | None:
        """Why a model cannot take part in a plan that carries the bar as a whole."""
        model = self.policy.models[name]
        evidence = self.policy.evidence.get((self.task, name)) if self.task is not None else None
        misfit = self._withheld(name) or self._misfit(model, self._worst(model, self._price(name)))
        return misfit or self._late(name) or self._gap(model, evidence, is_alone=False)

    def _withheld(self, name: str, *, is_tried: bool = False) -> str | None:
        """Why nobody may ask the model, whatever the request."""
        standing = self._standings.get(name)  # most have none, and every candidate comes here
        if standing is None:
            return None
        return standing.barred(self.now, is_tried=is_tried or name == self.request.model)

    def _late(self, name: str) -> str | None:
        return self.time.fault([name]) if self.time is not None else None

    def _worst(self, model: ModelEntry, price: Price | None) -> Decimal | None:
        if self.limit is None or price is None:
            return None
        return price.worst(self.input_bound, self._cap(model), tiers=tiers_of(self.request.params))

    def _price(self, name: str) -> Price | None:
        return price_on(self.policy.prices.get(name, ()), self.now.date())

    def _gap(self, model: ModelEntry, evidence: Evidence | None, *, is_alone: bool = True) -> str | None:
        return evidence_gap(
            evidence, task=self.task, model=model, bar=self.bar, metric=self._metric, now=self.now, is_alone=is_alone
        )

    def _misfit(self, model: ModelEntry, worst_usd: Decimal | None) -> str | None:
        """Why the model cannot take this request, whatever its quality."""
        if self._data is not None and not any(map(self._data.allows, self.policy.deployments[model.id])):
            return f"none of its deployments may have the request's data ({self._data.where()})"
        able = model.capabilities
        if able is not None:
            missing = [need for need in self._needed if need not in able]
            if missing:
                return f"lacks the capability {missing[0]!r}"
        if model.context is not None and self.request.kind == "chat":
            size = self.size + (self._asked_cap or 0)
            if size > model.context:
                return f"about {size:,} tokens do not fit its context of {model.context:,}"
        if self.limit is None:
            return None
        if what := unbounded(self.request):
            return f"the cost of {what} cannot be bounded, and max_cost_usd asks for a bound"
        if worst_usd is None:
            return "its price is unknown, and max_cost_usd asks for a bound"
        return f"may cost up to ${worst_usd:f}, above max_cost_usd ${self.limit:f}" if worst_usd > self.limit else None

    def _cap(self, model: ModelEntry) -> int:
        if self.request.kind == "embedding":
            return 0
        return self._asked_cap or model.max_output_tokens * self._choices

    def _expected(self, name: str, price: Price | None, prediction: Prediction | None) -> Dollars | None:
        if price is None:
            return None
        return expected_dollars(
            price,
            self.size,
            self._made(prediction.output_tokens if prediction else TYPICAL_OUTPUT_TOKENS),
            cached_tokens=self._warm.get(name, 0),
            thinking_share=self.known.thinking.get(name),
            switch_usd=self._switch_usd if name not in self._warm else Decimal(0),
        )

    def _most(self, price: Price | None, prediction: Prediction | None) -> Decimal | None:
        """What 95 of 100 such calls cost at most, nothing of them cached."""
        if price is None or prediction is None:
            return None
        return (self.size * price.input + self._made(prediction.output_tokens_p95) * price.output) / PER_MILLION

    def _made(self, each: float) -> int:
        """Output tokens of all choices, if each has so many."""
        if self.request.kind == "embedding":
            return 0
        made = round(each * self._choices)
        return min(made, self._asked_cap) if self._asked_cap else made

    def _saving(self, name: str) -> Decimal:
        """What asking a model with a warm prompt cache saves there."""
        return cache_saving(self._price(name), sum(one.tokens for one in self.known.warm if one.model == name))


def _needs(request: Request) -> Sequence[str]:
    if request.kind == "embedding":
        return ("embedding",)
    return [
        need
        for need, is_needed in (
            ("tools", bool(request.params.get("tools") or request.params.get("functions"))),
            ("vision", request.has_media),
            ("json", bool(request.params.get("response_format"))),
        )
        if is_needed
    ]
