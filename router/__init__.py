"""Clearbar: every request to the cheapest model that clears the bar.

This page is the whole public API. Importing it loads the standard library only; numpy, pydantic and
everything heavier load when the first `Router` is made or the first call is sent.
"""

from typing import TYPE_CHECKING, Any

from router._api import (
    acomplete,
    complete,
    embed,
    explain,
    record_feedback,
    record_outcome,
    reject,
    result,
    run_batches,
    submit,
)
from router._version import __version__
from router.decisions import Candidate, Decision, TaskGuess
from router.errors import (
    AllCandidatesFailedError,
    ArtifactError,
    AuthenticationFailedError,
    BadRequestError,
    BudgetExceededError,
    ConfigurationError,
    ContentFilteredError,
    ContextTooLongError,
    DeadlineExceededError,
    InvalidRequestError,
    ModelNotFoundError,
    NoRouteError,
    OutcomesError,
    PolicyError,
    ProviderError,
    ProviderTimeoutError,
    ProviderUnavailableError,
    RateLimitedError,
    RouterError,
    RunStoppedError,
    StoreError,
    UnknownModelError,
    UnsupportedParameterError,
    WeightsError,
)
from router.types import Attempt, Completion, Reply, Tags, Usage

if TYPE_CHECKING:
    from router._router import Router
    from router._stream import AsyncStream, Stream
    from router.deferred.ticket import Ticket
    from router.transports.fake import FakeTransport
    from router.transports.replay import ReplayTransport

__all__ = [
    "AllCandidatesFailedError",
    "ArtifactError",
    "AsyncStream",
    "Attempt",
    "AuthenticationFailedError",
    "BadRequestError",
    "BudgetExceededError",
    "Candidate",
    "Completion",
    "ConfigurationError",
    "ContentFilteredError",
    "ContextTooLongError",
    "DeadlineExceededError",
    "Decision",
    "FakeTransport",
    "InvalidRequestError",
    "ModelNotFoundError",
    "NoRouteError",
    "OutcomesError",
    "PolicyError",
    "ProviderError",
    "ProviderTimeoutError",
    "ProviderUnavailableError",
    "RateLimitedError",
    "ReplayTransport",
    "Reply",
    "Router",
    "RouterError",
    "RunStoppedError",
    "StoreError",
    "Stream",
    "Tags",
    "TaskGuess",
    "Ticket",
    "UnknownModelError",
    "UnsupportedParameterError",
    "Usage",
    "WeightsError",
    "__version__",
    "acomplete",
    "complete",
    "embed",
    "explain",
    "record_feedback",
    "record_outcome",
    "reject",
    "result",
    "run_batches",
    "submit",
]

_LAZY = {
    "AsyncStream": "router._stream",
    "FakeTransport": "router.transports.fake",
    "ReplayTransport": "router.transports.replay",
    "Router": "router._router",
    "Stream": "router._stream",
    "Ticket": "router.deferred.ticket",
}


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        import importlib

        return getattr(importlib.import_module(_LAZY[name]), name)
    raise AttributeError(f"module 'router' has no attribute {name!r}")
