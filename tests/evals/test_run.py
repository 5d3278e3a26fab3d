"""Runs: resumable, never counted twice, within their cap."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path

import pytest

from evals.outcomes import outcome_rows
from evals.plan import plan_run
from evals.runner import Progress, execute
from evals.store import Run
from evals.suite import Suite, load_suite
from evals.summary import standings
from evals.types import Cell, EvalError, Failed, Result, Scored
from policies import SMALL_AND_LARGE
from router import Router
from router.errors import ProviderTimeoutError, RateLimitedError
from router.transports.fake import FakeTransport
from router.types import Call, Reply

SUITE = """\
version: 1
name: capitals
tasks:
  capitals: {source: capitals.jsonl, scorer: exact, params: {max_tokens: 4}, bar: 0.5}
"""


@pytest.fixture
def suite(tmp_path: Path) -> Suite:
    rows = [{"prompt": f"capital {i}", "reference": f"city {i}"} for i in range(10)]
    (tmp_path / "capitals.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    (tmp_path / "suite.yaml").write_text(SUITE, encoding="utf-8")
    return load_suite(tmp_path / "suite.yaml")


@pytest.fixture
def make_router(tmp_path: Path) -> Iterator[Callable[..., Router]]:
    (tmp_path / "policy.yaml").write_text(SMALL_AND_LARGE, encoding="utf-8")
    made: list[Router] = []

    def make(**scripts: object) -> Router:
        made.append(Router(tmp_path / "policy.yaml", tmp_path / "state", FakeTransport(scripts, default=right)))  # type: ignore[arg-type]
        return made[-1]

    yield make
    for router in made:
        router.close()


def right(call: Call) -> str:
    return str(call.messages[-1]["content"]).replace("capital", "city")


def sent(router: Router) -> int:
    return len(router._transport.calls)  # type: ignore[attr-defined]


def ran(run: Run, suite: Suite, router: Router, *candidates: str, **options: object) -> Progress:
    limits = {name: options.pop(name) for name in ("limit", "repeats") if name in options}
    plan = plan_run(suite, router, candidates, run, **limits)  # type: ignore[arg-type]
    return execute(plan, suite, router, run, **options)  # type: ignore[arg-type]


def test_every_candidate_is_asked_every_sample_once(
    suite: Suite, make_router: Callable[..., Router], tmp_path: Path
) -> None:
    run, router = Run(tmp_path / "run"), make_router(small="no idea")
    progress = ran(run, suite, router, "small", "large")
    assert (progress.total, progress.finished, progress.failed, sent(router)) == (20, 20, 0, 20)
    by_model = {"small": 0.0, "large": 0.0}
    for cell, result in run.results().items():
        assert isinstance(result.score, Scored)
        by_model[cell.candidate] += result.score.value
        assert result.model_version == f"fake/{cell.candidate}"
        assert result.cost_usd is not None and result.cost_usd > 0
    assert by_model == {"small": 0.0, "large": 10.0}


def test_calls_carry_the_suites_parameters_and_say_that_they_are_evals(
    suite: Suite, make_router: Callable[..., Router], tmp_path: Path
) -> None:
    router = make_router()
    ran(Run(tmp_path / "run"), suite, router, "small", limit=1)
    assert router._transport.calls[0].params["max_tokens"] == 4  # type: ignore[attr-defined]
    (row,) = router.ledger.scan(["workflow", "run_id"])
    assert row["workflow"] == "eval" and row["run_id"] == Run(tmp_path / "run").manifest().run_id


def test_resume_asks_only_what_is_missing(suite: Suite, make_router: Callable[..., Router], tmp_path: Path) -> None:
    run, router = Run(tmp_path / "run"), make_router()
    ran(run, suite, router, "small", limit=4)
    before = run.manifest().run_id
    progress = ran(run, suite, router, "small", "large")
    assert (progress.total, sent(router)) == (16, 20)
    assert (len(run.results()), run.manifest().run_id) == (20, before)
    assert ran(run, suite, router, "small", "large").total == 0


def test_failed_calls_are_recorded_and_asked_again(
    suite: Suite, make_router: Callable[..., Router], tmp_path: Path
) -> None:
    run = Run(tmp_path / "run")
    broken = make_router(small=ValueError("broken"))
    assert ran(run, suite, broken, "small").failed == 10
    assert all(isinstance(result.score, Failed) for result in run.results().values())
    progress = ran(run, suite, make_router(), "small")
    assert (progress.total, progress.failed) == (10, 0)
    assert all(isinstance(result.score, Scored) for result in run.results().values())
    assert len(list(run.history())) == 20


def test_a_provider_error_names_itself(suite: Suite, make_router: Callable[..., Router], tmp_path: Path) -> None:
    run = Run(tmp_path / "run")
    error = RateLimitedError("slow down", retry_after_s=0.0)
    ran(run, suite, make_router(small=[error] * 20), "small", limit=1)
    (result,) = run.results().values()
    assert isinstance(result.score, Failed) and "slow down" in result.score.error


def test_a_later_failure_never_replaces_an_answer(
    suite: Suite, make_router: Callable[..., Router], tmp_path: Path
) -> None:
    run = Run(tmp_path / "run")
    ran(run, suite, make_router(), "small", limit=1)
    (good,) = run.results().values()
    with run.writing():
        run.append(Result(cell=good.cell, score=Failed("late")))
    assert list(run.results().values()) == [good]


def test_a_torn_last_line_is_cut_off_and_its_cell_asked_again(
    suite: Suite, make_router: Callable[..., Router], tmp_path: Path
) -> None:
    run, router = Run(tmp_path / "run"), make_router()
    ran(run, suite, router, "small")
    cells = tmp_path / "run" / "cells.jsonl"
    cells.write_bytes(cells.read_bytes()[:-7])
    assert len(run.results()) == 9
    assert ran(run, suite, router, "small").total == 1
    assert len(run.results()) == len(cells.read_text(encoding="utf-8").splitlines()) == 10


def test_a_broken_line_in_the_middle_is_told_with_its_number(
    suite: Suite, make_router: Callable[..., Router], tmp_path: Path
) -> None:
    run = Run(tmp_path / "run")
    ran(run, suite, make_router(), "small")
    cells = tmp_path / "run" / "cells.jsonl"
    cells.write_text("oops\n" + cells.read_text(encoding="utf-8"), encoding="utf-8")
    with pytest.raises(EvalError, match=r"cells\.jsonl:1: not JSON"):
        run.results()


def test_only_one_process_writes(tmp_path: Path) -> None:
    with Run(tmp_path / "run").writing(), pytest.raises(EvalError, match="another process is writing"):
        with Run(tmp_path / "run").writing():
            pass


def test_another_suite_cannot_go_on_with_a_run(
    suite: Suite, make_router: Callable[..., Router], tmp_path: Path
) -> None:
    run, router = Run(tmp_path / "run"), make_router()
    ran(run, suite, router, "small", limit=1)
    with (tmp_path / "capitals.jsonl").open("a", encoding="utf-8") as file:
        file.write('{"prompt": "new", "reference": "x"}\n')
    with pytest.raises(EvalError, match="another version of suite 'capitals'"):
        plan_run(load_suite(tmp_path / "suite.yaml"), router, ["small"], run)


def test_repeats_are_cells_of_their_own(suite: Suite, make_router: Callable[..., Router], tmp_path: Path) -> None:
    run = Run(tmp_path / "run")
    assert ran(run, suite, make_router(), "small", limit=2, repeats=3).total == 6
    assert sorted(cell.repeat for cell in run.results()) == [0, 0, 1, 1, 2, 2]


def test_the_cap_is_never_passed_and_what_was_bought_is_kept(
    suite: Suite, make_router: Callable[..., Router], tmp_path: Path
) -> None:
    run, router = Run(tmp_path / "run"), make_router()
    worst = plan_run(suite, router, ["large"], run).jobs[0].worst_usd
    assert worst is not None
    cap = worst * 3 / 2  # room for one call at a time, so that workers have to wait for each other
    progress = ran(run, suite, router, "large", max_cost_usd=cap)
    assert progress.is_stopped_by_cap and 0 < progress.finished < 10
    assert progress.spent_usd <= cap
    assert len(run.results()) == progress.finished
    # Resuming under the same cap counts what was spent before.
    assert ran(run, suite, router, "large", max_cost_usd=progress.spent_usd).finished == 0


def test_a_resumed_cap_counts_a_lost_call_at_its_worst(
    suite: Suite, make_router: Callable[..., Router], tmp_path: Path
) -> None:
    run = Run(tmp_path / "run")
    worst = plan_run(suite, make_router(), ["large"], run).worst_usd()
    lost = ran(run, suite, make_router(large=ProviderTimeoutError("too slow")), "large", max_failures=1.0)
    assert worst is not None and lost.failed == 10 and {result.cost_usd for result in run.results().values()} == {None}
    assert ran(run, suite, make_router(), "large", max_cost_usd=worst).finished == 0


def test_a_cap_needs_known_prices(suite: Suite, make_router: Callable[..., Router], tmp_path: Path) -> None:
    run, router = Run(tmp_path / "run"), make_router()
    with pytest.raises(EvalError, match="price of unpriced is unknown"):
        ran(run, suite, router, "small", "unpriced", max_cost_usd=Decimal(1))
    assert sent(router) == 0
    assert ran(run, suite, router, "unpriced").finished == 10


def test_an_unknown_candidate_is_refused_with_a_hint(
    suite: Suite, make_router: Callable[..., Router], tmp_path: Path
) -> None:
    with pytest.raises(EvalError, match="no model 'smal'; did you mean 'small'"):
        plan_run(suite, make_router(), ["smal"], Run(tmp_path / "run"))


def test_progress_is_reported_from_the_calling_thread(
    suite: Suite, make_router: Callable[..., Router], tmp_path: Path
) -> None:
    seen: list[tuple[int, bool]] = []

    def note(progress: Progress) -> None:
        seen.append((progress.finished, threading.current_thread() is threading.main_thread()))

    ran(Run(tmp_path / "run"), suite, make_router(), "small", "large", on_progress=note)
    assert seen == [(i, True) for i in range(1, 21)]


def test_ctrl_c_keeps_what_is_in_flight(suite: Suite, make_router: Callable[..., Router], tmp_path: Path) -> None:
    released = threading.Event()

    def slow(call: Call) -> str:
        if sent(router) > 4:
            released.wait()
        return right(call)

    class Patient(FakeTransport):
        async def asend(self, call: Call) -> Reply:
            return await asyncio.to_thread(self.send, call)

    run, router = Run(tmp_path / "run"), make_router()
    router._transport = Patient(default=slow)

    def interrupt(progress: Progress) -> None:
        if progress.finished == 1:
            signal.raise_signal(signal.SIGINT)
            released.set()

    with pytest.raises(KeyboardInterrupt):
        ran(run, suite, router, "small", "large", on_progress=interrupt)
    kept = len(list(run.history()))
    assert kept == sent(router) < 20
    assert ran(run, suite, router, "small", "large").total == 20 - kept


KILLED = """
import sys
from pathlib import Path
from evals.outcomes import outcome_rows
from evals.plan import plan_run
from evals.runner import execute
from evals.store import Run
from evals.suite import load_suite
from router import Router
from router.transports.fake import FakeTransport

folder = Path(sys.argv[1])
suite = load_suite(folder / "suite.yaml")
router = Router(folder / "policy.yaml", folder / "state", FakeTransport(default="city 1", delay_s=0.01))
run = Run(folder / "run")
plan = plan_run(suite, router, ["small", "large"], run, repeats=50)
execute(plan, suite, router, run, on_progress=lambda progress: print(progress.finished, flush=True))
"""


def test_kill_9_loses_nothing_that_was_reported_and_counts_nothing_twice(
    suite: Suite, make_router: Callable[..., Router], tmp_path: Path
) -> None:
    make_router()
    run = Run(tmp_path / "run")
    total = 10 * 2 * 50
    reported = 0
    for stop_after in (17, 60, 140):
        with subprocess.Popen(
            [sys.executable, "-c", KILLED, str(tmp_path)],
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        ) as process:
            assert process.stdout is not None
            for line in process.stdout:
                if int(line) >= stop_after:
                    process.kill()
                    break
        reported += stop_after
        history = list(run.history())
        assert len(history) >= reported
        assert len({result.cell for result in history}) == len(history)
        reported = len(history)
    router = make_router(small="city 1", large="city 1")
    assert ran(run, suite, router, "small", "large", repeats=50).total == total - reported
    history = list(run.history())
    assert len(history) == len({result.cell for result in history}) == total


def test_a_provider_that_turns_calls_away_gets_fewer_and_every_cell_its_answer(
    suite: Suite, make_router: Callable[..., Router], tmp_path: Path
) -> None:
    turned_away = 0

    def busy(call: Call) -> str | Exception:
        nonlocal turned_away
        turned_away += 1
        return RateLimitedError("slow down", retry_after_s=0.0) if turned_away <= 7 else right(call)

    run, router = Run(tmp_path / "run"), make_router(small=busy)
    progress = ran(run, suite, router, "small")
    assert (progress.finished, progress.failed, sent(router)) == (10, 0, 17)


def test_too_many_failures_end_a_run_and_what_was_answered_is_kept(
    suite: Suite, make_router: Callable[..., Router], tmp_path: Path
) -> None:
    run, router = Run(tmp_path / "run"), make_router(small=ValueError("broken"))
    progress = ran(run, suite, router, "small", "large", repeats=20, max_failures=0.4)
    assert progress.is_stopped_by_failures and 20 <= progress.finished < 400
    assert len(list(run.history())) == progress.finished
    assert ran(run, suite, router, "large", repeats=20, max_failures=0.0).failed == 0


def test_a_candidate_whose_bar_is_decided_is_asked_no_more(
    suite: Suite, make_router: Callable[..., Router], tmp_path: Path
) -> None:
    rows = [{"prompt": f"capital {i}", "reference": f"city {i}"} for i in range(200)]
    (tmp_path / "capitals.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    many, router = load_suite(tmp_path / "suite.yaml"), make_router(small="no idea")
    run = Run(tmp_path / "run")
    progress = ran(run, many, router, "small", "large", stop_early="cheapest", concurrency=2)
    assert progress.finished + progress.skipped == progress.total == 400
    assert progress.finished < 80
    verdicts = {standing.candidate: standing.verdict for standing in standings(run)}
    assert verdicts == {"small": "failed", "large": "held"}
    # What was learned holds in the next session, too: nobody is worth another call.
    assert ran(run, many, router, "small", "large", stop_early="cheapest").finished == 0
    assert run.manifest().stop_early


def test_one_wait_for_the_disk_can_serve_many_answers(tmp_path: Path) -> None:
    run = Run(tmp_path / "run")
    cells = [Cell(suite_sha256="ab", sample=str(i), candidate="small") for i in range(3)]
    with run.writing():
        run.append(*(Result(cell=cell, score=Scored(1.0), cost_usd=0.5) for cell in cells))
    assert [result.cell for result in run.history()] == cells
    assert {result.list_cost_usd for result in run.history()} == {0.5}


def test_how_sure_a_model_was_is_kept_where_the_provider_tells_it(
    suite: Suite, make_router: Callable[..., Router], tmp_path: Path
) -> None:
    def told(call: Call) -> dict[str, object]:
        message = {"role": "assistant", "content": right(call)}
        tokens = {"content": [{"token": "a", "logprob": -0.5}, {"token": "b", "logprob": -1.5}]}
        return {"choices": [{"index": 0, "message": message, "finish_reason": "stop", "logprobs": tokens}]}

    run = Run(tmp_path / "run")
    ran(run, suite, make_router(small=told, large=right), "small", "large")
    assert {(row["model"], row["logprob"]) for row in outcome_rows(run)} == {("small", -1.0), ("large", None)}
