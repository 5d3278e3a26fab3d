"""Everything that can go wrong, as one tree.

```
RouterError
├── ConfigurationError           something the user must set up: no policy, a missing extra
│   ├── PolicyError              a policy file is wrong; names file, line, value and remedy
│   ├── ArtifactError            a trained artifact is missing, altered or of another version
│   ├── OutcomesError            an outcome table lacks a column or holds a value it must not
│   ├── WeightsError             a local model's weights or engine are missing; names the command that mends it
│   └── StoreError               a store on disk is of a newer schema or cannot be opened
├── InvalidRequestError          the caller's own arguments, refused before anything is spent
│   └── UnknownModelError        a pinned model that the policy does not list
├── NoRouteError                 no candidate may serve the request; carries the decision
├── BudgetExceededError          a limit stands in the way; says what would fit
├── RunStoppedError              the run breaker stopped a workflow's run; says why
├── DeadlineExceededError        the request's time ran out
├── ProviderError                one call to one model failed
│   ├── RateLimitedError         429; may carry `retry_after_s`
│   ├── ProviderTimeoutError     no answer in time; the provider may still bill it
│   ├── ProviderUnavailableError 5xx, refused connection, cut stream, unreadable answer
│   ├── AuthenticationFailedError  the key is missing, wrong or without the right
│   ├── ModelNotFoundError       the provider does not know the model
│   └── BadRequestError          the provider refused the request itself
│       ├── ContextTooLongError
│       ├── ContentFilteredError
│       └── UnsupportedParameterError
└── AllCandidatesFailedError     several candidates were tried and all failed (an ExceptionGroup of their errors)
```

Every error that ends a request carries `.attempts` (what was tried and billed) and `.decision` once they exist.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from decimal import Decimal

    from router.decisions import Decision
    from router.types import Attempt


class RouterError(Exception):
    """Base of all errors this package raises on purpose."""

    decision: Decision | None = None
    """What had been decided when the request ended, if it came that far."""
    attempts: tuple[Attempt, ...] = ()
    """Every provider call made for the request, in order; failed ones may have been billed."""


class ConfigurationError(RouterError):
    """Something the user must set up before requests can be served."""


class PolicyError(ConfigurationError):
    """A policy file is wrong. `str()` has one line per mistake: `file:line:column: what, and the remedy`."""

    def __init__(self, *problems: str) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class ArtifactError(ConfigurationError):
    """A trained artifact is missing, altered or written by another version."""


class OutcomesError(ConfigurationError):
    """An outcome table lacks a needed column, or a value in it cannot be used."""


class WeightsError(ConfigurationError):
    """A local model's weights or engine are missing or do not match their pinned hash."""


class StoreError(ConfigurationError):
    """A store on disk cannot be opened by this version."""


class InvalidRequestError(RouterError, ValueError):
    """The caller's arguments are wrong; nothing was sent and nothing was spent."""


class UnknownModelError(InvalidRequestError):
    """The request pins a model that the policy does not list."""


class NoRouteError(RouterError):
    """No candidate may serve the request. `.decision` lists each candidate with the reason it is out."""


class BudgetExceededError(RouterError):
    """A spending limit stands in the way of the call; nothing was sent.

    Amounts are USD, or counts of `unit` (`requests`, `tokens`, `concurrent`). `fits_usd` is the dearest call that would
    still fit; None where the limit is no money. `retry_after` is in seconds; None: time alone does not help.
    """

    def __init__(
        self,
        message: str,
        *,
        scope: str,
        limit: Decimal,
        settled: Decimal,
        held: Decimal,
        fits_usd: Decimal | None,
        unit: str = "usd",
        resets_at: str | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.scope = scope
        self.limit = limit
        self.settled = settled
        self.held = held
        self.fits_usd = fits_usd
        self.unit = unit
        self.resets_at = resets_at
        self.retry_after = retry_after


class RunStoppedError(RouterError):
    """The run breaker has stopped a run; nothing was sent, and no repeat will be until somebody releases the run.

    `reason` names the reading (`cycle`, `repeats`, `calls`, `cost_usd`, `usd_per_minute`, `growth`) that reached
    `limit` at `value`; `readings` has all of them now. `advice` says what to do.
    """

    def __init__(
        self, message: str, *, run_id: str, workflow: str | None, reason: str, value: float, limit: float,
        readings: Mapping[str, float],
    ) -> None:  # fmt: skip
        self.advice = f"do not repeat the call; end the run, or have it released: clearbar budget release {run_id}"
        super().__init__(f"{message}; {self.advice}")
        self.run_id = run_id
        self.workflow = workflow
        self.reason = reason
        self.value = value
        self.limit = limit
        self.readings = readings


class DeadlineExceededError(RouterError, TimeoutError):
    """The request's `timeout_s` ran out before a candidate answered."""


class ProviderError(RouterError):
    """One call to one model failed.

    The class says what may follow: `retryable` (the same model may work in a moment) and
    `try_next` (another model may work). `is_billed` is False when the provider certainly charged
    nothing, None when nobody can know.
    """

    retryable = False
    try_next = True
    is_billed: bool | None = False

    def __init__(self, message: str, *, model: str = "", status: int | None = None, retry_after_s: float | None = None):
        super().__init__(message)
        self.model = model
        self.status = status
        self.retry_after_s = retry_after_s


class RateLimitedError(ProviderError):
    """The provider asks us to slow down (HTTP 429)."""

    retryable = True


class ProviderTimeoutError(ProviderError):
    """No answer within the attempt's share of the time. The provider may have worked, and may bill.

    Not repeated: the model has had its time, and a second try could be billed a second time.
    """

    is_billed: bool | None = None


class ProviderUnavailableError(ProviderError):
    """The provider is down, cut the connection or answered something unreadable."""

    retryable = True


class AuthenticationFailedError(ProviderError):
    """The provider refused the key."""


class ModelNotFoundError(ProviderError):
    """The provider does not serve this model, or not to this key."""


class BadRequestError(ProviderError):
    """The provider refused the request itself; another provider would, too."""

    try_next = False


class ContextTooLongError(BadRequestError):
    """The request does not fit this model's context window; a larger one may take it."""

    try_next = True


class ContentFilteredError(BadRequestError):
    """The provider's content policy refused the request. Asking elsewhere is the caller's decision, not ours."""


class UnsupportedParameterError(BadRequestError):
    """This model does not take one of the request's parameters; another one may."""

    try_next = True


class AllCandidatesFailedError(RouterError, ExceptionGroup[ProviderError]):
    """Several candidates were tried and all failed; `.exceptions` has each one's last error."""

    def __new__(cls, message: str, errors: Sequence[ProviderError]) -> AllCandidatesFailedError:
        """Make the group; `ExceptionGroup` needs its members here."""
        return super().__new__(cls, message, errors)

    def derive(self, excs: Sequence[Any], /) -> AllCandidatesFailedError:  # type: ignore[override]  # our members only
        """Keep our type when Python splits the group."""
        return AllCandidatesFailedError(self.message, excs)
