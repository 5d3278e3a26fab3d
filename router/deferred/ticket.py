"""What a caller sees of the queue: a request goes in, its ticket asks for the answer."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from router.decide import Ruling, no_route
from router.deferred.forms import read_completion, written_request
from router.deferred.queue import FILE, Queue, Row
from router.errors import InvalidRequestError, RouterError
from router.types import Completion, Request

if TYPE_CHECKING:
    from router._journey import Lost
    from router._kit import Kit
    from router.deferred.runner import Ran
    from router.transports.litellm_batches import LiteLLMBatches

MARGIN_S = 600.0
"""So long before its deadline a request is asked live, or a tenth of its time before, where that is less."""

MOST_S = 30 * 86_400
"""The longest time that a request may wait."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ticket:
    """A request in the queue; its id is enough to ask for the answer from anywhere."""

    id: str
    desk: Desk = field(repr=False)

    def result(self) -> Completion | None:
        """The completion; None while there is none.

        Raises:
            RouterError: the request failed; the message says why.
        """
        return self.desk.result(self.id)

    def told(self) -> str:
        """Where the request is and why, in words: `waiting`, `batched`, `answered: asked live: ...`."""
        row = self.desk.row(self.id)
        if row is None:
            return "forgotten: its days are over"
        return f"{row.state}: {row.note}" if row.note else row.state


class Desk:
    """Where requests are handed in and answers are asked for; its file is made by the first request.

    Args:
        folder: the state folder.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._queue: Queue | None = None

    def submit(self, request: Request, ruling: Ruling, deadline_s: float) -> Ticket:
        """Put a request into the queue.

        Raises:
            InvalidRequestError: the deadline is no time to come, the rule keeps no text, or there is no JSON form.
            NoRouteError: no model may serve it.
        """
        if type(deadline_s) not in (int, float) or not 0 < deadline_s <= MOST_S:
            raise InvalidRequestError(
                f"deadline_s must be seconds above 0, at most {MOST_S:,} (30 days), got {deadline_s!r}"
            )
        if request.stream:
            raise InvalidRequestError("a request that waits cannot stream; leave out `stream`")
        if ruling.data.log == "none":
            raise InvalidRequestError(
                f"{ruling.decision.rule} keeps no text (data: {{log: none}}), and a request that waits must be written "
                "down; ask it with complete()"
            )
        if not ruling.decision.plan:
            raise no_route(ruling.decision)
        text, deadline_us = written_request(request), time.time_ns() // 1000 + int(deadline_s * 1e6)
        live_us = deadline_us - int(min(MARGIN_S, deadline_s / 10) * 1e6)
        self._queue = self._queue or Queue(self._folder)
        self._queue.add(request.id, text, live_us=live_us, deadline_us=deadline_us)
        return Ticket(id=request.id, desk=self)

    def row(self, ticket_id: str) -> Row | None:
        """A request of the queue."""
        queue = self._existing()
        return None if queue is None else queue.get(ticket_id)

    def result(self, ticket_id: str) -> Completion | None:
        """The answer of a request, or None while there is none.

        Raises:
            InvalidRequestError: no request has this id, or its days are over.
            RouterError: it failed; the message says why.
        """
        row = self.row(ticket_id)
        if row is None:
            raise InvalidRequestError(
                f"no request waits under {ticket_id!r} in {self._folder}, or its answer's days are over"
            )
        if row.state == "failed":
            raise RouterError(row.note)
        return None if row.answer is None else read_completion(row.answer)

    def run(self, kit: Kit, provider: LiteLLMBatches | None, live: Callable[[Request, Lost | None], Completion]) -> Ran:
        """Work once on the queue."""
        from router.deferred.runner import Ran, Runner  # only what runs the queue needs all of this

        queue = self._existing()
        return Ran() if queue is None else Runner(kit, queue, provider, live).run()

    def close(self) -> None:
        """Close the file."""
        if self._queue is not None:
            self._queue.close()

    def _existing(self) -> Queue | None:
        if self._queue is None and (self._folder / FILE).is_file():
            self._queue = Queue(self._folder)
        return self._queue
