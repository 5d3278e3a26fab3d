"""Which systems run: figures that add up to the report of spend, and what the policy says of each of them."""

from __future__ import annotations

import csv
import io
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import router
from router import FakeTransport
from router.cli import main
from router.errors import RouterError
from router.inventory.reach import rules_met
from router.policy import load_policy
from router.spend.ledger import Ledger
from tests.past import add_calls, days_ago

HOSTILE = '</script><img src=x onerror="document.title=1">|=1+1'
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
SOON = datetime.now(UTC) + timedelta(days=9)
POLICY = f"""\
version: 1
models:
  - {{id: small, call: openai/small, price: {{input: 1, output: 1}}, region: eu, owner: search team}}
  - {{id: large, call: openai/large, price: {{input: 5, output: 5}}, owner: platform, sunset: "{SOON:%Y-%m-%d}"}}
  - {{id: home, call: local/home, price: {{input: 0, output: 0}}}}
  - {{id: gone, call: openai/gone, status: banned, owner: platform}}
  - {{id: idle, call: openai/idle}}
tasks: {{qa: {{bar: 0.9}}}}
rules:
  - {{name: hr stays home, when: {{tags: {{team: hr}}}}, candidates: [home], strategy: fixed, data: {{local_only: true, log: none}}}}
  - {{name: answers, when: {{task: qa, tags: {{workflow: helpdesk}}}}, candidates: [small, large]}}
  - {{name: the rest, candidates: [small, large], bar: 0}}
budgets:
  - {{name: teams, scope: {{team: "*"}}, limit_usd: 10, window: month}}
  - {{name: local, scope: {{provider: local}}, limit_usd: 1, window: day}}
data: {{store_text: redacted, keep_days: 7}}
"""  # noqa: E501
Run = Callable[..., Any]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "p.yaml").write_text(POLICY, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CLEARBAR_POLICY", "p.yaml")
    monkeypatch.setenv("COLUMNS", "200")
    return tmp_path


@pytest.fixture
def past(folder: Path) -> Path:
    """A ledger of four systems over some days, with unattributed calls and what no policy lists."""
    desk = {"workflow": "helpdesk", "team": "support", "environment": "prod", "task": "qa"}
    with closing(Ledger(folder / "state" / "ledger.sqlite3")) as ledger:
        add_calls(ledger, [
            {"at": days_ago(40), "usd": 0.5, "model": "large", "call": "openai/large", **desk},
            {"at": days_ago(9), "usd": 0.25, "call": "openai/small", "customer": "acme", **desk},
            {"at": days_ago(8), "usd": 0.5, "call": "openai/small", "customer": "acme", **desk},
            {"at": days_ago(7), "usd": 1.5, "model": "large", "call": "openai/large", "customer": "beta", **desk},
            {"at": days_ago(6), "usd": 0.0, "model": "home", "call": "local/home", "workflow": "letters", "team": "hr"},
            {"at": days_ago(5), "usd": 2.0, "model": "gone", "call": "openai/gone", "team": "search"},
            {"at": days_ago(4), "usd": None, "model": "older", "call": "azure/older", "workflow": HOSTILE},
            {"at": days_ago(3), "usd": None, "outcome": "error", "error": "BudgetExceededError: spent", "attempts": 0,
             "call": "openai/small", **desk},
        ])  # fmt: skip
    return folder


@pytest.fixture
def clearbar(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    def run(*arguments: str, code: int = 0) -> Any:
        monkeypatch.setattr(sys, "argv", ["clearbar", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        told, complaints = capsys.readouterr()
        assert ended.value.code == code, told + complaints
        return json.loads(told) if "--json" in arguments and not code else told + complaints

    return run


def inventory(clearbar: Run, *arguments: str) -> Any:
    found = clearbar("inventory", "--state", "state", "--json", "--no-forecast", *arguments)
    return {one["name"]: one for one in found["systems"]}, found


SINCE = f"{days_ago(30):%Y-%m-%d}"


def test_a_system_says_who_uses_it_what_serves_it_and_what_holds_it(past: Path, clearbar: Run) -> None:
    systems, _ = inventory(clearbar)
    desk = systems["helpdesk"]
    assert (desk["team"], desk["environment"], desk["customers"]) == ("support", "prod", 2)
    assert (desk["first_day"], desk["last_day"]) == (f"{days_ago(40):%Y-%m-%d}", f"{days_ago(3):%Y-%m-%d}")
    assert [(one["model"], one["provider"], one["calls"], one["share"]) for one in desk["models"]] == [
        ("small", "openai", 3, 0.75), ("large", "openai", 1, 0.25),
    ]  # fmt: skip
    assert desk["regions"] == ["eu", "no region stated"]
    assert desk["rules"] == ["answers"]
    assert desk["bars"] == [{"rule": "answers", "task": "qa", "bar": "0.9", "carried": 0, "candidates": 2}]
    assert [(one["budget"], one["scope"], one["used"]) for one in desk["budgets"]] == [("teams", "team=support", None)]
    assert desk["data"] == ["text is kept redacted, 7 days"]
    assert desk["incidents"] == {"denied by a budget": 1}
    assert desk["owners"] == ["platform", "search team"]
    assert desk["watched"] == [f"large: sunset {SOON:%Y-%m-%d}"]
    assert desk["cost_usd"] == "2.25"


def test_data_rules_and_budgets_are_those_of_the_systems_tags_and_providers(past: Path, clearbar: Run) -> None:
    systems, _ = inventory(clearbar)
    assert systems["letters"]["rules"] == ["hr stays home"]
    assert systems["letters"]["data"] == ["local only, no text is kept"]
    assert [one["budget"] for one in systems["letters"]["budgets"]] == ["teams", "local"]
    assert systems[HOSTILE]["budgets"] == []


def test_requests_without_the_tag_are_rows_of_their_own(past: Path, clearbar: Run) -> None:
    systems, _ = inventory(clearbar)
    assert (systems[None]["team"], systems[None]["cost_usd"]) == ("search", "2")
    by_team, _ = inventory(clearbar, "--by", "team")
    assert set(by_team) == {"support", "hr", "search", None}


def test_models_are_used_unused_unlisted_or_banned_but_seen(past: Path, clearbar: Run) -> None:
    _, found = inventory(clearbar)
    assert {one["model"]: one["use"] for one in found["models"]} == {
        "gone": "banned but seen", "older": "unlisted", "large": "used", "small": "used", "home": "used",
        "idle": "unused",
    }  # fmt: skip
    systems = {one["name"]: one for one in found["systems"]}
    assert systems[None]["watched"] == ["gone: banned"]
    assert systems[HOSTILE]["watched"] == ["older: stands in no policy"]


COUNTED = ("requests", "errors", "hits", "calls", "failed", "unpriced", "input_tokens", "output_tokens")


@pytest.mark.parametrize("by", ["workflow", "feature", "team", "agent"])
@pytest.mark.parametrize("period", [["--since", SINCE], ["--since", "2020-01-01"],
                                    ["--since", "2020-01-01", "--until", f"{days_ago(6):%Y-%m-%d}"]])  # fmt: skip
def test_totals_are_those_of_the_report_of_spend(past: Path, clearbar: Run, by: str, period: list[str]) -> None:
    _, found = inventory(clearbar, "--by", by, *period)
    rows = clearbar("spend", "report", "--by", by, "--state", "state", "--json", *period)
    sums: dict[str, Any] = {name: sum(row[name] for row in rows) for name in COUNTED}
    assert {name: found["total"].get(name, 0) for name in COUNTED} == sums
    assert Decimal(found["total"]["cost_usd"]) == sum(Decimal(row["cost_usd"]) for row in rows)
    for row in rows:
        mine = [one for one in found["systems"] if one["name"] == row[by]]
        assert sum(Decimal(one["cost_usd"]) for one in mine) == Decimal(row["cost_usd"])
        assert sum(one["requests"] for one in mine) == row["requests"]


calls = st.fixed_dictionaries({
    "days": st.floats(0, 70), "usd": st.sampled_from([None, 0.0, 0.1, 1e-9, 3.3]),
    "model": st.sampled_from(["small", "large", "other"]), "workflow": st.sampled_from([None, "a", "b"]),
    "team": st.sampled_from([None, "x", "y"]), "customer": st.sampled_from([None, "1", "2"]),
    "outcome": st.sampled_from(["ok", "error"]), "cache": st.sampled_from(["miss", "exact"]),
})  # fmt: skip


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=st.lists(calls, max_size=40), since=st.integers(0, 70))
def test_whatever_was_called_totals_agree(folder: Path, clearbar: Run, rows: list[dict[str, Any]], since: int) -> None:
    shutil.rmtree(folder / "state", ignore_errors=True)
    with closing(Ledger(folder / "state" / "ledger.sqlite3")) as ledger:
        add_calls(ledger, [{**one, "at": days_ago(one["days"])} for one in rows])
    period = ["--since", f"{days_ago(since):%Y-%m-%d}"]
    _, found = inventory(clearbar, *period)
    expected = clearbar("spend", "--by", "model,month", "--state", "state", "--json", *period)
    assert found["total"]["requests"] == sum(row["requests"] for row in expected)
    assert Decimal(found["total"]["cost_usd"]) == sum((Decimal(row["cost_usd"]) for row in expected), Decimal(0))


def test_an_empty_ledger_and_no_ledger_and_no_policy_are_told(
    folder: Path, clearbar: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "no ledger here yet" in clearbar("inventory", "--state", "state", code=3)
    with closing(Ledger(folder / "state" / "ledger.sqlite3")):
        pass
    assert "no system did anything" in clearbar("inventory", "--state", "state")
    monkeypatch.delenv("CLEARBAR_POLICY")
    assert "policy: none was found" in clearbar("inventory", "--state", "state").replace("\n", " ")
    assert "p2.yaml: cannot be read" in clearbar("inventory", "--state", "state", "--policy", "p2.yaml", code=3)


def test_months_whose_rows_are_in_files_keep_their_figures_and_lack_their_customers(past: Path, clearbar: Run) -> None:
    month = f"{days_ago(8):%Y-%m}"
    with closing(Ledger(past / "state" / "ledger.sqlite3")) as ledger, ledger.batch() as connection:
        connection.execute("INSERT INTO archives VALUES (?, 'requests', 'f', 1, '', 0)", (month,))
    told = clearbar("inventory", "--state", "state", "--csv")
    assert f"not in customers and incidents: rows of {month}, which were archived" in told


def test_eighty_columns_show_it_without_a_broken_word(
    past: Path, clearbar: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    told = clearbar("inventory", "--state", "state")
    assert max(map(len, told.splitlines())) <= 80
    head = next(line for line in told.splitlines() if "requests" in line)
    assert [word.strip() for word in head.split("┃")[1:-1]][-3:] == ["requests", "customers", "cost (USD)"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--by", "model"], "'model' is not one of"),
        (["--last", "3d", "--since", "2026-01-01"], "give one of them"),
        (["--json", "--csv"], "give one of --json, --csv and --markdown"),
    ],
)
def test_a_mistake_is_told(past: Path, clearbar: Run, arguments: list[str], said: str) -> None:
    assert said in clearbar("inventory", *arguments, code=3).replace("\n", " ")


def test_no_name_means_anything_to_spreadsheet_markdown_terminal_or_browser(past: Path, clearbar: Run) -> None:
    with closing(Ledger(past / "state" / "ledger.sqlite3")) as ledger:
        add_calls(ledger, [{"at": days_ago(2), "usd": 1.0, "workflow": "=1+1", "team": "[bold]|x \x1b[2J@all"}])
    rows = list(csv.reader(io.StringIO(clearbar("inventory", "--state", "state", "--csv"))))
    assert not [cell for row in rows for cell in row if cell.startswith(("=", "+", "@"))]
    assert "'=1+1" in [row[0] for row in rows]
    text = clearbar("inventory", "--state", "state", "--markdown")
    assert "<img" not in text
    lines = [line for line in text.splitlines() if line.startswith("|")]
    assert {len(re.findall(r"(?<!\\)\|", line)) for line in lines[: len(rows) + 1]} == {17}
    assert "@all" not in text
    screen = clearbar("inventory", "--state", "state", "--by", "team", "--no-forecast")
    assert "[bold]|x" in screen
    assert "\x1b" not in screen
    clearbar("inventory", "--state", "state", "--page", "page.html", "--no-forecast")
    page = (past / "page.html").read_text()
    assert "<script" not in page
    assert "<img" not in page
    assert "&lt;img" in page


@pytest.mark.skipif(CHROMIUM is None, reason="needs chromium: apt-get install chromium")
def test_a_browser_takes_the_pages_style(past: Path, clearbar: Run) -> None:
    clearbar("inventory", "--state", "state", "--page", "page.html")
    subprocess.run(
        [str(CHROMIUM), "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={past / 'profile'}",
         f"--screenshot={past / 'page.png'}", (past / "page.html").as_uri()],
        capture_output=True, timeout=120, check=True,
    )  # fmt: skip
    assert (past / "page.png").stat().st_size > 10_000


@pytest.mark.parametrize(
    ("when", "tags", "task", "is_met"),
    [
        ("{task: qa}", {}, "qa", ["r", None]),
        ("{task: qa}", {}, None, ["rest"]),
        ("{tags: {team: x}}", {"team": "x"}, None, ["r", None]),
        ("{tags: {team: x}}", {"team": None}, None, ["rest"]),
        ("{tags: {customer: acme}}", {"team": "x"}, None, ["r", "rest"]),
        ("{findings: pii}", {}, None, ["r", "rest"]),
        ("{not: {task: qa}}", {}, "qa", ["r", "rest"]),
        ("{}", {}, None, ["r", None]),
    ],
)
def test_rules_that_a_system_may_meet(
    tmp_path: Path, when: str, tags: dict[str, Any], task: str | None, is_met: list[str | None]
) -> None:
    (tmp_path / "p.yaml").write_text(
        "version: 1\nmodels: [{id: m, call: fake/m}]\nrules:\n"
        f"  - {{name: r, when: {when}, candidates: m, strategy: fixed}}\n"
        "  - {name: rest, candidates: m, strategy: fixed}\n"
    )
    policy = load_policy(tmp_path / "p.yaml")
    found = [policy.rule_name(i) for i in rules_met(policy, tags, [task], datetime.now(UTC))]
    assert found == [name for name in is_met if name]


def test_what_a_router_wrote_is_told_with_its_refusals_and_used_budgets(folder: Path, clearbar: Run) -> None:
    text = POLICY.replace("limit_usd: 10", "limit_usd: 0.001").replace("openai/", "fake/")
    (folder / "p.yaml").write_text(text)
    with router.Router(folder / "p.yaml", folder / "state", FakeTransport()) as serving:
        for _ in range(3):
            for model in (None, "gone"):
                try:
                    serving.complete([{"role": "user", "content": "hello " * 60}], team="search", workflow="w",
                                     customer="c", model=model, max_tokens=100)  # fmt: skip
                except RouterError:
                    pass
    systems, found = inventory(clearbar)
    one = systems["w"]
    assert one["incidents"]["no model could serve"] == 3
    assert one["budgets"][0]["used"] > 0
    assert one["customers"] == 1
    assert {each["model"]: each["use"] for each in found["models"]}["gone"] == "unused"


def test_a_month_is_foreseen_where_there_is_enough_of_a_past(folder: Path, clearbar: Run) -> None:
    with closing(Ledger(folder / "state" / "ledger.sqlite3")) as ledger:
        add_calls(ledger, [{"at": days_ago(day), "usd": 1.0, "workflow": "w"} for day in range(1, 30)])
    (one,) = clearbar("inventory", "--state", "state", "--json")["systems"]
    middle, low, high = one["month_end_usd"]
    assert low <= middle <= high
    assert middle > 0
