"""Retries, fallback and deadline, driven by hand on a clock that only moves when told."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from router import flow
from router.errors import (
    AllCandidatesFailedError,
    AuthenticationFailedError,
    BadRequestError,
    BudgetExceededError,
    ContextTooLongError,
    DeadlineExceededError,
    ModelNotFoundError,
    ProviderError,
    ProviderTimeoutError,
    ProviderUnavailableError,
    RateLimitedError,
    RouterError,
)
from router.types import Call, Deployment, Reply, Sleep

OK = Reply(payload={})
DENIED = BudgetExceededError("too dear", scope="request", limit=Decimal(1), settled=Decimal(0), held=Decimal(0),
                             fits_usd=Decimal(1))  # fmt: skip
Outcome = Reply | ProviderError | BudgetExceededError


def calls(model: str, places: int = 1) -> list[Call]:
    return [
        Call(request_id="r", model=model, deployment=Deployment(call=f"{model}/{i}"), kind="chat", messages=(),
             params={}, timeout_s=1.0)
        for i in range(places)
    ]  # fmt: skip


@dataclass
class Driver:
    """Answers by script (a list of outcomes, or a function of the call); each answer takes `seconds`."""

    script: Sequence[Outcome] | Callable[[Call], Outcome]
    seconds: float = 0.0
    now_s: float = 100.0
    asked: list[str] = field(default_factory=list)
    timeouts_s: list[float] = field(default_factory=list)
    sleeps_s: list[float] = field(default_factory=list)

    def run(self, plan: Sequence[Sequence[Call]], **options: Any) -> str:
        """The deployment that answered."""
        steps = flow.run(plan, now_s=self.now_s, rng=random.Random(7), **options)
        step = next(steps)
        try:
            for _ in range(1000):
                outcome: Outcome | None = None
                if isinstance(step, Sleep):
                    self.sleeps_s.append(step.seconds)
                    self.now_s += step.seconds
                else:
                    self.asked.append(step.deployment.call)
                    self.timeouts_s.append(step.timeout_s)
                    outcome = self.script(step) if callable(self.script) else self.script[len(self.asked) - 1]
                    self.now_s += min(self.seconds, step.timeout_s)
                step = steps.send(flow.Heard(now_s=self.now_s, outcome=outcome))
        except StopIteration as done:
            return str(done.value[0].deployment.call)
        raise AssertionError("the flow does not end")


def limited(retry_after_s: float | None = None) -> RateLimitedError:
    return RateLimitedError("slow down", model="m", retry_after_s=retry_after_s)


def test_the_first_answer_ends_it() -> None:
    driver = Driver([OK])
    assert driver.run([calls("a"), calls("b")]) == "a/0"
    assert (driver.asked, driver.sleeps_s) == (["a/0"], [])
    assert driver.timeouts_s == [flow.DEFAULT_TIMEOUT_S]


def test_a_lone_model_is_asked_three_times_with_growing_jitter() -> None:
    driver = Driver([limited(), limited(), OK])
    assert driver.run([calls("a")]) == "a/0"
    assert len(driver.sleeps_s) == 2
    assert 0 <= driver.sleeps_s[0] <= 2 * flow.BACKOFF_S
    assert 0 <= driver.sleeps_s[1] <= 4 * flow.BACKOFF_S


def test_jitter_fills_its_range() -> None:
    pauses = []
    for _ in range(300):
        driver = Driver([limited(), OK])
        steps = flow.run([calls("a")], now_s=0.0)
        next(steps)
        step = steps.send(flow.Heard(now_s=0.0, outcome=driver.script[0]))  # type: ignore[index]
        assert isinstance(step, Sleep)
        pauses.append(step.seconds)
    assert 0 <= min(pauses) < 0.1 * flow.BACKOFF_S
    assert 1.9 * flow.BACKOFF_S < max(pauses) <= 2 * flow.BACKOFF_S


def test_with_another_model_standing_by_one_repeat_is_enough() -> None:
    driver = Driver(lambda call: OK if call.model == "b" else limited())
    assert driver.run([calls("a"), calls("b")]) == "b/0"
    assert driver.asked == ["a/0", "a/0", "b/0"]


@pytest.mark.parametrize(
    ("retry_after_s", "asked", "sleeps_s"),
    [
        pytest.param(1.5, ["a/0", "a/0", "b/0"], [1.5], id="short: honoured"),
        pytest.param(0.0, ["a/0", "a/0", "b/0"], [0.0], id="none: at once"),
        pytest.param(-3.0, ["a/0", "a/0", "b/0"], [0.0], id="in the past: at once"),
        pytest.param(30.0, ["a/0", "b/0"], [], id="long: the next model is asked instead"),
    ],
)
def test_a_pause_the_provider_asks_for(retry_after_s: float, asked: list[str], sleeps_s: list[float]) -> None:
    driver = Driver(lambda call: OK if call.model == "b" else limited(retry_after_s))
    driver.run([calls("a"), calls("b")])
    assert (driver.asked, driver.sleeps_s) == (asked, sleeps_s)


def test_a_lone_model_may_ask_for_a_longer_pause_but_not_for_hours() -> None:
    driver = Driver([limited(30.0), OK])
    driver.run([calls("a")])
    assert driver.sleeps_s == [30.0]
    with pytest.raises(RateLimitedError):
        Driver([limited(86_400.0)]).run([calls("a")])


@pytest.mark.parametrize(("retry_after_s", "sleeps_s"), [(1.0, [1.0]), (1.5, [])])
def test_no_pause_is_longer_than_the_callers_patience(retry_after_s: float, sleeps_s: list[float]) -> None:
    driver = Driver(lambda call: OK if call.model == "b" else limited(retry_after_s))
    driver.run([calls("a"), calls("b")], patience_s=1.0)
    assert driver.sleeps_s == sleeps_s


def test_a_pause_that_would_outlast_the_deadline_is_not_made() -> None:
    driver = Driver([limited(30.0)])
    with pytest.raises(RateLimitedError):
        driver.run([calls("a")], deadline_s=110.0)
    assert driver.sleeps_s == []


@pytest.mark.parametrize(
    ("error", "asked"),
    [
        pytest.param(AuthenticationFailedError("bad key"), ["a/0", "b/0"], id="a bad key: no repeat, next model"),
        pytest.param(ModelNotFoundError("gone"), ["a/0", "b/0"], id="an unknown model: next model"),
        pytest.param(ContextTooLongError("too long"), ["a/0", "b/0"], id="too long: a larger model may take it"),
        pytest.param(ProviderUnavailableError("503"), ["a/0", "a/0", "b/0"], id="down: one repeat, next model"),
    ],
)
def test_what_follows_an_error_is_written_on_it(error: ProviderError, asked: list[str]) -> None:
    driver = Driver(lambda call: OK if call.model == "b" else error)
    assert driver.run([calls("a"), calls("b")]) == "b/0"
    assert driver.asked == asked


def test_a_request_that_is_wrong_is_not_sent_to_anyone_else() -> None:
    driver = Driver([BadRequestError("no such role")])
    with pytest.raises(BadRequestError, match="no such role"):
        driver.run([calls("a", 2), calls("b")])
    assert driver.asked == ["a/0"]


@pytest.mark.parametrize(
    "error", [limited(30.0), AuthenticationFailedError("bad key"), ProviderUnavailableError("503")]
)
def test_every_deployment_is_asked_at_once_before_any_pause(error: ProviderError) -> None:
    driver = Driver(lambda call: OK if call.deployment.call == "a/4" else error)
    assert driver.run([calls("a", 5)]) == "a/4"
    assert driver.asked == [f"a/{i}" for i in range(5)]
    assert driver.sleeps_s == []


def test_repeats_go_round_the_deployments() -> None:
    driver = Driver([limited(), limited(), OK])
    assert driver.run([calls("a", 2)]) == "a/0"
    assert driver.asked == ["a/0", "a/1", "a/0"]
    assert 0 <= driver.sleeps_s[0] <= 4 * flow.BACKOFF_S


def test_what_is_too_long_for_a_model_is_too_long_at_each_of_its_places() -> None:
    driver = Driver(lambda call: OK if call.model == "b" else ContextTooLongError("too long"))
    driver.run([calls("a", 3), calls("b")])
    assert driver.asked == ["a/0", "b/0"]


def test_a_model_that_may_not_be_paid_for_is_passed_over() -> None:
    driver = Driver(lambda call: OK if call.model == "b" else DENIED)
    assert driver.run([calls("a"), calls("b")]) == "b/0"
    assert driver.asked == ["a/0", "b/0"]
    with pytest.raises(BudgetExceededError):
        Driver(lambda call: DENIED).run([calls("a"), calls("b")])


def test_a_denial_does_not_hide_the_failure_that_used_up_the_limit() -> None:
    with pytest.raises(ProviderUnavailableError, match="503"):
        Driver([ProviderUnavailableError("503", model="a"), DENIED]).run([calls("a")])


def test_a_timeout_is_not_repeated_but_the_next_model_is_asked() -> None:
    driver = Driver([ProviderTimeoutError("slow", model="a"), OK])
    assert driver.run([calls("a"), calls("b")]) == driver.asked[1]
    assert (len(driver.asked), driver.sleeps_s) == (2, [])


def test_when_all_fail_each_ones_last_error_is_kept() -> None:
    errors = {"a": AuthenticationFailedError("a: no key", model="a"), "b": ProviderUnavailableError("503", model="b")}
    with pytest.raises(AllCandidatesFailedError, match="failed: a: no key; b: 503") as caught:
        Driver(lambda call: errors[call.model]).run([calls("a"), calls("b")])
    assert list(caught.value.exceptions) == list(errors.values())


def test_one_model_alone_fails_with_its_own_error() -> None:
    with pytest.raises(ProviderUnavailableError, match="503"):
        Driver(lambda call: ProviderUnavailableError("503")).run([calls("a")])


def test_a_stalled_model_leaves_room_for_those_behind_it() -> None:
    driver = Driver(lambda call: ProviderTimeoutError("slow"), seconds=1000.0)
    with pytest.raises(DeadlineExceededError, match="after 3 failed candidates; last: slow"):
        driver.run([calls("a"), calls("b"), calls("c")], deadline_s=130.0)
    assert driver.timeouts_s == [10.0, 10.0, 10.0]


def test_time_that_a_model_leaves_goes_to_the_others() -> None:
    driver = Driver(lambda call: AuthenticationFailedError("no"), seconds=0.5)
    with pytest.raises(AllCandidatesFailedError):
        driver.run([calls("a"), calls("b")], deadline_s=110.0)
    assert driver.timeouts_s == [5.0, 9.5]


def test_a_deadline_that_has_passed_sends_nothing() -> None:
    steps = flow.run([calls("a")], now_s=100.0, deadline_s=100.0)
    with pytest.raises(DeadlineExceededError, match="after 0 failed candidates"):
        next(steps)


outcomes = st.sampled_from(
    [OK, DENIED, limited(), limited(0.3), limited(5.0), limited(1e9), ProviderTimeoutError("slow"),
     ProviderUnavailableError("503"), AuthenticationFailedError("no"), ContextTooLongError("long"),
     BadRequestError("no")]
)  # fmt: skip


@settings(max_examples=400, deadline=None)
@given(
    script=st.lists(outcomes, min_size=60, max_size=60),
    places=st.lists(st.integers(1, 4), min_size=1, max_size=5),
    seconds=st.floats(0, 20),
    time_s=st.none() | st.floats(-1, 30),
)
def test_it_always_ends_and_never_outlasts_the_deadline(
    script: list[Outcome], places: list[int], seconds: float, time_s: float | None
) -> None:
    driver = Driver(script, seconds=seconds)
    deadline_s = None if time_s is None else 100.0 + time_s
    plan = [calls(f"m{i}", count) for i, count in enumerate(places)]
    try:
        driver.run(plan, deadline_s=deadline_s)
        assert isinstance(script[len(driver.asked) - 1], Reply)
    except RouterError:
        assert not any(isinstance(outcome, Reply) for outcome in script[: len(driver.asked)])
    if deadline_s is not None:
        assert driver.now_s <= max(deadline_s, 100.0) + 1e-9
    assert all(pause_s >= 0 for pause_s in driver.sleeps_s)
    assert len(driver.asked) <= sum(max(3, count) for count in places)
