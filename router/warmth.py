"""What providers still hold in their prompt caches of a run's earlier requests, as far as this process can tell.

An agent sends its whole conversation with every step. Where one model has just read it, its provider reads the
beginning again at the cached price; another model would read it anew.
"""

from __future__ import annotations

import hashlib
import json
from collections import OrderedDict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from router.canaries import CanaryOf, never_stopped
from router.decisions import Warm
from router.pace import PaceOf
from router.policy.traits import UsedOf, used_unknown
from router.sessions import SessionOf, no_session
from router.stores.forks import ForkSafe
from router.tokens import estimate_tokens
from router.types import Attempt, Request, message_texts

LIFETIME_S = 300.0
"""How long providers keep what nobody reads; the shortest of the published times."""
LEAST_TOKENS = 1_024
"""A shorter beginning is not cached by the providers that cache by themselves."""
MOST_RUNS = 1_024
"""Runs that are remembered; the one that was idle longest goes first."""
MOST_MODELS = 16
"""Models remembered of one run."""


def nobody_knows(model: str, task: str | None) -> None:
    """The pace of a model that nobody has called."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What earlier requests of this process tell about one request."""

    warm: tuple[Warm, ...] = ()
    thinking: Mapping[str, float] = field(default_factory=dict)
    """Share of reasoning tokens in a model's output so far; only of models that were seen to think."""
    pace: PaceOf = nobody_knows
    """How long a model's recent calls took in a task."""
    used: UsedOf = used_unknown
    """How much of a budget is used."""
    session: SessionOf = no_session
    """Who answered a session last."""
    canary: CanaryOf = never_stopped
    """Why a canary was rolled back."""
    asked: Mapping[str, Any] = field(default_factory=dict)
    """What an earlier decision about the same request saw, as in `Facts.asked`."""


@dataclass(frozen=True, slots=True)
class _Trace:
    """What one model has read of a run."""

    digest: str
    messages: int
    tokens: int
    at_s: float


class Memory(ForkSafe):
    """A small memory of runs, without I/O; threads may share it. Another process knows nothing of it.

    Args:
        cacheable: models whose price has a cached input; others are not remembered.
    """

    def __init__(self, cacheable: Collection[str]) -> None:
        self._cacheable = frozenset(cacheable)
        self._runs: OrderedDict[str, dict[str, _Trace]] = OrderedDict()
        self._cold: set[str] = set()
        self._made: dict[str, tuple[int, int]] = {}
        super().__init__()

    def serve(self, cacheable: Collection[str]) -> None:
        """Go on under another policy, whose prices have a cached input for these models."""
        self._cacheable = frozenset(cacheable)

    def close(self) -> None:
        """Nothing is open: all it needs is that no thread holds its lock at a fork."""

    def known(self, request: Request, now_s: float) -> Known:
        """What is known at a moment, in seconds of a clock that does not run backwards."""
        thinking = {model: thought / made for model, (made, thought) in self._made.items() if thought}
        return Known(warm=self._warm(request, now_s), thinking=thinking)

    def note(self, request: Request, attempts: Iterable[Attempt], now_s: float) -> None:
        """Take in what was answered."""
        answered = [one for one in attempts if one.outcome in ("ok", "cut") and one.usage is not None]
        before = {one.model for one in self._warm(request, now_s, even_cold=True)}
        with self._lock:
            for one in answered:
                self._hear(one, is_warm=one.model in before)
        run, models = request.tags.run_id, {one.model for one in answered} & self._cacheable
        if run is None or request.kind != "chat" or not models:
            return
        tokens = sum(estimate_tokens(text) for message in request.messages for text in message_texts(message))
        digest = _digest(request, len(request.messages)) if tokens >= LEAST_TOKENS else None
        if digest is None:
            return
        with self._lock:
            # A new dict each time: the garbage collector may end a dropped stream, and so come here, in the middle.
            older = {model: trace for model, trace in self._runs.pop(run, {}).items() if model not in models}
            trace = _Trace(digest, len(request.messages), tokens, now_s)
            self._runs[run] = dict([*older.items(), *((model, trace) for model in models)][-MOST_MODELS:])
            while len(self._runs) > MOST_RUNS:
                self._runs.popitem(last=False)

    def _hear(self, attempt: Attempt, *, is_warm: bool) -> None:
        usage = attempt.usage
        if usage is None or usage.source != "provider":
            return
        made, thought = self._made.get(attempt.model, (0, 0))
        self._made = {**self._made, attempt.model: (made + usage.output_tokens, thought + usage.reasoning_tokens)}
        if usage.cached_input_tokens:
            self._cold.discard(attempt.model)
        elif is_warm:  # it read the same beginning at full price: it caches nothing unless it is asked to
            self._cold.add(attempt.model)

    def _warm(self, request: Request, now_s: float, *, even_cold: bool = False) -> tuple[Warm, ...]:
        run = request.tags.run_id
        if run is None or request.kind != "chat":
            return ()
        with self._lock:
            traces = [
                (model, trace)
                for model, trace in self._runs.get(run, {}).items()
                if now_s - trace.at_s < LIFETIME_S
                and trace.messages <= len(request.messages)
                and (even_cold or model not in self._cold)
            ]
        digests = {count: _digest(request, count) for count in {trace.messages for _, trace in traces}}
        return tuple(
            Warm(model=model, tokens=trace.tokens, age_s=round(now_s - trace.at_s, 3))
            for model, trace in traces
            if digests[trace.messages] == trace.digest
        )


def _digest(request: Request, count: int) -> str | None:
    """Fingerprint of the first messages, and of the tools, which stand before them; None without a JSON form."""
    beginning = [request.params.get("tools"), request.messages[:count]]
    try:
        return hashlib.sha256(json.dumps(beginning, sort_keys=True, default=str).encode()).hexdigest()
    except (TypeError, ValueError, RecursionError):
        return None
