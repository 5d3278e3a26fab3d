"""The two drivers: they send what the steps yield and say what came of it. All logic is in the steps."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import time
from typing import Any

from router import flow
from router._journey import Steps
from router.errors import ProviderError
from router.transports.base import Transport
from router.types import Reply, Sleep, Wait


def drive(steps: Steps, transport: Transport) -> Any:
    """Run steps to their result, blocking."""
    try:
        step = next(steps)
        while True:
            outcome: Reply | ProviderError | None = None
            try:
                if isinstance(step, Sleep):
                    time.sleep(step.seconds)
                elif isinstance(step, Wait):
                    _wait(step)
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
                elif isinstance(step, Wait):
                    await _await(step)
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


def _wait(step: Wait) -> None:
    with contextlib.suppress(RuntimeError):
        asyncio.get_running_loop()
        return  # blocking it could block the very request that is waited for
    concurrent.futures.wait([step.until], step.seconds)


async def _await(step: Wait) -> None:
    loop, done = asyncio.get_running_loop(), asyncio.Event()

    def wake(_: object) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(done.set)

    step.until.add_done_callback(wake)
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(step.seconds):
            await done.wait()
