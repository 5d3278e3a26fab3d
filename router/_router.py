"""`Router`: the story of one request, in reading order."""

from __future__ import annotations

import math
import os
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, cast

from router import flow
from router._calls import calls_of
from router._drive import adrive, drive
from router._journey import Journey, Lost, Steps
from router._kit import Kit, state_folder
from router._reload import Kits, Watch, seconds_between_looks
from router._request import chat_request, embedding_request
from router._shadows import ShadowPool
from router._stream import AsyncStream, Stream
from router.answers import without_logprobs
from router.cache.flights import LEASE_S
from router.decide import Ruling, no_route
from router.decisions import Decision
from router.deferred.ticket import Desk, Ticket
from router.errors import InvalidRequestError
from router.policy import Policy, find_policy
from router.spend.ledger import Ledger
from router.transports.base import Transport
from router.transports.dispatch import DispatchTransport
from router.transports.shapes import as_async, chat_chunks
from router.types import Completion, Message, Request, Wait

if TYPE_CHECKING:
    from router.cache.purge import Purged
    from router.deferred.runner import Ran


class Router:
    """Routes requests by a policy. Thread-safe and fork-safe; `close()` it, or use `with`.

    Args:
        policy: path of a policy file; default `CLEARBAR_POLICY`, else `./policies/default.yaml`.
        state: directory for ledger and cache; default `CLEARBAR_STATE`, else `./.clearbar`. Several processes may
            share one on a local disk.
        transport: how calls are sent; default: by each model's `call` string.
        reload_s: seconds between two looks whether the policy has changed; then it is loaded again, as by `reload()`,
            and what is wrong with it stands in the log. Default `CLEARBAR_RELOAD_S`; 0, or neither: nobody looks.

    Raises:
        ConfigurationError: no policy was found, it is wrong, or a store cannot be opened.
    """

    def __init__(
        self,
        policy: str | os.PathLike[str] | None = None,
        state: str | os.PathLike[str] | None = None,
        transport: Transport | None = None,
        *,
        reload_s: float | None = None,
    ) -> None:
        every_s = seconds_between_looks(reload_s)
        path = find_policy(policy)  # first: without one, no folder of a ledger is left behind
        self._folder = state_folder(state)
        self.ledger = Ledger(self._folder / "ledger.sqlite3")
        self._kits = Kits(path, self._folder, self.ledger)
        self._desk = Desk(self._folder)
        self._transport: Transport = transport or DispatchTransport()
        self._shadows = ShadowPool(self.ledger, self._transport)
        self._watch = Watch(self._kits, every_s) if every_s else None

    @property
    def policy(self) -> Policy:
        """The routing table that holds now."""
        return self._kit.policy

    def reload(self) -> str:
        """Load the policy again, with its includes, evidence and artifact. Requests under way keep the one they have.

        Returns:
            The version that holds now; where nothing has changed, nothing happens.

        Raises:
            ConfigurationError: the policy, its artifact or a file of its evidence is wrong. The one before goes on.
        """
        return self._kits.reload()

    def rollback(self) -> str:
        """Go back to the policy before the last reload, until the files change again or `reload()` is called.

        Returns:
            The version that holds now.

        Raises:
            ConfigurationError: there is none: nothing was reloaded, or it was gone back to already.
        """
        return self._kits.rollback()

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

    def submit(self, messages: Sequence[Message], *, deadline_s: float = 86_400.0, **options: Any) -> Ticket:
        """Put a chat request that can wait into the queue; `run_batches()` or `clearbar batch run` sends it.

        Args:
            messages: as of `complete`, as are the options.
            deadline_s: seconds until the answer should be there, at most 30 days. The request is asked live when ten
                minutes of it are left, or a tenth, if that is less.
            **options: as of `complete`, without `stream`.

        Returns:
            A ticket; `ticket.result()` is the completion, or None while there is none.

        Raises:
            RouterError: nothing may serve it by now, its rule keeps no text, or it has no JSON form.
        """
        request = chat_request(messages, **options)
        return self._desk.submit(request, self._kit.decide(request), deadline_s)

    def result(self, ticket_id: str) -> Completion | None:
        """The answer of a request that was submitted, in this process or another; None while there is none.

        Raises:
            InvalidRequestError: no request has this id, or its days are over.
            RouterError: it failed; the message says why.
        """
        return self._desk.result(ticket_id)

    def run_batches(self) -> Ran:
        """Work once on what was submitted: settle batches that have ended, send what waits, ask live what must be."""
        transport = self._transport
        provider = transport.batches() if isinstance(transport, DispatchTransport) else None
        return self._desk.run(self._kit, provider, self._ask_live)

    def _ask_live(self, request: Request, lost: Lost | None) -> Completion:
        done: Completion = drive(self._serve(request, lost=lost, is_deferred=True), self._transport)
        return done

    def explain(self, messages: Sequence[Message], **options: Any) -> Decision:
        """Decide about a request without sending it; nothing is spent or recorded."""
        return self._kit.decide(chat_request(messages, **options)).decision

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
        row = self.ledger.request(decision_id)
        if row is None:
            raise InvalidRequestError(f"no request has the id {decision_id!r}; it is `completion.id`")
        self.ledger.append_feedback(decision_id, score)
        self._kit.heard(row, score)

    def reject(self, decision_id: str) -> None:
        """Note that an answer was wrong (feedback 0), and forget it where it was cached.

        Of an answer that was itself served from a cache, the entry goes that it came from.
        """
        self.record_feedback(decision_id, 0.0)
        self._kit.caches.reject(decision_id, self.ledger)

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
        """Close files and connections; shadows under way are waited for, at most two seconds."""
        if self._watch is not None:
            self._watch.close()
        self._shadows.close()
        self._transport.close()
        self._kit.close()
        self._desk.close()
        self.ledger.close()

    def __enter__(self) -> Router:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    @property
    def _kit(self) -> Kit:
        if self._watch is not None:
            self._watch.go_on()
        return self._kits.now

    def _serve(
        self, request: Request, *, is_async: bool = False, lost: Lost | None = None, is_deferred: bool = False
    ) -> Steps:
        """One request, from the cache's door to its last ledger row; sync and async drivers run the same steps."""
        kit = self._kit  # one policy for the whole request, also where another is loaded meanwhile
        journey = Journey(request, kit.books, kit.caches, is_async=is_async)
        with journey.visit.boarded() as leader:
            if lost is None and (entry := journey.visit.look_up()):
                return _as_asked((yield from journey.answer_from(entry, kit.policy.version)), request, is_async)
            ruling = kit.decide(request)
            journey.follow(ruling, kit.policy.prices if lost is None else {lost.call.model: (), **kit.policy.prices})
            if lost is not None:
                journey.lose(lost)
            if ruling.decision.shadow is not None and not is_deferred:
                journey.shadowed_by(partial(self._shadows.hear, kit.policy, kit.books, request, ruling))
            if leader is not None and ruling.caching.keeps:
                yield Wait(until=leader, seconds=journey.patience_s(LEASE_S))
                if entry := journey.visit.look_up():
                    return _as_asked((yield from journey.answer_from(entry, kit.policy.version)), request, is_async)
            return (yield from self._answer(journey, ruling, kit.policy, is_async))

    def _answer(self, journey: Journey, ruling: Ruling, policy: Policy, is_async: bool) -> Steps:
        """What the exact cache does not know: by a stored answer to a question like it, or by a model."""
        request = journey.request
        try:
            if stored := (yield from journey.ask_alike(ruling)):
                return _as_asked((yield from journey.answer_alike(stored)), request, is_async)
            if not ruling.decision.plan:
                raise no_route(ruling.decision)
            journey.check_run()
            way = flow.run(
                calls_of(request, ruling, policy, journey.deadline_s),
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


def _as_asked(completion: Completion, request: Request, is_async: bool) -> Any:
    """A whole answer in the form the caller asked for: whole, or as the chunks of a stream."""
    if not request.stream:
        return completion
    chunks, finish = chat_chunks(completion.payload), lambda *_: completion
    return AsyncStream(as_async(chunks), finish) if is_async else Stream(chunks, finish)
