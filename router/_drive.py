"""The two drivers: they send what the steps yield and say what came of it. All logic is in the steps."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from router import flow
from router._journey import Steps
from router.errors import ProviderError
from router.transports.base import Transport
from router.types import Reply, Sleep


def drive(steps: Steps, transport: Transport) -> Any:
    """Run steps to their result, blocking."""
    try:
        step = next(steps)
        while True:
            outcome: Reply | ProviderError | None = None
            try:
                if isinstance(step, Sleep):
                    time.sleep(step.seconds)
                else:
                    outcome = transport.send(step)
            except ProviderError as error:
                outcome = error
            except BaseException as interruption:  # noqa: BLE001  the steps book it and raise it again
                step = steps.throw(interruption)
                continue
            step = steps.send(flow.Heard(now_s=time.monotonic(), outcome=outcome))
    except StopIteration as done:
        return done.value


async def adrive(steps: Steps, transport: Transport) -> Any:
    """Run steps to their result on the event loop."""
    try:
        step = next(steps)
        while True:
            outcome: Reply | ProviderError | None = None
            try:
                if isinstance(step, Sleep):
                    await asyncio.sleep(step.seconds)
                else:
                    outcome = await transport.asend(step)
            except ProviderError as error:
                outcome = error
            except BaseException as interruption:  # noqa: BLE001  the steps book it and raise it again
                step = steps.throw(interruption)
                continue
            step = steps.send(flow.Heard(now_s=time.monotonic(), outcome=outcome))
    except StopIteration as done:
        return done.value
