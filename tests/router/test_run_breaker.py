"""The run breaker as a service meets it: real calls, one shared state folder, and a command that lets go."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from loopback import Provider, status

import router
from router.cli import cli

POLICY = """
version: 1
models: [{id: m, call: openai/m, api_base: "URL", api_key_env: CLEARBAR_KEY, price: {input: 1, output: 2}}]
rules: [{candidates: [m], strategy: fixed}]
breaker: BREAKER
"""
HI = [{"role": "user", "content": "one two three"}]
Make = Callable[..., router.Router]


@pytest.fixture
def make(tmp_path: Path, provider: Provider, monkeypatch: pytest.MonkeyPatch) -> Iterator[Make]:
    monkeypatch.setenv("CLEARBAR_KEY", "k")
    made: list[router.Router] = []

    def build(breaker: str = "on") -> router.Router:
        path = tmp_path / f"policy{len(made)}.yaml"
        path.write_text(POLICY.replace("URL", provider.url).replace("BREAKER", breaker), encoding="utf-8")
        made.append(router.Router(path, tmp_path / "state"))
        return made[-1]

    yield build
    for one in made:
        one.close()


def loop(one: router.Router, calls: int, **options: Any) -> router.RunStoppedError | None:
    for _ in range(calls):
        try:
            one.complete(HI, workflow="w", run_id="r", **options)
        except router.RunStoppedError as error:
            return error
    return None


def test_a_loop_is_stopped_before_its_call_is_sent_and_the_error_says_why(make: Make, provider: Provider) -> None:
    one = make()
    error = loop(one, 50)
    assert error is not None
    assert (error.run_id, error.workflow, error.reason, error.value, error.limit) == ("r", "w", "cycle", 8, 8)
    assert error.readings["calls"] == 9 and error.readings["cost_usd"] == pytest.approx(8 * 9e-6)
    assert "clearbar budget release r" in str(error)
    assert len(provider.requests_for("m")) == 8
    (row,) = one.ledger.rows("SELECT error, attempts FROM requests WHERE outcome = 'error'")
    assert row["error"].startswith("RunStoppedError") and row["attempts"] == 0
    assert loop(one, 1) is not None
    assert one.complete(HI, workflow="w", run_id="other").text


def test_in_shadow_nothing_is_stopped_and_the_decision_says_what_would_have_been(make: Make) -> None:
    one = make("{mode: shadow}")
    done = [one.complete(HI, workflow="w", run_id="r") for _ in range(12)]
    assert [one.decision.run_stop is None for one in done] == [True] * 8 + [False] * 4
    assert "calls in a row" in (done[-1].decision.run_stop or "")
    (row,) = one.ledger.runs.stopped()
    assert (row["mode"], row["trip"].reason) == ("shadow", "cycle")
    kept = one.ledger.request(done[-1].id)
    assert kept is not None and json.loads(kept["decision"])["run_stop"] == done[-1].decision.run_stop


def test_processes_that_share_a_folder_share_their_runs(make: Make) -> None:
    first, second = make(), make()
    sent = 0
    with pytest.raises(router.RunStoppedError):
        for sent in range(20):
            (first, second)[sent % 2].complete(HI, workflow="w", run_id="r")
    assert sent == 8


def test_a_released_run_goes_on_and_may_be_stopped_again(make: Make, tmp_path: Path) -> None:
    one = make()
    assert loop(one, 20)
    state = ["--state", str(tmp_path / "state")]
    assert "r of w" in CliRunner().invoke(cli, ["budget", "stopped", *state]).stdout
    done = CliRunner().invoke(cli, ["budget", "release", "r", *state])
    assert done.exit_code == 0 and "8 calls in a row" in done.stdout
    assert loop(one, 8) is None
    assert loop(one, 2) is not None
    assert CliRunner().invoke(cli, ["budget", "release", "no such", *state]).exit_code != 0
    assert CliRunner().invoke(cli, ["budget", "release", *state]).exit_code != 0
    rows = CliRunner().invoke(cli, ["budget", "release", "--workflow", "w", "--json", *state]).stdout
    assert [row["run_id"] for row in json.loads(rows)] == ["r"]


def test_failed_calls_count_and_requests_without_a_run_do_not(make: Make, provider: Provider) -> None:
    one = make("{mode: on, limits: {calls: 3}}")
    provider.always("m", status(401))
    for _ in range(2):
        with pytest.raises(router.AuthenticationFailedError):
            one.complete(HI, workflow="w", run_id="r")
    with pytest.raises(router.RunStoppedError):
        one.complete(HI, workflow="w", run_id="r")
    for _ in range(4):
        with pytest.raises(router.AuthenticationFailedError):
            one.complete(HI, workflow="w")


def test_a_run_is_stopped_for_money_too_also_where_it_streams(make: Make) -> None:
    one = make("{mode: on, limits: {cost_usd: 0.000015}}")
    for text in ("a b c", "d e f"):
        for _ in one.complete([{"role": "user", "content": text}], run_id="r", stream=True):
            pass
    with pytest.raises(router.RunStoppedError) as caught:
        one.complete(HI, run_id="r")
    assert (caught.value.reason, caught.value.workflow) == ("cost_usd", None)


def test_no_text_is_kept(make: Make) -> None:
    one = make("shadow")
    one.complete([{"role": "user", "content": "xylophone"}], workflow="w", run_id="r")
    (row,) = one.ledger.rows("SELECT * FROM runs")
    assert "xylophone" not in repr(row)


def test_a_cached_answer_is_no_call_of_the_run(make: Make, tmp_path: Path, provider: Provider) -> None:
    text = POLICY.replace("URL", provider.url).replace("BREAKER", "on").replace("fixed}", "fixed, cache: exact}")
    (tmp_path / "cached.yaml").write_text(text, encoding="utf-8")
    with router.Router(tmp_path / "cached.yaml", tmp_path / "state") as one:
        assert loop(one, 30) is None


def test_what_was_stopped_teaches_only_once_it_was_released(make: Make) -> None:
    one = make("{mode: on, limits: {calls: 3}}")
    for number in range(20):
        for _ in range(3):
            try:
                one.complete(HI, workflow="w", run_id=f"r{number}")
            except router.RunStoppedError:
                break
    from router.spend.breaker import Breaking

    now_us = 1 << 60
    assert one.ledger.runs.limits("w", Breaking(), 0)["cycle"].basis == "a default: 0 runs known"
    one.ledger.runs.release(workflow="w")
    assert one.ledger.runs.limits("w", Breaking(), 0)["cycle"].basis == "from 20 runs of the workflow"
    one.ledger.runs.limits("w", Breaking(), now_us)
    assert one.ledger.rows("SELECT * FROM runs") == []


def test_in_shadow_a_run_that_ended_a_little_above_its_limit_counts_and_a_loop_does_not(make: Make) -> None:
    one = make("{mode: shadow, limits: {calls: 3}}")
    for number, calls in enumerate([4] * 20 + [14]):
        for _ in range(calls):
            one.complete(HI, workflow="w", run_id=f"r{number}")
    from router.spend.breaker import Breaking

    later_us = max(row["stopped_us"] for row in one.ledger.runs.stopped()) + 2 * 3_600_000_000
    assert one.ledger.runs.limits("w", Breaking(), later_us)["calls"].basis == "from 20 runs of the workflow"


def test_threads_of_one_run_are_counted_one_by_one(make: Make, provider: Provider) -> None:
    one = make()
    with ThreadPoolExecutor(16) as pool:
        ends = list(pool.map(lambda _: loop(one, 5), range(16)))
    assert all(isinstance(end, router.RunStoppedError) for end in ends)
    assert len(provider.requests_for("m")) == 8
