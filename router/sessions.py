"""Which model a session was answered by last, so that a rule with `sticky` stays with it. Known to one process."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from router.stores.forks import ForkSafe

MOST_SESSIONS = 10_000
"""Sessions that are remembered; the one that was idle longest goes first."""

SessionOf = Callable[["Session"], str | None]
"""The model that answered a session last; None where nobody has, or too long ago."""


@dataclass(frozen=True, slots=True)
class Session:
    """One session of one rule."""

    rule: str
    value: str
    """Of the tag that says which session it is."""
    idle_s: float
    """Seconds after its last answer in which it is forgotten."""


def no_session(session: Session) -> None:
    """Of a session that nobody has answered."""


class Sessions(ForkSafe):
    """A bounded memory without I/O; threads may share it."""

    def __init__(self) -> None:
        self._answered: OrderedDict[tuple[str, str], tuple[str, float]] = OrderedDict()
        super().__init__()

    def close(self) -> None:
        """Nothing is open: all it needs is that no thread holds its lock at a fork."""

    def model(self, session: Session, now_s: float | None = None) -> str | None:
        """Who answered last; `now_s` on a clock that does not run backwards."""
        now_s = time.monotonic() if now_s is None else now_s
        with self._lock:
            model, at_s = self._answered.get((session.rule, session.value), (None, 0.0))
        return model if model is not None and now_s - at_s < session.idle_s else None

    def note(self, session: Session, model: str, now_s: float | None = None) -> None:
        """A model has answered."""
        now_s = time.monotonic() if now_s is None else now_s
        with self._lock:
            self._answered.pop((session.rule, session.value), None)
            self._answered[session.rule, session.value] = model, now_s
            while len(self._answered) > MOST_SESSIONS:
                self._answered.popitem(last=False)
