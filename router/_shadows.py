"""Asks models in the shadow, beside the requests: a few threads, a bounded queue, and nobody who waits for them."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping
from decimal import Decimal
from functools import partial
from typing import Any, TypeVar

from router._books import Books
from router._shading import Answered, Asking
from router.decide import Ruling
from router.policy import Policy
from router.shadows import Shadows
from router.spend.ledger import Ledger
from router.transports.base import Transport
from router.types import Request

log = logging.getLogger(__name__)
T = TypeVar("T")

THREADS = 4
"""Calls under way at once, of a process."""
QUEUE = 64
"""Answered requests that wait for a thread; more are passed over."""
IDLE_S = 10.0
"""After which a thread without work ends."""
CLOSE_S = 2.0
"""For so long `close` waits for calls under way."""
COUNT_S = 1.0
"""Requests that were passed over are written down at most so often."""


class ShadowPool:
    """Asks once more what answered requests asked. Threads may share it, and it is safe to fork.

    Threads are started when there is work, end when there is none, and are daemons: a provider that stalls keeps no
    process from its end.

    Args:
        ledger: where shadows are written down.
        transport: how calls are sent.
        threads: at most so many calls at once.
        queue: at most so many answered requests that wait.
        idle_s: after which a thread without work ends.
    """

    def __init__(
        self, ledger: Ledger, transport: Transport, *, threads: int = THREADS, queue: int = QUEUE,
        idle_s: float = IDLE_S,
    ) -> None:  # fmt: skip
        self._shadows, self._transport, self._is_closed = Shadows(ledger), transport, False
        self._sizes = threads, queue, idle_s
        # By process: in a child made by fork, the parent's threads do not exist, and its locks may be held for ever.
        self._crews: dict[int, _Crew] = {}

    def hear(
        self, policy: Policy, books: Books, request: Request, ruling: Ruling, model: str, payload: Mapping[str, Any],
        cost_usd: Decimal | None, latency_s: float,
    ) -> None:  # fmt: skip
        """Hear of an answer, and have its shadow asked; at once, and without an error, because somebody waits for it.

        Args:
            policy: that held for the request.
            books: its.
            request: that was answered.
            ruling: whose decision draws a shadow.
            model: that answered.
            payload: the answer.
            cost_usd: of the request.
            latency_s: of the request.
        """
        shade = ruling.decision.shadow
        if shade is None or self._is_closed:
            return
        try:
            answered = Answered(
                request=request, ruling=ruling, policy=policy, books=books, model=model, payload=payload,
                cost_usd=cost_usd, latency_s=latency_s,
            )  # fmt: skip
            crew = self._crews.get(os.getpid()) or self._crews.setdefault(
                os.getpid(), _Crew(self._shadows, self._transport, *self._sizes)
            )
            if why := answered.unfit:
                crew.miss(shade.name, why)
            else:
                crew.take(Asking(answered.apart(), shade, self._shadows))
        except Exception as error:  # noqa: BLE001  a shadow is no reason to lose an answer
            log.warning("request %s has no shadow (%s)", request.id, type(error).__name__)

    def settle(self, seconds: float) -> bool:
        """Wait until nothing is left to do, at most so long; returns whether it is so."""
        crew = self._crews.get(os.getpid())
        return crew is None or crew.settle(seconds)

    def close(self, seconds: float = CLOSE_S) -> None:
        """Ask nobody any more; wait so long for calls under way, and book the others as interrupted."""
        self._is_closed = True
        crew = self._crews.pop(os.getpid(), None)
        if crew is not None:
            crew.close(seconds)


class _Crew:
    """The threads and the queue of one process."""

    def __init__(self, shadows: Shadows, transport: Transport, threads: int, queue: int, idle_s: float) -> None:
        self._shadows, self._transport = shadows, transport
        self._threads, self._queue, self._idle_s = threads, queue, idle_s
        self._changed = threading.Condition()
        self._waiting: deque[Asking] = deque()
        self._under_way: set[Asking] = set()
        self._missed: Counter[tuple[str, str]] = Counter()
        self._counted_s, self._alive, self._idle, self._is_closed = 0.0, 0, 0, False

    def take(self, asking: Asking) -> None:
        """Have it asked, unless too many wait."""
        with self._changed:
            if self._is_closed:
                return
            if len(self._waiting) >= self._queue:
                self._missed[asking.shade.name, "too many others waited"] += 1
                return
            self._waiting.append(asking)
            self._wake()

    def miss(self, name: str, why: str) -> None:
        """Count a request that a shadow was drawn for and is not asked."""
        with self._changed:
            self._missed[name, why] += 1
            self._wake()

    def settle(self, seconds: float) -> bool:
        """Wait until nothing is left to do."""
        with self._changed:
            return self._changed.wait_for(
                lambda: not self._waiting and not self._under_way and not self._missed, seconds
            )

    def close(self, seconds: float) -> None:
        """Leave what waits, and what is under way after so many seconds."""
        with self._changed:
            self._is_closed = True
            for asking in self._waiting:
                self._missed[asking.shade.name, "the router was closed"] += 1
            self._waiting.clear()
            self._changed.notify_all()
            self._changed.wait_for(lambda: not self._under_way, seconds)
            left = list(self._under_way)
        for asking in left:
            _safely(asking.stop)
        self._count()

    def _wake(self) -> None:
        if len(self._waiting) + bool(self._missed) > self._idle and self._alive < self._threads:
            self._alive += 1
            try:
                threading.Thread(target=self._work, name="clearbar-shadow", daemon=True).start()
            except RuntimeError:  # no more threads, or the interpreter is on its way out
                self._alive -= 1
        self._changed.notify_all()

    def _work(self) -> None:
        while True:
            with self._changed:
                if not self._has_work():
                    self._alive -= 1
                    return
                asking = self._waiting.popleft() if self._waiting else None
                if asking is not None:
                    self._under_way.add(asking)
            if asking is not None:
                why = _safely(partial(asking.ask, self._transport))
                with self._changed:
                    self._under_way.discard(asking)
                    if why is not None:
                        self._missed[asking.shade.name, why] += 1
                    self._changed.notify_all()
            if asking is None or time.monotonic() >= self._counted_s + COUNT_S:
                self._count()

    def _has_work(self) -> bool:
        """Wait for an asking, or until it is time to write down what was passed over; False: the thread may go."""
        while not self._waiting:
            if self._is_closed:
                return False
            now_s, due_s = time.monotonic(), self._counted_s + COUNT_S
            if self._missed and now_s >= due_s:
                return True
            self._idle += 1
            is_told = self._changed.wait(due_s - now_s if self._missed else self._idle_s)
            self._idle -= 1
            if not is_told and not self._waiting and not self._missed:
                return False
        return True

    def _count(self) -> None:
        with self._changed:
            missed, self._missed, self._counted_s = self._missed, Counter(), time.monotonic()
        if missed:
            _safely(partial(self._shadows.missed, missed))
        with self._changed:
            self._changed.notify_all()


def _safely(work: Callable[[], T]) -> T | None:
    try:
        return work()
    except Exception as error:  # noqa: BLE001  nobody is there to hear it
        log.warning("a shadow went wrong: %s", type(error).__name__)
        return None
