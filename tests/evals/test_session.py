"""One call of a run: what is written down of it, and what its lane hears."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from evals.lanes import Lane, Purse
from evals.plan import Job
from evals.session import PAUSE_S, TRIES, Ended, News, Session
from evals.types import Cell, Failed, Scored, make_sample
from router.errors import ProviderUnavailableError, RateLimitedError
from router.spend.prices import Price


class Asked:
    """A router that does what a function says, and nothing else."""

    def __init__(self, answer: Callable[[], Any], prices: Sequence[Price] = ()) -> None:
        self._answer = answer
        self.policy = SimpleNamespace(prices={"small": prices})
        self.calls = 0

    async def acomplete(self, messages: object, **options: object) -> Any:
        self.calls += 1
        self.options = options
        answer = self._answer()
        if isinstance(answer, Exception):
            raise answer
        return answer


def answer(cache: str = "off", cost: str | None = "0.5", errors: Sequence[str] = ()) -> Any:
    attempts = [SimpleNamespace(error=error, model_version="v1") for error in (*errors, None)]
    usage = SimpleNamespace(prompt_tokens=1_000_000, completion_tokens=2_000_000)
    return SimpleNamespace(text="yes", usage=usage, payload={}, cost_usd=None if cost is None else Decimal(cost),
                           cache=cache, latency_s=0.1, attempts=[] if cache == "exact" else attempts)  # fmt: skip


def run(router: Asked, count: int = 1, max_failures: float = 1.0, limit: int = 8) -> tuple[list[Any], Lane, Session]:
    heard, lane, session = told(router, count, max_failures, limit)
    assert heard.pop() == Ended()
    return [news.result for news in heard if isinstance(news, News)], lane, session


def told(router: Asked, count: int, max_failures: float, limit: int) -> tuple[list[News | Ended], Lane, Session]:
    lane = Lane(limit)
    heard: list[News | Ended] = []
    for number in range(count):
        sample = make_sample("qa", ({"role": "user", "content": str(number)},), "yes")
        cell = Cell(suite_sha256="ab", sample=sample.id, candidate="small")
        lane.jobs.append(Job(cell=cell, sample=sample, params={}, worst_usd=None))
    suite: Any = SimpleNamespace(
        scorer_of=lambda sample: lambda response, reference: Scored(float(response == reference))
    )
    session = Session(lanes={"small": lane}, purse=Purse(Decimal(0), None), router=router, suite=suite,  # type: ignore[arg-type]
                      run_id="run-1", max_failures=max_failures, early=None, tell=heard.append)  # fmt: skip
    session.run()
    return heard, lane, session


def test_billed_and_list_cost_are_the_same_for_a_fresh_answer() -> None:
    ((result,), _, _) = run(Asked(answer))
    assert (result.score, result.cost_usd, result.list_cost_usd) == (Scored(1.0), 0.5, 0.5)
    assert result.model_version == "v1"


def test_an_answer_from_the_cache_is_billed_nothing_and_listed_at_its_price() -> None:
    price = Price(input=Decimal(1), output=Decimal(3))
    ((result,), _, _) = run(Asked(lambda: answer("exact", "0"), [price]))
    assert (result.cost_usd, result.list_cost_usd) == (0.0, 7.0)


def test_an_answer_from_the_cache_without_a_price_has_an_unknown_cost() -> None:
    ((result,), _, _) = run(Asked(lambda: answer("exact", "0")))
    assert (result.cost_usd, result.list_cost_usd) == (None, None)


def test_a_call_that_is_turned_away_for_good_fails_after_some_tries() -> None:
    router = Asked(lambda: RateLimitedError("slow down", retry_after_s=0.0))
    ((result,), lane, _) = run(router)
    assert isinstance(result.score, Failed) and router.calls == 1 + TRIES
    assert lane.limit < 8


@pytest.mark.parametrize("error", ["RateLimitedError: slow", "ProviderUnavailableError: down"])
def test_complaints_that_the_router_has_mended_itself_still_slow_the_lane(error: str) -> None:
    _, lane, _ = run(Asked(lambda: answer(errors=[error])))
    assert lane.limit == 4


def test_a_pause_the_provider_asks_for_is_the_lanes_and_not_the_routers() -> None:
    errors: list[Any] = [
        ProviderUnavailableError("down", retry_after_s=0.01),
        RateLimitedError("m", retry_after_s=0.01),
    ]
    router = Asked(lambda: errors.pop() if errors else answer())
    ((result,), _, _) = run(router)
    assert result.score == Scored(1.0) and router.calls == 3
    assert router.options["patience_s"] == 0


def test_a_provider_that_is_down_is_not_asked_the_same_again() -> None:
    router = Asked(lambda: ProviderUnavailableError("down"))
    ((result,), lane, _) = run(router)
    assert isinstance(result.score, Failed) and router.calls == 1 and lane.limit == 4


def test_a_mistake_of_ours_is_told_last_after_the_calls_in_flight_have_come_home() -> None:
    answers = [answer() for _ in range(7)] + [SimpleNamespace(text="an answer that lacks the rest", attempts=[])]
    heard, _, _ = told(Asked(answers.pop), count=20, max_failures=1.0, limit=8)
    assert [type(one) for one in heard] == [News] * 7 + [Ended]
    assert isinstance(heard[-1], Ended) and isinstance(heard[-1].error, AttributeError)


def test_a_session_stops_when_too_many_of_twenty_calls_have_failed() -> None:
    router = Asked(lambda: ProviderUnavailableError("down"))
    results, _, session = run(router, count=200, max_failures=0.1)
    assert session.is_failing and 20 <= len(results) < 40


def test_a_pause_without_a_length_is_a_short_one(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("evals.session.PAUSE_S", 0.001)
    assert PAUSE_S == 1.0
    answers = [RateLimitedError("slow down"), RateLimitedError("slow down"), answer()]
    ((result,), _, _) = run(Asked(lambda: answers.pop(0)))
    assert result.score == Scored(1.0)
