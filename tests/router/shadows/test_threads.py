"""Models in the shadow are asked by threads that are bounded, end by themselves, and survive a fork and a kill."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from loopback import Provider, reply, stall
from shaded import HI, LONG_S, Make, rows, standing

import router
from router._shadows import ShadowPool
from router.shadows import Shadows


def test_two_hundred_requests_at_once_are_all_answered_and_every_shadow_is_accounted_for(
    make: Make, provider: Provider
) -> None:
    one = make(("data:", "budgets: [{limit_usd: 1}]\ndata:"))
    with ThreadPoolExecutor(40) as pool:
        done = list(pool.map(lambda n: one.complete(HI, customer=f"c{n}", max_tokens=5), range(200)))
    assert {each.text for each in done} == {"one two three"}
    found = standing(one)
    assert found["n"] + sum(found["missed"].values()) == 200
    assert found["n"] == len(provider.requests_for("new")) > 20
    assert set(found["missed"]) <= {"too many others waited"}
    assert not one.ledger.holds.live()
    assert len(rows(one)) == found["n"]


def test_more_than_can_wait_are_passed_over_and_counted(make: Make, provider: Provider) -> None:
    provider.always("new", stall(1.0))
    one = make()
    one._shadows.close()
    one._shadows = ShadowPool(one.ledger, one._transport, threads=1, queue=2)
    for _ in range(8):
        one.complete(HI)
    found = standing(one)
    assert found["n"] + found["missed"]["too many others waited"] == 8
    assert 2 <= found["n"] < 8


def test_threads_end_when_there_is_nothing_left_to_do(make: Make) -> None:
    before = set(threading.enumerate())
    one = make()
    one._shadows.close()
    one._shadows = ShadowPool(one.ledger, one._transport, idle_s=0.05)

    def added() -> list[threading.Thread]:
        return [each for each in threading.enumerate() if each.name == "clearbar-shadow" and each not in before]

    for _ in range(5):
        one.complete(HI)
    assert len(rows(one)) == 5
    until_s = time.monotonic() + 30
    while time.monotonic() < until_s and added():
        time.sleep(0.02)
    assert not added()
    one.complete(HI)  # and start again
    assert len(rows(one)) == 6


FORKED = pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")


@FORKED
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_asks_for_itself_and_books_nothing_of_its_parents(make: Make, provider: Provider) -> None:
    provider.script("new", [stall(1.0)])
    one = make()
    one.complete(HI)
    until_s = time.monotonic() + 30
    while not provider.requests_for("new") and time.monotonic() < until_s:
        time.sleep(0.01)
    child = os.fork()
    if child == 0:  # no pytest in here: only exit codes
        code = 1
        try:
            one.complete(HI)
            code = 0 if one._shadows.settle(30) else 2
            one.close()
        finally:
            os._exit(code)
    assert os.waitpid(child, 0)[1] == 0
    found = standing(one)
    assert (found["n"], found["errors"]) == (2, {})


SERVES = """
import sys, time, router
one = router.Router(sys.argv[1], sys.argv[2])
one.complete([{"role": "user", "content": "hi"}], max_tokens=5)
print("served", flush=True)
sys.stdin.readline()
sys.exit(0)
"""


def _serving(one: router.Router, provider: Provider, tmp_path: Path) -> subprocess.Popen[str]:
    """Another process, whose request is answered and whose shadow is under way; it ends when it is told anything."""
    child = subprocess.Popen(
        [sys.executable, "-c", SERVES, str(one.policy.path), str(tmp_path / "state")],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONPATH": str(Path(router.__file__).parents[1])},
    )  # fmt: skip
    assert child.stdout is not None
    assert child.stdout.readline() == "served\n"
    until_s = time.monotonic() + 30
    while not provider.requests_for("new") and time.monotonic() < until_s:
        time.sleep(0.01)
    return child


def test_a_killed_process_leaves_no_hold_and_no_half_of_a_comparison(
    make: Make, provider: Provider, tmp_path: Path
) -> None:
    provider.always("new", stall(LONG_S))
    one = make(("data:", "budgets: [{limit_usd: 0.001}]\ndata:"))
    child = _serving(one, provider, tmp_path)
    child.send_signal(signal.SIGKILL)
    child.wait()
    assert Shadows(one.ledger).standing() == []
    provider.always("new", reply("hi"))
    for _ in range(3):
        one.complete(HI, max_tokens=5)  # what the dead one held is given back
    assert one._shadows.settle(30)
    assert not one.ledger.holds.live()


def test_a_process_ends_though_a_shadow_stalls(make: Make, provider: Provider, tmp_path: Path) -> None:
    provider.always("new", stall(LONG_S))
    child = _serving(make(), provider, tmp_path)
    child.communicate("\n", timeout=LONG_S / 2)
    assert child.returncode == 0
