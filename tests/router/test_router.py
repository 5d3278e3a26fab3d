"""One request as its caller sees it: over the fake transport, step by step."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

import router

POLICY = """
version: 1
models:
  - {id: small, call: fake/small, price: {input: 1, output: 4}, capabilities: [json]}
  - {id: large, call: fake/large, price: {input: 10, output: 40}, max_output_tokens: 1000}
  - {id: unpriced, call: fake/unpriced}
  - {id: vectors, call: fake/vectors, capabilities: [embedding], price: {input: 1, output: 0}}
tasks:
  chat: {bar: 0}
  hard: {bar: 0.9}
  near: {bar: {max_drop: 0.02, vs: large, confidence: 0.9}}
rules:
  - {when: {task: chat}, candidates: [large, small], cache: exact}
  - {when: {task: hard}, candidates: [small, large], fallback: [large]}
  - {when: {task: near}, candidates: [small, large]}
  - {when: {task: lost}, candidates: [small], bar: 0.9}
  - {when: {task: blind}, candidates: [unpriced], strategy: fixed}
  - {when: {tags: {team: [a, b]}}, name: teams, candidates: [large], strategy: fixed}
  - {candidates: [small, large], strategy: fixed}
"""
HELLO = [{"role": "user", "content": "hello there"}]

Make = Callable[..., router.Router]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    """Makes routers over one policy and one state; closes them."""
    path = tmp_path / "policy.yaml"
    path.write_text(POLICY, encoding="utf-8")
    made: list[router.Router] = []

    def build(**replies: Any) -> router.Router:
        made.append(router.Router(path, tmp_path / "state", router.FakeTransport(replies)))
        return made[-1]

    yield build
    for one in made:
        one.close()


def test_the_cheapest_model_that_clears_the_bar_answers(make: Make) -> None:
    done = make(small="cheap").complete(HELLO, task="chat")
    assert (done.text, done.model, done.cache) == ("cheap", "small", "miss")
    assert done.decision.plan == ("small", "large")
    assert "cheapest that clears" in done.decision.candidates[0].reason


def test_an_answer_has_openais_shape_and_the_price_to_the_last_digit(make: Make) -> None:
    done = make(small="one two three").complete(HELLO, task="chat")
    assert done.choices[0].message.content == "one two three"
    assert done.choices[0].finish_reason == "stop"
    assert (done.usage.prompt_tokens, done.usage.completion_tokens, done.usage.total_tokens) == (2, 3, 5)
    assert done.cost_usd == Decimal("0.000014")
    assert done.id == done.decision.id
    assert done.to_dict()["model"] == "small"


def test_a_candidate_without_evidence_is_dropped_and_the_fallback_serves(make: Make) -> None:
    done = make().complete(HELLO, task="hard")
    assert done.model == "large"
    reasons = {candidate.model: candidate.reason for candidate in done.decision.candidates}
    assert "no evidence" in reasons["small"]
    assert "29 samples" in reasons["small"]
    assert "fallback" in reasons["large"]


def test_under_a_bar_of_a_drop_only_the_reference_serves_without_an_artifact(make: Make) -> None:
    decision = make().explain(HELLO, task="near")
    assert decision.plan == ("large",)
    reasons = {candidate.model: candidate.reason for candidate in decision.candidates}
    assert reasons["small"] == "a max_drop bar is carried by the plan of a promoted artifact alone"
    # Raised by the request, the bar asks for evidence of the reference, too.
    assert make().explain(HELLO, task="near", bar=0.5).plan == ()


def test_with_nothing_left_the_error_carries_the_decision_and_the_ledger_a_row(make: Make) -> None:
    one = make()
    with pytest.raises(router.NoRouteError, match="no evidence") as caught:
        one.complete(HELLO, task="lost")
    assert caught.value.decision is not None
    assert caught.value.decision.plan == ()
    row = one.ledger.request(caught.value.decision.id)
    assert row is not None
    assert (row["outcome"], row["cost_pusd"]) == ("error", 0)


def test_a_request_may_raise_the_bar_but_not_lower_it(make: Make) -> None:
    one = make()
    assert one.explain(HELLO, task="hard", bar=0.2).bar == 0.9
    assert one.explain(HELLO, task="hard", bar=0.95).bar == 0.95
    with pytest.raises(router.NoRouteError):
        one.complete(HELLO, task="chat", bar=0.5)


def test_a_pinned_model_serves_whatever_the_rules_say(make: Make) -> None:
    done = make().complete(HELLO, task="hard", model="small")
    assert (done.model, done.decision.rule) == ("small", "pinned")
    assert make().complete(HELLO, task="chat", model="auto").decision.rule != "pinned"


def test_an_unknown_pin_is_refused_with_a_suggestion(make: Make) -> None:
    with pytest.raises(router.UnknownModelError, match="did you mean 'small'"):
        make().complete(HELLO, model="smal")


def test_rules_match_on_tags(make: Make) -> None:
    one = make()
    assert one.explain(HELLO, team="a").rule == "teams"
    assert one.explain(HELLO, team="c").rule != "teams"
    assert one.explain(HELLO, tags={"team": "b"}).rule == "teams"


def test_parameters_and_messages_reach_the_transport_untouched(make: Make) -> None:
    one = make()
    messages = [
        {"role": "system", "content": "be brief"},
        {"role": "user", "content": [{"type": "text", "text": "what is it?"},
                                     {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}]},
        {"role": "assistant",
         "tool_calls": [{"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}]},
        {"role": "tool", "tool_call_id": "1", "content": "42"},
    ]  # fmt: skip
    options = {"temperature": 0.3, "seed": 7, "some_new_thing": {"a": [1]}}
    one.complete(messages, **options)
    sent = one._transport.calls[-1]  # type: ignore[attr-defined]
    assert list(sent.messages) == messages
    assert dict(sent.params) == options


@pytest.mark.parametrize(
    "offered",
    [{"tools": [{"type": "function", "function": {"name": "f"}}]}, {"functions": [{"name": "f"}]}],
    ids=["tools", "functions"],
)
def test_tools_go_only_to_models_that_take_them(make: Make, offered: dict[str, Any]) -> None:
    decision = make().explain(HELLO, task="chat", **offered)
    assert decision.plan == ("large",)
    assert "lacks the capability 'tools'" in decision.candidates[-1].reason


def test_the_same_request_again_costs_nothing(make: Make) -> None:
    one = make(small="remembered")
    first = one.complete(HELLO, task="chat")
    again = one.complete(HELLO, task="chat")
    assert (again.text, again.cache, again.cost_usd, again.attempts) == ("remembered", "exact", Decimal(0), ())
    assert again.id != first.id == first.decision.id
    assert again.decision.id == again.id


def test_another_customer_never_gets_a_stored_answer(make: Make) -> None:
    one = make()
    one.complete(HELLO, task="chat", customer="first")
    assert one.complete(HELLO, task="chat", customer="second").cache == "miss"
    assert one.complete(HELLO, task="chat", customer="first").cache == "exact"


def test_only_rules_that_allow_it_are_cached(make: Make) -> None:
    one = make()
    assert one.complete(HELLO, task="hard").cache == "off"
    assert one.complete(HELLO, task="hard").cache == "off"


def test_rejecting_an_answer_forgets_it(make: Make) -> None:
    one = make()
    done = one.complete(HELLO, task="chat")
    one.reject(done.id)
    assert one.complete(HELLO, task="chat").cache == "miss"
    assert one.ledger.rows("SELECT score FROM feedback") == [{"score": 0.0}]


def test_feedback_needs_a_known_id_and_a_score_in_range(make: Make) -> None:
    one = make()
    done = one.complete(HELLO)
    one.record_feedback(done.id, 0.5)
    for bad in (("nobody", 0.5), (done.id, 1.5)):
        with pytest.raises(router.InvalidRequestError):
            one.record_feedback(*bad)


def test_cut_or_filtered_answers_are_not_stored(make: Make) -> None:
    answer = {"choices": [{"index": 0, "message": {"content": "half"}, "finish_reason": "length"}],
              "usage": {"prompt_tokens": 2, "completion_tokens": 1}}  # fmt: skip
    one = make(small=answer)
    one.complete(HELLO, task="chat")
    assert one.complete(HELLO, task="chat").cache == "miss"


def test_the_next_candidate_answers_when_one_fails_and_both_attempts_are_booked(make: Make) -> None:
    one = make(small=router.AuthenticationFailedError("no key"), large="saved")
    done = one.complete(HELLO, task="chat", workflow="w")
    assert [(a.model, a.outcome) for a in done.attempts] == [("small", "error"), ("large", "ok")]
    assert [row["model"] for row in one.ledger.attempts(done.id)] == ["small", "large"]
    assert {row["workflow"] for row in one.ledger.attempts(done.id)} == {"w"}


def test_when_all_fail_no_cause_is_lost(make: Make) -> None:
    one = make(small=router.AuthenticationFailedError("no key"), large=router.ModelNotFoundError("gone"))
    with pytest.raises(router.AllCandidatesFailedError) as caught:
        one.complete(HELLO, task="chat")
    assert [type(error).__name__ for error in caught.value.exceptions] == [
        "AuthenticationFailedError", "ModelNotFoundError",
    ]  # fmt: skip
    assert len(caught.value.attempts) == 2


def test_a_limit_bounds_all_attempts_together(make: Make) -> None:
    one = make(small=router.ProviderTimeoutError("slow"))
    # One try of small may cost 4,096 output tokens, $0.016400; the timeout may have been billed, so no second fits.
    with pytest.raises((router.AllCandidatesFailedError, router.ProviderTimeoutError)) as caught:
        one.complete(HELLO, model="small", max_cost_usd="0.02")
    assert len(caught.value.attempts) == 1
    assert one._transport.calls[0].params["max_tokens"] == 4096  # type: ignore[attr-defined]


def test_a_model_too_dear_for_the_limit_is_not_asked(make: Make) -> None:
    decision = make().explain(HELLO, max_cost_usd="0.03")
    assert decision.plan == ("small",)
    assert "above max_cost_usd" in decision.candidates[1].reason


def test_a_limit_refuses_what_cannot_be_bounded(make: Make) -> None:
    one = make()
    with pytest.raises(router.NoRouteError, match="price is unknown"):
        one.complete(HELLO, task="blind", max_cost_usd=1)
    image = [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}]
    with pytest.raises(router.NoRouteError, match="cannot be bounded"):
        one.complete(image, task="blind", max_cost_usd=1)
    assert one.complete(HELLO, task="blind").cost_usd is None


def test_explain_sends_and_records_nothing(make: Make) -> None:
    one = make()
    one.explain(HELLO, task="chat")
    assert one.ledger.rows("SELECT COUNT(*) AS n FROM requests") == [{"n": 0}]


def test_embeddings_go_to_the_embedding_model(make: Make) -> None:
    done = make().embed(["a", "bcd"])
    assert done.model == "vectors"
    assert [row.embedding[0] for row in done.data] == [1.0, 3.0]


def test_outcomes_of_runs_are_kept(make: Make) -> None:
    one = make()
    one.record_outcome("run-1", "resolved", 1, at=5.0)
    assert one.ledger.rows("SELECT * FROM outcomes") == [
        {"run_id": "run-1", "name": "resolved", "value": 1.0, "at_us": 5_000_000}
    ]


def test_sync_and_async_tell_the_same_story(make: Make) -> None:
    one = make(small=[router.ModelNotFoundError("x"), "y"], large="z")
    done = asyncio.run(one.acomplete(HELLO, task="hard"))
    assert (done.text, done.model) == ("z", "large")


def test_a_cancelled_call_leaves_an_attempt_of_unknown_cost(make: Make) -> None:
    one = make()
    one._transport._delay_s = 30  # type: ignore[attr-defined]

    async def cancel() -> None:
        task = asyncio.create_task(one.acomplete(HELLO))
        await asyncio.sleep(0.05)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(cancel())
    (row,) = one.ledger.rows("SELECT * FROM attempts")
    assert (row["cost_pusd"], row["outcome"]) == (None, "error")
    assert one.ledger.rows("SELECT outcome FROM requests") == [{"outcome": "cut"}]


def test_many_threads_share_one_router(make: Make) -> None:
    one = make()
    failures: list[BaseException] = []

    def work(number: int) -> None:
        try:
            for turn in range(20):
                one.complete([{"role": "user", "content": f"{number} {turn}"}], task="chat")
        except BaseException as error:  # noqa: BLE001  told below
            failures.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert one.ledger.rows("SELECT COUNT(*) AS n FROM requests") == [{"n": 160}]


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_uses_the_same_router(make: Make) -> None:
    one = make()
    one.complete(HELLO)
    child = os.fork()
    if child == 0:  # no pytest in here: only exit codes
        code = 1
        try:
            one.complete(HELLO)
            code = 0
        finally:
            os._exit(code)
    assert os.waitpid(child, 0)[1] == 0
    one.complete(HELLO)
    assert one.ledger.rows("SELECT COUNT(*) AS n FROM requests") == [{"n": 3}]


def test_without_a_policy_the_error_names_the_three_ways(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(router.ConfigurationError, match=r"policy=PATH.*CLEARBAR_POLICY.*policies/default\.yaml"):
        router.Router()


@pytest.mark.parametrize("name", ["web_search_options", "audio"])
def test_what_is_not_billed_by_text_tokens_is_refused_under_a_limit(make: Make, name: str) -> None:
    extras: dict[str, Any] = {name: {"any": "thing"}}
    with pytest.raises(router.NoRouteError, match=f"the cost of {name} cannot be bounded"):
        make().complete(HELLO, model="small", max_cost_usd=1, stream=False, **extras)


def test_all_answers_of_a_call_count_toward_its_limit(make: Make) -> None:
    decision = make().explain(HELLO, max_cost_usd="0.03", extra_body={"n": 3})
    assert decision.plan == ()
    assert decision.candidates[0].worst_cost_usd == Decimal("0.049167")


class SlowChunks:
    """A transport whose streams wait for a sign before their second chunk."""

    def __init__(self) -> None:
        self.may_go_on, self.is_waiting = threading.Event(), threading.Event()

    def send(self, call: Any) -> Any:
        def chunks() -> Iterator[dict[str, Any]]:
            yield {"choices": [{"index": 0, "delta": {"content": "one "}}]}
            self.is_waiting.set()
            self.may_go_on.wait()
            yield {"choices": [{"index": 0, "delta": {"content": "two "}}]}
            yield {"choices": [{"index": 0, "delta": {"content": "three"}, "finish_reason": "stop"}]}

        return router.Reply(chunks=chunks())

    async def asend(self, call: Any) -> Any:
        async def chunks() -> Any:
            yield {"choices": [{"index": 0, "delta": {"content": "one "}}]}
            await asyncio.Event().wait()

        return router.Reply(chunks=chunks())

    def close(self) -> None:
        self.may_go_on.set()


def test_a_stream_closed_by_another_thread_bills_all_that_was_handed_out(make: Make, tmp_path: Path) -> None:
    make()
    transport, read = SlowChunks(), list[str]()
    with router.Router(tmp_path / "policy.yaml", tmp_path / "state", transport) as one:
        stream = one.complete(HELLO, stream=True)
        reader = threading.Thread(target=lambda: read.extend(part.choices[0].delta.content for part in stream))
        reader.start()
        transport.is_waiting.wait()
        closer = threading.Thread(target=stream.close)
        closer.start()
        transport.may_go_on.set()
        reader.join()
        closer.join()
    assert stream.completion.text == "".join(read)


def test_an_async_stream_that_stalls_ends_at_the_deadline(make: Make, tmp_path: Path) -> None:
    make()

    async def story() -> None:
        with router.Router(tmp_path / "policy.yaml", tmp_path / "state", SlowChunks()) as one:
            stream = await one.acomplete(HELLO, stream=True, timeout_s=0.05)
            with pytest.raises(router.DeadlineExceededError):
                async for _ in stream:
                    pass
            rows = one.ledger.rows("SELECT outcome FROM requests")
            assert (stream.completion.text, rows) == ("one ", [{"outcome": "error"}])

    asyncio.run(story())


def test_a_stream_whose_row_could_not_be_written_is_booked_once_when_it_can(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = make(small="a b c")
    stream = one.complete(HELLO, model="small", stream=True)
    with monkeypatch.context() as broken:
        broken.setattr(one.ledger, "append_request", lambda *_, **__: (_ for _ in ()).throw(router.StoreError("full")))
        with pytest.raises(router.StoreError):
            list(stream)
    stream.close()
    assert len(stream.completion.attempts) == len(one.ledger.attempts(stream.completion.id)) == 1
