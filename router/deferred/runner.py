"""One run over the queue: what was lost is looked for, what has ended is settled, what waits is sent or asked live.

Every step is written down before it is taken, so that a killed run is taken up by the next one.
"""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

from router import flow
from router._calls import calls_of
from router._journey import Journey, Lost
from router._kit import Kit
from router.decide import Ruling
from router.deferred.forms import read_decision, read_deployment, read_request
from router.deferred.queue import Batch, Queue, Row
from router.errors import ProviderError, ProviderTimeoutError, ProviderUnavailableError, RateLimitedError, RouterError
from router.policy import OFF
from router.spend.budget import Denial
from router.spend.meter import output_cap, unbounded
from router.spend.prices import STANDARD, Price
from router.transports.litellm_batches import LiteLLMBatches, Standing, can_send
from router.types import Call, Completion, Reply, Request, to_json

TIER = "batch"
LINES = 10_000
"""Of one batch at most; providers allow 50,000."""
ASKED_AT_MOST = 2
"""So often a request is asked live: a second time only where the process was killed while it asked."""
HELD_DAYS = 7
"""So long after its deadline a hold is given back, should nobody ever run the queue again."""
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ran:
    """What one run did."""

    sent: int = 0
    """Requests that went into batches."""
    settled: int = 0
    """Requests that a batch answered."""
    live: int = 0
    """Requests that were asked live, whether they were answered or not."""
    failed: int = 0
    """Of these, without an answer."""
    open: int = 0
    """Requests that wait still, or are in a batch."""
    is_busy: bool = False
    """Another process is at it; nothing was done."""


class Runner:
    """Works on a queue.

    Args:
        kit: the policy that holds now, and its books.
        queue: what waits.
        provider: sends batches; None: nothing can be sent, everything is asked live.
        live: asks a request as any other; what was lost in a batch is booked before.
    """

    def __init__(
        self,
        kit: Kit,
        queue: Queue,
        provider: LiteLLMBatches | None,
        live: Callable[[Request, Lost | None], Completion],
    ) -> None:
        self._kit, self._queue, self._provider, self._live = kit, queue, provider, live
        self._sent = self._settled = self._asked = self._failed = 0

    def run(self) -> Ran:
        """One run; returns at once where another process is at it."""
        with self._queue.turn() as is_mine:
            if not is_mine:
                return Ran(is_busy=True)
            for batch in self._queue.open_batches():
                self._follow(batch)
            self._send()
            for row in self._queue.in_state("live"):
                self._ask(row)
            self._queue.forget(self._kit.policy.data.keep_days)
            waits = len(self._queue.in_state("waiting")) + len(self._queue.in_state("batched"))
        return Ran(sent=self._sent, settled=self._settled, live=self._asked, failed=self._failed, open=waits)

    def _follow(self, batch: Batch) -> None:
        """Look how a batch stands; settle it, look for it, or give up waiting for it."""
        rows = self._queue.in_state("batched", batch.id)
        if not rows:
            self._queue.close_batch(batch.id)
            return
        call = _call_of(rows[0], batch)
        provider_id = batch.provider_id
        try:
            if self._provider is None:
                raise ProviderUnavailableError("batches cannot be read without litellm's transport", model=batch.model)
            if provider_id is None:  # the process was killed while it sent it, or heard no answer
                provider_id = self._provider.find(call, batch.id)
                if provider_id is None:
                    self._queue.wait_again(batch.id)
                    return
                self._queue.sent(batch.id, provider_id)
            standing = self._provider.look(call, provider_id)
        except ProviderError as error:
            log.warning("batch %s cannot be read now: %s", batch.id, error)
            standing = Standing(state="out of reach", lines={})
        if standing.has_ended:
            for row in rows:
                self._settle(row, batch, standing)
            self._queue.close_batch(batch.id)
        else:
            self._give_up(rows, batch, provider_id, standing)

    def _settle(self, row: Row, batch: Batch, standing: Standing) -> None:
        """Book one line of a batch that has ended; without an answer its request is asked live."""
        line = standing.lines.get(row.id)
        body = (line or {}).get("body")
        choices = body.get("choices") if isinstance(body, dict) else None
        if not body or not isinstance(choices, list) or not choices or not all(isinstance(c, dict) for c in choices):
            status = (line or {}).get("status_code")
            told = f"the batch is {standing.state} without it" if line is None else f"its line failed (HTTP {status})"
            self._queue.to_live(row.id, told)
            return
        call = _call_of(row, batch)
        request = read_request(row.request)
        journey = Journey(request, self._kit.books, self._kit.caches, is_async=False)
        # What the rule says of caches and data holds as of now; a pinned model may be gone from the policy by now.
        decision = read_decision(row.decision or "")
        ruling = replace(self._kit.decide(replace(request, model=None)), decision=decision)
        if decision.canary is not None:  # also of one that was rolled back meanwhile: its answer is kept for nobody
            ruling = replace(ruling, canary=self._kit.policy.canaries.get(decision.canary), caching=OFF, session=None)
        journey.follow(ruling, {call.model: (), **self._kit.policy.prices})
        journey.meter.held_usd = None if row.held is None else Decimal(row.held)
        payload = {**body, "service_tier": TIER}
        # litellm's own usage has no word for the tier, a provider's may say `default`: it is billed as what it is.
        if isinstance(usage := payload.get("usage"), dict):
            payload["usage"] = {name: value for name, value in usage.items() if name != "service_tier"}
        journey.meter.settle(call, Reply(payload=payload), (time.time_ns() // 1000 - row.at_us) / 1e6)
        is_booked = self._kit.books.ledger.request(row.id) is not None  # by a run that was killed right after
        done = journey.tell(call, payload) if is_booked else journey.finish(call, payload)
        self._queue.end(row.id, answer=to_json(done), note="answered by a batch")
        self._settled += 1

    def _give_up(self, rows: list[Row], batch: Batch, provider_id: str | None, standing: Standing) -> None:
        """Ask live what can wait no longer; the batch is only cancelled when nobody waits for it any more."""
        due = [row for row in rows if row.live_us <= time.time_ns() // 1000]
        if due and len(due) == len(rows) and provider_id is not None and self._provider is not None:
            try:
                self._provider.cancel(_call_of(rows[0], batch), provider_id)
            except ProviderError as error:
                log.warning("batch %s could not be cancelled: %s", batch.id, error)
        for row in due:
            self._queue.to_live(row.id, f"the batch is {standing.state} near its deadline", is_billed=None)

    def _send(self) -> None:
        """Put what waits into batches, one for each place where a model is served."""
        groups: dict[tuple[str, str], list[tuple[Call, str, str | None]]] = {}
        for row in self._queue.in_state("waiting"):
            if row.live_us <= time.time_ns() // 1000:
                self._queue.to_live(row.id, f"its deadline is near{f'; {row.note}' if row.note else ''}")
                continue
            prepared = self._prepare(row)
            if isinstance(prepared, str):
                self._queue.to_live(row.id, prepared)
            elif prepared is not None:
                call = prepared[0]
                groups.setdefault((call.model, to_json(call.deployment)), []).append(prepared)
        for (model, deployment), lines in groups.items():
            for start in range(0, len(lines), LINES):
                self._send_one(model, deployment, lines[start : start + LINES])

    def _prepare(self, row: Row) -> tuple[Call, str, str | None] | str | None:
        """A request's call, decision and hold; why it is asked live; or None where it waits for room in a budget."""
        request, kit = read_request(row.request), self._kit
        journey = Journey(request, kit.books, kit.caches, is_async=False)
        if journey.visit.look_up() is not None:
            return "the cache knows the answer"
        try:
            ruling = kit.decide(request)
        except RouterError as error:  # asked live, it fails in the same way, and its row is written
            return f"{type(error).__name__}: {error}"
        journey.follow(ruling, kit.policy.prices)
        found = self._batchable(request, ruling, journey)
        if isinstance(found, str):
            return found
        call, price = found
        held: Decimal | None = None
        if (till := kit.books.till) is not None:
            worst = None if unbounded(request) else batch_worst(price, ruling.input_bound, output_cap(call.params) or 0)
            with kit.books.ledger.batch():
                till.release(request, 0)  # of a run that was killed before it wrote the batch down
                told = till.admit(request, call, 0, worst, journey.meter.worst_tokens(call))
                if isinstance(told, Denial):
                    self._queue.note(row.id, f"waits for room in a budget: {told.error}")
                    return None
                if told is not None:
                    kit.books.ledger.holds.lasts(request.id, 0, row.deadline_us + HELD_DAYS * 86_400_000_000)
                held = told
        try:
            journey.check_run()  # each look counts as a step of the run: only for what will be sent
        except RouterError as error:
            return f"{type(error).__name__}: {error}"
        return call, to_json(journey.decision), None if held is None else format(held, "f")

    def _batchable(self, request: Request, ruling: Ruling, journey: Journey) -> tuple[Call, Price] | str:
        """The first model's call where it can be a line of a batch, and its price; else why not."""
        if not ruling.decision.plan:
            return "no model may serve it"
        if self._provider is None:
            return "this transport has no batches"
        if ruling.listener is not None:
            return "a cascade is asked live"
        call = next((one for one in calls_of(request, ruling, self._kit.policy, None)[0] if can_send(one)), None)
        model = ruling.decision.plan[0]
        if call is None:
            return f"{model} has no batch API here, or the request asks for what a batch cannot carry"
        price = journey.meter.price(model)
        if price is None or all(one.tier != TIER for one in price.variants):
            return f"{model} has no batch price"
        return call, price

    def _send_one(self, model: str, deployment: str, lines: list[tuple[Call, str, str | None]]) -> None:
        assert self._provider is not None  # noqa: S101  nothing is batchable without
        batch_id = f"cbb-{time.time_ns() // 1000:014x}{os.urandom(6).hex()}"
        rows = [(call.request_id, to_json(call.params), decision, held) for call, decision, held in lines]
        self._queue.send(batch_id, model, deployment, rows)
        try:
            provider_id = self._provider.create([call for call, _, _ in lines], batch_id)
        except ProviderError as error:
            if error.is_billed is not False:  # it may have arrived: the next run looks for it
                log.warning("batch %s was sent, but nothing was heard: %s", batch_id, error)
                return
            if isinstance(error, (RateLimitedError, ProviderTimeoutError, ProviderUnavailableError)):
                self._queue.wait_again(batch_id)  # until their deadline
                return
            for call, _, _ in lines:
                self._queue.to_live(call.request_id, f"the provider takes no batch: {error}")
            self._queue.close_batch(batch_id)
            return
        self._queue.sent(batch_id, provider_id)
        self._sent += len(lines)

    def _ask(self, row: Row) -> None:
        """Ask a request as any other, and write down what came of it."""
        kit, request = self._kit, read_request(row.request)
        self._asked += 1
        if row.asked >= ASKED_AT_MOST:
            self._failed += 1
            self._queue.end(row.id, note=f"{row.asked} processes ended while they asked it live")
            return
        lost = None
        if row.batch is None and kit.books.till is not None:
            kit.books.till.release(request, 0)
        if row.batch is not None and not kit.books.ledger.attempts(row.id):
            lost = self._lost(row)
        self._queue.asking(row.id)
        if row.asked:  # its id may stand in the ledger already
            request = replace(request, id=f"{request.id}-{row.asked + 1}")
        try:
            done = self._live(request, lost)
        except RouterError as error:
            self._failed += 1
            self._queue.end(row.id, note=f"{type(error).__name__}: {error}")
            return
        self._queue.end(row.id, answer=to_json(done), note=f"asked live: {row.note}")

    def _lost(self, row: Row) -> Lost:
        """What a request's line in a batch comes to, in the books."""
        batch = self._queue.batch(row.batch or "")
        error = ProviderUnavailableError(f"batch: {row.note}", model=batch.model)
        error.is_billed = None if row.billed is None else bool(row.billed)
        return Lost(
            call=_call_of(row, batch),
            error=error,
            held_usd=None if row.held is None else Decimal(row.held),
            latency_s=(time.time_ns() // 1000 - row.at_us) / 1e6,
        )


def batch_worst(price: Price, input_tokens: int, output_tokens: int) -> Decimal:
    """Upper bound of a line's cost in USD: at the dearest of the batch rates that a shorter input can reach."""
    ends = {one.above for one in price.variants if one.tier in (STANDARD, TIER) and 0 < one.above < input_tokens}
    reached: list[dict[str, Any]] = [{**price.at(TIER, length).known()} for length in (*ends, input_tokens)]
    return max(Price(**rates).worst(input_tokens, output_tokens) for rates in reached)


def _call_of(row: Row, batch: Batch) -> Call:
    """A request's line of a batch as the call that it is."""
    request = read_request(row.request)
    return Call(
        request_id=row.id,
        model=batch.model,
        deployment=read_deployment(batch.deployment),
        kind="chat",
        messages=request.messages,
        params=json.loads(row.params or "{}"),
        timeout_s=flow.DEFAULT_TIMEOUT_S,
    )
