"""Where a router writes down what its requests did, and what that tells about the next one."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from router.canaries import Canaries, never_stopped
from router.pace import PaceMemory
from router.policy.traits import UsedOf, used_unknown
from router.sessions import Sessions
from router.spend.ledger import Ledger
from router.spend.texts import Texts
from router.spend.till import Till
from router.types import Request
from router.warmth import Known, Memory, nobody_knows

if TYPE_CHECKING:
    from router.spend.runs import Breaker


@dataclass(frozen=True, slots=True, kw_only=True)
class Books:
    """Where a router writes down what its requests did."""

    ledger: Ledger
    texts: Texts | None
    memory: Memory
    paces: PaceMemory | None
    till: Till | None
    """None: the policy has no budgets."""
    breaker: Breaker | None
    """None: the policy has no run stopped."""
    sessions: Sessions
    canaries: Canaries | None
    """None: the policy has none."""

    def known(self, request: Request) -> Known:
        """What earlier calls say of the models that may be asked: warm prompt caches, thinking, how long they take."""
        return replace(
            self.memory.known(request, time.monotonic()),
            used=self.used(request),
            session=self.sessions.model,
            canary=never_stopped if self.canaries is None else self.canaries.stopped,
            pace=nobody_knows if self.paces is None else self.paces.known(time.time()),
        )

    def used(self, request: Request) -> UsedOf:
        """How much is used of the budgets that a request is booked on."""
        return used_unknown if self.till is None else partial(self.till.used, request)

    def squeezed(self, request: Request) -> str | None:
        """The budget that asks for cheaper routes, if one does."""
        return None if self.till is None else self.till.squeezed(request)
