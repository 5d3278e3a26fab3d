"""`Router`: the story of one request, in reading order."""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import AsyncIterator, Generator, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any, cast

from router import flow
from router._drive import adrive, drive
from router._journey import Books, Journey, Steps
from router._parts import breaker, learner, pace_memory, predictor, semantic_cache, state_folder
from router._request import chat_request, embedding_request
from router._stream import AsyncStream, Stream
from router.answers import without_logprobs
from router.cache.aside import Aside
from router.cache.exact import Entry, ExactCache, exact_key
from router.cache.flights import LEASE_S, Flights
from router.decide import Ruling, decide
from router.decisions import Decision
from router.errors import InvalidRequestError
from router.policy import Policy, Traits, find_policy, load_policy
from router.spend.ledger import Ledger
from router.spend.meter import output_cap
from router.spend.texts import open_texts
from router.spend.till import Till
from router.stores.disk import TextStore
from router.transports.base import Transport
from router.transports.dispatch import DispatchTransport
from router.transports.shapes import as_async, chat_chunks
from router.types import Call, Completion, Message, Request, Wait
from router.warmth import Memory

if TYPE_CHECKING:
    from router.cache.purge import Purged
    from router.cache.shelf import Stored


class Router:
    """Routes requests by a policy. Thread-safe and fork-safe; `close()` it, or use `with`.

    Args:
        policy: path of a policy file; default `CLEARBAR_POLICY`, else `./policies/default.yaml`.
        state: directory for ledger and cache; default `CLEARBAR_STATE`, else `./.clearbar`. Several processes may
            share one on a local disk.
        transport: how calls are sent; default: by each model's `call` string.

    Raises:
        ConfigurationError: no policy was found, it is wrong, or a store cannot be opened.
    """

    def __init__(
        self,
        policy: str | os.PathLike[str] | None = None,
        state: str | os.PathLike[str] | None = None,
        transport: Transport | None = None,
    ) -> None:
        self.policy: Policy = load_policy(find_policy(policy))
        self._predictor = predictor(self.policy)
        self._folder = folder = state_folder(state)
        self.ledger = Ledger(folder / "ledger.sqlite3")
        data = self.policy.data
        self._books = Books(
            ledger=self.ledger,
            texts=open_texts(folder, data.store_text, keep_days=data.keep_days, tasks=data.tasks),
            memory=Memory(self.policy.cacheable),
            paces=pace_memory(self.ledger, self.policy),
            till=Till(self.policy.budgets, self.ledger.holds) if self.policy.budgets.each else None,
            breaker=breaker(folder, self.ledger, self.policy),
        )
        self.ledger.keep_prices(price for prices in self.policy.prices.values() for price in prices)
        self._learner = learner(self.ledger, self.policy)
        self._cache = ExactCache(TextStore(folder / "cache")) if self.policy.caches_exactly else None
        self._flights, self._aside = Flights(), Aside()
        self._alike = semantic_cache(folder, self.policy, self._predictor)
        self._transport: Transport = transport or DispatchTransport()

    def complete(self, messages: Sequence[Message], *, stream: bool = False, **options: Any) -> Any:
        """Answer a chat request; see `router.complete` for the arguments.

        Returns:
            A `Completion`, or with `stream=True` a `Stream` of OpenAI chunks with `.completion` at its end.

        Raises:
            RouterError: one of its children, with `.attempts` and `.decision` where they exist.
        """
        return drive(self._serve(chat_request(messages, stream=stream, **options)), self._transport)

    async def acomplete(self, messages: Sequence[Message], *, stream: bool = False, **options: Any) -> Any:
        """The same without blocking; with `stream=True` the result is an `AsyncStream`."""
        steps = self._serve(chat_request(messages, stream=stream, **options), is_async=True)
        return await adrive(steps, self._transport)

    def embed(self, input: str | Sequence[str], **options: Any) -> Completion:
        """Embed one text or several; `.data[i].embedding` holds the vectors.

        Without `model`, the policy's first model with the capability `embedding` serves.
        """
        done: Completion = drive(self._serve(embedding_request(input, **options)), self._transport)
        return done

    def explain(self, messages: Sequence[Message], **options: Any) -> Decision:
        """Decide about a request without sending it; nothing is spent or recorded."""
        return self._decide(chat_request(messages, **options)).decision

    def record_outcome(self, run_id: str, name: str, value: float, at: float | None = None) -> None:
        """Note a business outcome of a workflow run; `at` is seconds since 1970, default now.

        Raises:
            InvalidRequestError: the value is no finite number.
        """
        if not isinstance(value, (int, float)) or not math.isfinite(value):
            raise InvalidRequestError(f"value must be a finite number, got {value!r}")
        self.ledger.append_outcome(run_id, name, float(value), at)

    def record_feedback(self, decision_id: str, score: float) -> None:
        """Note how good an answer was, 0 to 1.

        Raises:
            InvalidRequestError: the score is out of range, or no request has this id.
        """
        if not isinstance(score, (int, float)) or not 0 <= score <= 1:
            raise InvalidRequestError(f"score must be from 0 to 1, got {score!r}")
        if self.ledger.request(decision_id) is None:
            raise InvalidRequestError(f"no request has the id {decision_id!r}; it is `completion.id`")
        self.ledger.append_feedback(decision_id, score)

    def reject(self, decision_id: str) -> None:
        """Note that an answer was wrong (feedback 0), and forget it where it was cached.

        Of an answer that was itself served from a cache, the entry goes that it came from.
        """
        self.record_feedback(decision_id, 0.0)
        row = self.ledger.request(decision_id) or {}
        key, source = row.get("cache_key"), None
        if row.get("cache") == "semantic":
            source = json.loads(row["decision"])["semantic"]["entry"]
        if key and self._cache is not None:
            if row["cache"] == "exact" and (entry := self._cache.get(key)):
                source = entry.request_id
            self._cache.drop(key)
        if self._alike is not None:
            self._aside.settle()  # what it left may not be stored yet
            self._alike.reject(decision_id, source)

    def purge_cache(
        self, *, task: str | None = None, model: str | None = None, tags: Mapping[str, str] | None = None,
        before_s: float | None = None,
    ) -> Purged:  # fmt: skip
        """Delete stored answers of all tiers for which everything given holds; with nothing given, all of them.

        Args:
            task: of the request that left the answer.
            model: policy id of the model that wrote it.
            tags: of that request, such as `{"customer": "acme", "document": "handbook"}`.
            before_s: stored before this moment, seconds since 1970.
        """
        from router.cache.purge import Choice, purge  # it brings numpy

        choice = Choice(task=task, model=model, tags=tags or {}, before_s=before_s)
        return purge(self._folder, self.ledger.rows, choice)

    def close(self) -> None:
        """Close files and connections."""
        self._transport.close()
        self._aside.close()
        self.ledger.close()
        if self._books.texts is not None:
            self._books.texts.close()
        if self._cache is not None:
            self._cache.close()
        if self._alike is not None:
            self._alike.close()

    def __enter__(self) -> Router:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _serve(self, request: Request, *, is_async: bool = False) -> Steps:
        """One request, from the cache's door to its last ledger row; sync and async drivers run the same steps."""
        journey = Journey(request, self._books)
        with self._flights.boarded(self._key(journey)) as leader:
            if entry := self._look_up(journey):
                yield from journey.hold(entry.wait_s)
                return _as_asked(journey.answer_from(entry, self.policy.version), request, is_async)
            ruling = self._decide(request)
            journey.follow(ruling, self.policy.prices, self._cache)
            if leader is not None and ruling.caching.keeps:
                yield Wait(until=leader, seconds=journey.patience_s(LEASE_S))
                if entry := self._look_up(journey):
                    yield from journey.hold(entry.wait_s)
                    return _as_asked(journey.answer_from(entry, self.policy.version), request, is_async)
            return (yield from self._answer(journey, ruling, is_async))

    def _answer(self, journey: Journey, ruling: Ruling, is_async: bool) -> Steps:
        """What the exact cache does not know: by a stored answer to a question like it, or by a model."""
        request = journey.request
        try:
            if stored := (yield from self._look_up_alike(journey, ruling, is_async)):
                if ruling.caching.hide_hits:
                    made = self.ledger.request(stored.request_id)
                    yield from journey.hold(made["latency_s"] if made else 0.0)
                return _as_asked(journey.answer_alike(stored), request, is_async)
            if not ruling.decision.plan:
                raise journey.no_route()
            journey.check_run()
            calls = self._calls(request, ruling, journey.deadline_s)
            way = flow.run(
                calls,
                now_s=time.monotonic(),
                deadline_s=journey.deadline_s,
                patience_s=request.patience_s,
                listener=ruling.listener,
                latest_s=None if ruling.latest_s is None else journey.started_s + ruling.latest_s,
            )
            call, reply = yield from journey.pay(way)
        except BaseException as error:
            journey.fail(error)
            raise
        if reply.chunks is None:
            payload = reply.payload or {}
            if call.wants_logprobs and not request.params.get("logprobs"):
                payload = without_logprobs(payload)
            return _as_asked(journey.finish(call, payload), request, is_async)
        finish = partial(journey.finish_stream, call)
        if is_async:
            return AsyncStream(cast(AsyncIterator[Mapping[str, Any]], reply.chunks), finish, journey.deadline_s)
        return Stream(cast(Iterator[Mapping[str, Any]], reply.chunks), finish, journey.deadline_s)

    def _decide(self, request: Request) -> Ruling:
        experience = self._learner.now() if self._learner is not None else None
        return decide(
            request, self.policy, self._predictor, datetime.now(UTC), experience, self._books.known(request),
            self._books.squeezed(request),
        )  # fmt: skip

    def _key(self, journey: Journey) -> str | None:
        """Fingerprint under which identical requests wait for each other; None for those that do not."""
        if self._cache is None:
            return None
        journey.cache_key = self._fingerprint(journey.request)
        # A stream ends when its reader likes; nobody waits for that.
        waits = journey.request.cache.is_ordinary and not journey.request.stream
        return journey.cache_key if waits else None

    def _fingerprint(self, request: Request) -> str | None:
        version = self._predictor.version if self._predictor else None
        table, now = self.policy.table, datetime.now(UTC)
        return exact_key(
            request, policy_version=self.policy.version, artifact_version=version, tags=self.policy.matched_tags,
            standing=table.standing(Traits(request, task=None, now=now, used=self._books.used(request))),
        )  # fmt: skip

    def _look_up(self, journey: Journey) -> Entry | None:
        control = journey.request.cache
        if self._cache is None or journey.cache_key is None or control.no_cache:
            return None
        entry = self._cache.get(journey.cache_key)
        if entry is None or not entry.is_within(control.max_age_s) or (entry.wait_s and journey.request.stream):
            return None
        return entry

    def _look_up_alike(self, journey: Journey, ruling: Ruling, is_async: bool) -> Generator[Wait, Any, Stored | None]:
        if self._alike is None or not ruling.caching.looks_alike or not ruling.decision.plan:
            return None
        if ruling.caching.hide_hits and journey.request.stream:
            return None
        return (yield from journey.ask_alike(self._alike, ruling, self._aside if is_async else None))

    def _calls(self, request: Request, ruling: Ruling, deadline_s: float | None) -> list[list[Call]]:
        """For each model of the plan, one call per deployment."""
        return [
            [
                Call(
                    request_id=request.id,
                    model=model,
                    deployment=deployment,
                    kind=request.kind,
                    messages=request.messages,
                    params=self._params(request, model, is_limited=ruling.is_bounded),
                    timeout_s=flow.DEFAULT_TIMEOUT_S,
                    deadline_s=deadline_s,
                    stream=request.stream and ruling.listener is None,
                    wants_logprobs=ruling.listener is not None and ruling.listener.reads_logprobs(model),
                )
                for deployment in self.policy.deployments[model]
            ]
            for model in ruling.decision.plan
        ]

    def _params(self, request: Request, model: str, *, is_limited: bool) -> Mapping[str, Any]:
        if not is_limited or request.kind == "embedding" or output_cap(request.params):
            return request.params
        # A limit is only a limit if the provider is told where to stop.
        return {**request.params, "max_tokens": self.policy.models[model].max_output_tokens}


def _as_asked(completion: Completion, request: Request, is_async: bool) -> Any:
    """A whole answer in the form the caller asked for: whole, or as the chunks of a stream."""
    if not request.stream:
        return completion
    chunks, finish = chat_chunks(completion.payload), lambda *_: completion
    return AsyncStream(as_async(chunks), finish) if is_async else Stream(chunks, finish)
