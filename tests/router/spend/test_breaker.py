"""The breaker knows circles from work, and learns from a workflow's runs what is much."""

from __future__ import annotations

from typing import Any

import pytest

from router._request import chat_request, embedding_request
from router.spend.breaker import READINGS, Breaking, RunState, learned_limits, trip_of
from router.spend.fingerprint import fingerprint

NEW = learned_limits({}, Breaking())
SECRET = b"s" * 32


def after(prompts: list[int], cost_usd: float = 0.0) -> RunState:
    state = RunState()
    for number, prompt in enumerate(prompts):
        state = state.asked(prompt).paid(cost_usd, 1000, float(number))
    return state


def calls_until_tripped(prompts: list[int]) -> int | None:
    state = RunState()
    for number, prompt in enumerate(prompts):
        state = state.asked(prompt)
        if trip_of(state.readings(0.0), NEW):
            return number
    return None


@pytest.mark.parametrize("lap", [1, 2, 3, 5, 8])
def test_a_circle_of_any_length_is_stopped_within_ten_calls_of_its_second_lap(lap: int) -> None:
    work = list(range(1000, 1030))
    sent = calls_until_tripped(work + list(range(lap)) * 50)
    assert sent is not None
    assert sent - len(work) - lap < 10


def test_what_honest_runs_repeat_stops_none() -> None:
    tests_after_edits = [prompt for edit in range(100, 115) for prompt in (edit, 1)]
    sampled_five_times = [prompt for prompt in range(50) for _ in range(5)]
    assert calls_until_tripped(tests_after_edits) is None
    assert calls_until_tripped(sampled_five_times) is None
    assert calls_until_tripped(list(range(400))) is None


def test_one_question_among_others_is_counted() -> None:
    prompts = [prompt for new in range(100, 140) for prompt in (new, 1)]
    state = after(prompts[:48])
    trip = trip_of(state.readings(0.0), NEW)
    assert trip is not None and (trip.reason, trip.value) == ("repeats", 24)


def test_cost_of_the_last_minute_fades() -> None:
    state = RunState().paid(3.0, 10, 1000.0)
    assert state.readings(1000.0)["usd_per_minute"] == 3.0
    assert state.readings(1060.0)["usd_per_minute"] == pytest.approx(3.0 / 2.718281828)
    assert state.readings(1600.0)["cost_usd"] == 3.0


def test_growth_is_against_the_first_call_of_at_least_a_thousand_tokens() -> None:
    assert RunState().paid(0, 10, 0).paid(0, 900, 1).readings(1)["growth"] == 0.9
    assert RunState().paid(0, 2000, 0).paid(0, 9000, 1).readings(1)["growth"] == 4.5


def test_limits_follow_the_workflows_own_runs() -> None:
    peaks = {name: [1.0] * 99 + [40.0] for name in READINGS}
    limits = learned_limits(peaks, Breaking(factor=4))
    assert limits["cycle"].most == 45  # the largest of a hundred, and five
    assert limits["repeats"].most == 48
    assert limits["cost_usd"].most == 4  # of the 99th percentile
    assert limits["calls"].most == 50  # none is learned below a floor
    assert limits["cost_usd"].basis == "from 100 runs of the workflow"


def test_few_runs_say_nothing_and_the_policy_has_the_last_word() -> None:
    limits = learned_limits({name: [1e6] * 19 for name in READINGS}, Breaking(limits={"calls": 7}))
    assert limits["cycle"].most == 8 and limits["cycle"].basis == "a default: 19 runs known"
    assert limits["calls"].most == 7 and limits["calls"].basis == "the policy's"


def test_a_trip_says_what_how_much_and_against_what() -> None:
    trip = trip_of(after([1] * 9, cost_usd=0.1).readings(8.0), NEW)
    assert trip is not None
    assert trip.shown() == "8 calls in a row ask what was asked a lap before (limit 8, a default: 0 runs known)"


def asks(*messages: dict[str, Any]) -> int:
    return fingerprint(chat_request(list(messages)), SECRET)


def user(text: str) -> dict[str, Any]:
    return {"role": "user", "content": text}


def tool(text: str, arguments: str = '{"a": 1, "b": 2}') -> list[dict[str, Any]]:
    function = {"name": "look", "arguments": arguments}
    called = {"role": "assistant", "content": None, "tool_calls": [{"id": "call_1", "function": function}]}
    return [called, {"role": "tool", "tool_call_id": "call_1", "content": text}]


def test_a_question_is_known_again_behind_a_longer_history() -> None:
    first = asks(user("Fix it."), *tool("1 failed"))
    assert asks(user("Fix it."), *tool("other"), *tool("1 failed", '{"b": 2, "a": 1}')) == first
    assert asks(user("Fix it."), *tool("2 failed")) != first
    assert asks(user("Fix it."), *tool("1 failed", '{"a": 2}')) != first
    assert asks(user("Fix that."), *tool("1 failed")) != first


def test_moments_do_not_matter_other_numbers_do() -> None:
    assert asks(user("At 2026-11-22 10:00:01 it  failed")) == asks(user("at 2026-11-23T11:00:02Z it failed"))
    assert asks(user("Translate page 17")) != asks(user("Translate page 18"))


def test_one_prompt_over_many_documents_is_many_questions() -> None:
    ask = user("Summarize it.")
    assert asks(user("Document one"), ask) != asks(user("Document two"), ask)
    head = "x" * 5000
    assert asks(user(head + "a" * 9000)) != asks(user(head + "a" * 9001))


def test_a_fingerprint_needs_the_key_and_covers_embeddings() -> None:
    request = embedding_request(["a", "b"])
    assert fingerprint(request, SECRET) != fingerprint(request, b"t" * 32)
    assert fingerprint(request, SECRET) != fingerprint(embedding_request(["a", "c"]), SECRET)
    assert 0 <= fingerprint(request, SECRET) < 2**48


def test_pictures_count() -> None:
    def picture(url: str) -> dict[str, Any]:
        return {"role": "user", "content": [{"type": "text", "text": "What?"},
                                            {"type": "image_url", "image_url": {"url": url}}]}  # fmt: skip

    assert asks(picture("data:one")) != asks(picture("data:two"))
