"""`clearbar spend`: the same figures in the terminal, as JSON, as CSV and as a page."""

from __future__ import annotations

import csv
import io
import json
import shutil
import subprocess
from collections.abc import Callable, Sequence
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from router._request import chat_request
from router.cli.spend import spend
from router.cli.spend_page import usd
from router.cli.spend_tables import bar, spark
from router.spend.csv_cells import as_name
from router.spend.ledger import Ledger
from router.types import Attempt

HOSTILE = '</script><img src=x onerror="document.title=1">'
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
Run = Callable[..., Result]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """The command over a ledger of three requests: two calls, and an answer out of the cache."""
    with closing(Ledger(tmp_path / "ledger.sqlite3")) as ledger:
        for team, plan, cost, latency_s in (("search", "gold", "0.25", 1.0), (HOSTILE, "free", "1.5", 4.0)):
            call = Attempt(
                model="m", call="fake/m", outcome="ok", usage=None, cost_usd=Decimal(cost), latency_s=latency_s
            )
            tags = {"plan": plan, "client": "a\x1b[2J"}
            request = chat_request([{"role": "user", "content": "hi"}], team=team, run_id="r", tags=tags)
            ledger.append_request(
                request, None, outcome="ok", attempts=[call], unwritten=1, cost_usd=call.cost_usd,
                latency_s=latency_s, cache="miss", model="m",
            )  # fmt: skip
        hit = chat_request([{"role": "user", "content": "hi"}], team="search")
        ledger.append_request(
            hit, None, outcome="ok", attempts=[], cost_usd=Decimal(0), latency_s=0.1, cache="exact", model="m"
        )

    def invoke(*arguments: str, columns: str = "200") -> Result:
        return CliRunner(env={"COLUMNS": columns}).invoke(spend, [*arguments, "--state", str(tmp_path)])

    return invoke


def rows(result: Result) -> list[dict[str, Any]]:
    assert result.exit_code == 0, result.output
    found: list[dict[str, Any]] = json.loads(result.stdout)
    return found


def test_without_a_command_it_is_the_report(run: Run) -> None:
    assert rows(run("--by", "team", "--json")) == rows(run("report", "--by", "team", "--json"))


def test_requests_hits_calls_and_cost_are_told_by_group(run: Run) -> None:
    dearest, search = rows(run("--by", "team", "--json"))
    assert (dearest["team"], dearest["cost_usd"], dearest["requests"]) == (HOSTILE, "1.5", 1)
    assert (search["requests"], search["hits"], search["calls"], search["cost_usd"]) == (2, 1, 1, "0.25")


@pytest.mark.parametrize("by", ["tags.plan", "run_id,tags.plan"])
def test_free_form_tags_and_runs_group_too(run: Run, by: str) -> None:
    assert [row["tags.plan"] for row in rows(run("--by", by, "--json"))] == ["free", "gold", None]


def test_filters_narrow_it_and_an_empty_value_means_unset(run: Run) -> None:
    assert [row["cost_usd"] for row in rows(run("--where", "team=search", "--json"))] == ["0.25"]
    (unset,) = rows(run("--by", "team", "--where", "tags.plan=", "--json"))
    assert (unset["team"], unset["hits"], unset["calls"]) == ("search", 1, 0)
    assert rows(run("--until", "2020-01-01", "--json")) == []


@pytest.mark.parametrize("by", ["team", "run_id"])
def test_of_a_period_after_the_last_row_nothing_is_told(run: Run, by: str) -> None:
    assert rows(run("--by", by, "--since", "2100-01-01", "--latency", "--json")) == []


@pytest.mark.parametrize("step", ["hour", "day", "week", "month"])
def test_time_is_a_column_like_others(run: Run, step: str) -> None:
    found = rows(run("--by", f"team,{step}", "--last", "2d", "--json"))
    assert sum(Decimal(row["cost_usd"]) for row in found) == Decimal("1.75")
    assert found[0]["at"].endswith("Z")


def test_csv_has_every_figure(run: Run) -> None:
    written = list(csv.DictReader(io.StringIO(run("--by", "team", "--csv").stdout)))
    assert [(row["cost_usd"], row["calls"]) for row in written] == [("1.5", "1"), ("0.25", "1")]


@pytest.mark.parametrize("name", ["=1+1", "+1", "-1", "@sum", "\t=1"])
def test_a_spreadsheet_takes_no_name_for_a_formula(name: str) -> None:
    assert as_name(name) == f"'{name}"


def test_latencies_are_one_percent_off_at_most(run: Run) -> None:
    slow, fast = rows(run("--by", "team", "--latency", "--json"))
    assert slow["p95_s"] == pytest.approx(4.0, rel=0.011)
    assert fast["p50_s"] == pytest.approx(1.0, rel=0.011)


def test_the_terminal_shows_bars_lines_and_how_fresh_it_is(run: Run) -> None:
    assert "█" * 16 in run("--by", "team").output
    assert "seconds before this report" in run("--by", "model").output
    assert "by day" in run("--by", "team,day").output


@pytest.mark.parametrize("by", ["tags.client", "tags.client,day"])
def test_a_terminal_takes_no_name_for_an_order(run: Run, by: str) -> None:
    told = run("--by", by).output
    assert "a\ufffd[2J" in told
    assert "\x1b" not in told


def test_eighty_columns_cut_no_figure(run: Run) -> None:
    told = run("--by", "model", columns="80").output
    assert "…" not in told
    assert "1.75 │" in told


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--by", "nosuch"], "cannot group by nosuch; known are team"),
        (["--by", "hour,day"], "cannot group by hour and day at once"),
        (["--where", "nosuch=1"], "columns are team"),
        (["--last", "3x"], "write 90m, 24h, 7d or 4w"),
        (["--last", "3d", "--since", "2026-01-01"], "give one of them"),
    ],
    ids=lambda value: value if isinstance(value, str) else " ".join(value),
)
def test_a_mistake_is_told_with_its_remedy(run: Run, arguments: Sequence[str], said: str) -> None:
    result = run(*arguments)
    assert result.exit_code == 2
    assert said in result.output.replace("\n", " ")


@pytest.mark.parametrize("by", ["team", "team,day", "day"])
def test_the_page_needs_nothing_else_and_shows_names_as_text(run: Run, tmp_path: Path, by: str) -> None:
    assert run("--by", by, "--latency", "--html", str(tmp_path / "page.html")).exit_code == 0
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "<script" not in page
    assert "<img" not in page
    assert "default-src 'none'" in page
    assert ("&lt;img" in page) == ("team" in by)


@pytest.mark.skipif(CHROMIUM is None, reason="needs chromium: apt-get install chromium")
def test_a_browser_takes_the_pages_style(run: Run, tmp_path: Path) -> None:
    run("--by", "team,day", "--html", str(tmp_path / "page.html"))
    subprocess.run(
        [str(CHROMIUM), "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'profile'}",
         f"--screenshot={tmp_path / 'page.png'}", (tmp_path / "page.html").as_uri()],
        capture_output=True, timeout=120, check=True,
    )  # fmt: skip
    assert (tmp_path / "page.png").stat().st_size > 10_000


def test_plots_of_blocks_are_in_proportion() -> None:
    assert spark([Decimal(0), Decimal(1), Decimal(8)]) == " ▂█"
    assert spark([]) == ""
    assert bar(Decimal(1), Decimal(2)) == "█" * 8
    assert bar(Decimal(0), Decimal(0)) == ""


def test_small_amounts_keep_digits_that_matter() -> None:
    assert [usd(Decimal(amount)) for amount in ("0", "0.000379", "0.5", "1234.567")] == [
        "$0", "$0.000379", "$0.50", "$1,234.57",
    ]  # fmt: skip
