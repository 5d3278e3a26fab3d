"""Requests that are only alike: what the semantic cache of a router serves, and above all what it does not."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from alike import ON, STREAM, Make, ask, learn, routers, rows

import router
from router._request import chat_request
from router.embedding import missing

pytestmark = pytest.mark.skipif(missing() is not None, reason="needs clearbar[embed]")


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    yield from routers(tmp_path)


def test_alike_requests_are_served_once_that_is_certified(make: Make) -> None:
    one = make()
    done = learn(one, rounds=2)
    hits = [completion for completion in done if completion.cache == "semantic"]
    assert not [completion for completion in done[:50] if completion.cache == "semantic"]
    assert len(hits) > 20
    right = dict(STREAM)
    for asked, completion in zip([text for text, _ in STREAM] * 2, done, strict=True):
        assert completion.text == right[asked]
    hit = hits[-1]
    said = hit.decision.semantic
    assert (hit.cost_usd, hit.attempts, hit.model) == (Decimal(0), (), "small")
    assert said is not None
    assert (said.mode, said.outcome, said.max_error) == ("on", "hit", 0.3)
    assert said.similarity is not None and said.similarity > 0.5
    assert said.wrong_upper is not None and said.wrong_upper <= 0.3
    assert said.saves_usd is not None and said.saves_usd > 0
    assert one.ledger.request(said.entry or "") is not None
    row = one.ledger.request(hit.id)
    assert row is not None
    assert (row["cache"], row["cost_pusd"], row["attempts"], row["model_served"]) == ("semantic", 0, 0, "small")
    assert "semantic cache (on): hit" in hit.decision.explain()


def test_shadow_serves_nothing_and_says_what_it_would_have_saved(make: Make) -> None:
    one = make("{mode: shadow, max_error: 0.3, confidence: 0.8}")
    done = learn(one, rounds=2)
    assert {completion.cache for completion in done} == {"miss"}
    assert len(one._transport.calls) == len(done)  # type: ignore[attr-defined]
    saved = [completion.decision.semantic for completion in done if completion.decision.semantic]
    would = [said for said in saved if said.outcome == "hit"]
    assert len(would) > 20
    assert all(said.saves_usd for said in would)
    assert all(completion.cost_usd for completion in done)
    row = one.ledger.request(done[-1].id)
    assert row is not None
    assert json.loads(row["decision"])["semantic"]["mode"] == "shadow"


def test_what_shadow_has_learned_serves_when_it_is_turned_on(make: Make) -> None:
    learn(make("{mode: shadow, max_error: 0.3, confidence: 0.8}"), rounds=2)
    one = make(ON)
    done = [one.complete(ask(text + "!"), task="cheap") for text, _ in STREAM]
    assert [one.cache for one in done[120:]].count("semantic") > 10


def served(one: router.Router, clearing: set[str]) -> set[tuple[str, str]]:
    """Outcome and reason of the whole stream, asked again, where these models clear the bar."""
    cache, found = one._kit.caches.alike, []
    assert cache is not None
    for text, _ in STREAM:
        request = chat_request(ask(text + "!"), task="cheap")
        caching = one.policy.rules[0].cache
        found.append(cache.look_up(request, caching, task="cheap", clearing=clearing, saves_usd=None))
    return {
        (one.note.outcome, one.note.reason.split(" ")[0]) for one in found if one.stored or "wrote" in one.note.reason
    }


def test_a_weak_models_answer_never_serves_where_only_a_stronger_one_clears_the_bar(make: Make) -> None:
    one = make()
    learn(one, rounds=2)
    assert served(one, {"large"}) == {("miss", "small")}  # "small wrote it and does not clear the bar now"
    assert ("hit", "p") in served(one, {"small", "large"})


def test_who_clears_the_bar_is_the_policys_word(make: Make) -> None:
    one = make()
    clearing = {task: one._kit.decide(chat_request(ask("hi"), task=task)).clearing for task in ("any", "dear", "exact")}
    assert clearing == {"any": {"small", "large"}, "dear": {"large"}, "exact": set()}
    # A bar for which nobody has evidence: nobody's answer serves.
    assert one._kit.decide(chat_request(ask("hi"), task="any", bar=0.9)).clearing == set()


def test_a_pinned_model_is_always_asked(make: Make) -> None:
    one = make()
    learn(one, rounds=2)
    pinned = [one.complete(ask(text + "!"), task="cheap", model="large") for text, _ in STREAM[:40]]
    assert {(done.model, done.cache) for done in pinned} == {("large", "off")}


def test_two_tenants_never_share(make: Make) -> None:
    one = make()
    learn(one, rounds=2, customer="first")
    for text, _ in STREAM[:30]:
        done = one.complete(ask(text + "??"), task="cheap", customer="second")
        assert done.decision.semantic is not None
        if done.cache == "semantic":  # of its own earlier questions
            row = one.ledger.request(done.decision.semantic.entry or "")
            assert row is not None
            assert row["customer"] == "second"


def test_a_refused_request_is_served_without_the_cache(make: Make) -> None:
    done = make().complete(ask("what is the price today"), task="cheap")
    assert done.decision.semantic is not None
    assert (done.cache, done.decision.semantic.outcome) == ("miss", "refused")
    assert "price, today" in done.decision.semantic.reason


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param({"content": "half an ans", "finish": "length"}, id="cut"),
        pytest.param({"content": "no", "finish": "content_filter"}, id="filtered"),
        pytest.param({"content": "", "finish": "stop"}, id="empty"),
        pytest.param({"content": None, "finish": "stop", "refusal": "I must not."}, id="refusal"),
        pytest.param({"content": "x", "finish": "stop", "tool_calls": [{"id": "1"}]}, id="tool call"),
    ],
)
def test_only_whole_answers_of_text_are_kept(make: Make, tmp_path: Path, answer: dict[str, Any]) -> None:
    finish = answer.pop("finish")
    payload = {"choices": [{"index": 0, "message": {"role": "assistant", **answer}, "finish_reason": finish}]}
    make(small=payload).complete(ask("How do I pay?"), task="cheap")
    assert rows(tmp_path, "SELECT COUNT(*) FROM entries") == [(0,)]


def test_a_rejected_hit_is_gone(make: Make, tmp_path: Path) -> None:
    one = make()
    hit = [done for done in learn(one, rounds=2) if done.cache == "semantic"][-1]
    entry = hit.decision.semantic.entry if hit.decision.semantic else None
    (labels,) = rows(tmp_path, "SELECT COUNT(*), SUM(wrong) FROM labels")
    one.reject(hit.id)
    assert rows(tmp_path, "SELECT COUNT(*) FROM entries WHERE request_id = ?", entry) == [(0,)]
    assert rows(tmp_path, "SELECT COUNT(*), SUM(wrong) FROM labels") == [(labels[0] + 1, labels[1] + 1)]
    for text, _ in STREAM:
        done = one.complete(ask(text + "!!"), task="cheap")
        assert done.decision.semantic is None or done.decision.semantic.entry != entry


def test_a_rejected_answer_out_of_the_exact_cache_is_gone_from_both(make: Make, tmp_path: Path) -> None:
    one = make()
    done = [one.complete(ask("How do I pay?"), task="cheap") for _ in range(2)]
    assert [completion.cache for completion in done] == ["miss", "exact"]
    one.reject(done[1].id)
    assert rows(tmp_path, "SELECT COUNT(*) FROM entries") == [(0,)]
    assert one.complete(ask("How do I pay?"), task="cheap").cache == "miss"


def test_a_hit_streams_as_chunks(make: Make) -> None:
    one = make()
    learn(one, rounds=2)
    for text, answer in STREAM:
        with one.complete(ask(text + "!"), task="cheap", stream=True) as stream:
            told = "".join(chunk.choices[0].delta.get("content") or "" for chunk in stream if chunk.choices)
            assert told == answer
            if stream.completion.cache == "semantic":
                return
    pytest.fail("no hit among the streams")


def test_the_async_side_is_served_as_well(make: Make) -> None:
    one = make()
    learn(one, rounds=2)

    async def run() -> list[str]:
        return [(await one.acomplete(ask(text + "!"), task="cheap")).cache for text, _ in STREAM[:60]]

    assert "semantic" in asyncio.run(run())


def test_a_failed_call_teaches_nothing(make: Make, tmp_path: Path) -> None:
    one = make(small=router.BadRequestError("no"))
    with pytest.raises(router.RouterError):
        one.complete(ask("How do I pay?"), task="cheap")
    assert rows(tmp_path, "SELECT COUNT(*) FROM entries") == [(0,)]
