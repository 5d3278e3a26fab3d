"""What one request may spend and has spent: admits each call, settles each reply."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Literal

from router.errors import BudgetExceededError, ProviderError
from router.spend.prices import Price, price_on
from router.spend.usage import answer_text, input_characters, tiers_of, usage_of
from router.tokens import count_request
from router.types import Attempt, Call, Reply, Request, Usage

_UNBOUNDED = ("web_search_options", "audio")


class Meter:
    """The money of one request.

    Args:
        prices: each model's dated prices, by policy model id.
        limit_usd: upper bound over all attempts of the request, or None.
        input_tokens: upper bound of the request's input tokens; only looked at under a limit.
        is_quiet: of errors, only the kind is written down: a provider's message may quote the prompt.

    After a timeout or a cut connection nobody knows what an attempt cost; under the limit it counts with
    its upper bound.
    """

    def __init__(
        self, prices: Mapping[str, Sequence[Price]], limit_usd: Decimal | None = None, input_tokens: int = 0,
        *, is_quiet: bool = False,
    ) -> None:  # fmt: skip
        self._prices, self._limit, self._input_tokens = prices, limit_usd, input_tokens
        self._is_quiet = is_quiet
        self._today = datetime.now(UTC).date()
        self._spent_worst = Decimal(0)
        self.held_usd: Decimal | None = None
        """Upper bound that budgets hold for the call under way; its attempt tells it."""
        self.attempts: list[Attempt] = []
        self.written = 0
        """How many of the attempts the ledger already has."""

    def price(self, model: str) -> Price | None:
        """The model's price today, or None when nobody knows it."""
        return price_on(self._prices[model], self._today)

    def worst_tokens(self, call: Call) -> int:
        """Upper bound of a call's input and output."""
        return self._worst_input(call) + (output_cap(call.params) or 0)

    def worst_usd(self, call: Call) -> Decimal | None:
        """Upper bound of one attempt, or None when the price is unknown."""
        price = self.price(call.model)
        made = output_cap(call.params) or 0
        return price.worst(self._worst_input(call), made, tiers=tiers_of(call.params)) if price else None

    def _worst_input(self, call: Call) -> int:
        """Upper bound of a call's input; a verifier reads other messages than those of the request."""
        if call.role != "verifier":
            return self._input_tokens
        return count_request(Request(id=call.request_id, messages=call.messages))

    def refusal(self, call: Call) -> BudgetExceededError | None:
        """Why a call may not be sent under the limit; None when it may."""
        if self._limit is None:
            return None
        spent = self._spent_worst
        worst = self.worst_usd(call)
        left = self._limit - spent
        if worst is not None and worst <= left:
            return None
        wants = "has an unknown price" if worst is None else f"may cost up to ${worst:f}"
        return BudgetExceededError(
            f"{call.model} {wants}; ${max(left, Decimal(0)):f} of the request's max_cost_usd ${self._limit:f} is left",
            scope="request", limit=self._limit, settled=spent, held=Decimal(0), fits_usd=max(left, Decimal(0)),
        )  # fmt: skip

    def settle(self, call: Call, outcome: Reply | ProviderError, latency_s: float) -> Attempt:
        """Book a whole reply, or a failure; a stream is booked by `settle_stream` when it ends."""
        if isinstance(outcome, ProviderError):
            # A refused or failed call costs nothing; after a timeout or a cut connection nobody knows.
            return self._book(call, "error", None, latency_s, error=f"{type(outcome).__name__}: {outcome}",
                              cost=Decimal(0) if outcome.is_billed is False else None)  # fmt: skip
        payload = outcome.payload or {}
        usage = usage_of(payload.get("usage"), call, answer_text(payload), payload.get("service_tier"))
        return self._book(call, "ok", usage, latency_s, payload=payload)

    def settle_stream(
        self, call: Call, payload: Mapping[str, Any], outcome: Literal["ok", "error", "cut"], latency_s: float,
        error: str | None = None,
    ) -> Attempt:  # fmt: skip
        """Book a stream by what was received of it, whether it came to its end or not."""
        usage = usage_of(payload.get("usage"), call, answer_text(payload), payload.get("service_tier"))
        return self._book(call, outcome, usage, latency_s, payload=payload, error=error)

    @property
    def cost_usd(self) -> Decimal | None:
        """Sum of all attempts; None when one of them is unknown."""
        costs = [attempt.cost_usd for attempt in self.attempts]
        return None if None in costs else sum((cost for cost in costs if cost is not None), Decimal(0))

    def _book(
        self, call: Call, outcome: Literal["ok", "error", "cut"], usage: Usage | None, latency_s: float, *,
        payload: Mapping[str, Any] | None = None, error: str | None = None, cost: Decimal | None = None,
    ) -> Attempt:  # fmt: skip
        price = self.price(call.model)
        if self._is_quiet and error:
            error = error.partition(":")[0]
        attempt = Attempt(
            model=call.model,
            call=call.deployment.call,
            outcome=outcome,
            error=error[:500] if error else None,
            usage=usage,
            cost_usd=price.cost(usage) if price and usage else cost,
            held_usd=self.held_usd,
            latency_s=latency_s,
            model_version=version_of(payload) if payload else None,
            price_id=price.id if price else None,
            input_characters=input_characters(call) if usage else None,
            role=call.role,
        )
        self.attempts.append(attempt)
        self.held_usd = None
        if attempt.cost_usd is not None:
            self._spent_worst += attempt.cost_usd
        elif self._limit is not None:
            self._spent_worst += self.worst_usd(call) or Decimal(0)
        return attempt


def unbounded(request: Request) -> str | None:
    """What of a request is billed by something else than text tokens, so that no bound is known; None: nothing."""
    if request.has_media:
        return "images or audio"
    return next((name for name in _UNBOUNDED if request.params.get(name)), None)


def output_cap(params: Mapping[str, Any]) -> int | None:
    """The most output tokens a call asks for (all `n` choices together), or None when it sets no cap."""
    # Where both names are given, servers differ in the one they obey: the bound is the larger.
    extra = params.get("extra_body")
    places = (params, extra) if isinstance(extra, Mapping) else (params,)
    caps = [int(cap) for at in places for name in ("max_completion_tokens", "max_tokens") if (cap := at.get(name))]
    return max(caps) * choices_of(params) if caps else None


def choices_of(params: Mapping[str, Any]) -> int:
    """How many answers a call asks for."""
    extra = params.get("extra_body")
    places = (params, extra) if isinstance(extra, Mapping) else (params,)
    return max(int(at.get(name) or 1) for at in places for name in ("n", "best_of"))


def version_of(payload: Mapping[str, Any]) -> str | None:
    """What the provider says it served: the fingerprint of pinned weights, else the model's name."""
    fingerprint = payload.get("system_fingerprint")
    if isinstance(fingerprint, str) and fingerprint.startswith("sha256:"):
        return fingerprint
    model = payload.get("model")
    return model if isinstance(model, str) else None
