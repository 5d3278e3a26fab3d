"""The `clearbar` command: exit codes, one-line errors, JSON for programs, and a quick start."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from router.cli import COMMANDS, main
from router.outcomes import write_outcomes

ROOT = Path(__file__).parents[3]
POLICY = """\
version: 1
models:
  - {id: small, call: fake/small, price: {input: 1, output: 2}}
tasks: {qa: {bar: 0.9}}
rules:
  - {name: all, candidates: [small], strategy: fixed, cache: exact}
"""


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["clearbar", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    assert isinstance(ended.value.code, int)
    return ended.value.code


def write(name: str, text: str) -> str:
    Path(name).write_text(text)
    return name


GOOD = ("p.yaml", POLICY)
WITHOUT_EVIDENCE = (
    "p.yaml",
    POLICY.replace("candidates: [small], strategy: fixed", "when: {task: qa}, candidates: small"),
)
RULES = (
    "p.yaml",
    POLICY.replace("{name: all,", "{name: keys, when: {findings: secrets}, data: {refuse: keys are not sent}}\n"
                   "  - {name: all, canary: {model: large, percent: 5%},").replace(
        "tasks:", "  - {id: large, call: fake/large}\ntasks:"),
)  # fmt: skip
DATED = ("p.yaml", POLICY.replace("{name: all,", "{name: all, from: 2026-12-24T17:00Z, until: 2026-12-31,"))
BROKEN = ("p.yaml", POLICY.replace("rules:", "ruels:"))


@pytest.mark.parametrize(
    ("file", "arguments", "code", "told"),
    [
        pytest.param(None, ["--version"], 0, "clearbar, version", id="version"),
        pytest.param(None, [], 0, "Commands:", id="nothing asked: help"),
        pytest.param(None, ["policy", "--help"], 0, "Routing tables: check, test, show", id="help of a group"),
        pytest.param(None, ["nosuch"], 3, "No such command 'nosuch'", id="unknown command"),
        pytest.param(None, ["policy", "nosuch"], 3, "No such command 'nosuch'", id="unknown subcommand"),
        pytest.param(None, ["ask"], 3, "Missing argument 'TEXT'", id="missing argument"),
        pytest.param(None, ["ask", "--nosuch", "x"], 3, "No such option", id="unknown option"),
        pytest.param(None, ["policy", "check"], 3, "clearbar: no policy: pass Router(policy=PATH), set CLEARBAR_POLICY",
                     id="no policy"),
        pytest.param(None, ["policy", "check", "no.yaml"], 3, "clearbar: no.yaml: cannot be read", id="policy missing"),
        pytest.param(GOOD, ["policy", "check", "p.yaml"], 0, "p.yaml: 1 rules, 1 models: holds", id="good policy"),
        pytest.param(WITHOUT_EVIDENCE, ["policy", "check", "p.yaml"], 2, "needs at least 29 samples", id="no evidence"),
        pytest.param(BROKEN, ["policy", "check", "p.yaml"], 3, "p.yaml:5:1: unknown key 'ruels'", id="broken policy"),
        pytest.param(BROKEN, ["policy", "show", "p.yaml"], 3, "unknown key 'ruels'", id="broken policy shown"),
        pytest.param(GOOD, ["policy", "show", "p.yaml"], 0, "fake/small", id="policy shown"),
        pytest.param(RULES, ["policy", "show", "p.yaml"], 0, "canary large: 5 % of the requests", id="canary shown"),
        pytest.param(RULES, ["policy", "show", "p.yaml"], 0, "refused: keys are not sent", id="refusal shown"),
        pytest.param(DATED, ["policy", "show", "p.yaml"], 0, "from 2026-12-24 17:00 UTC", id="an hour shown"),
        pytest.param(DATED, ["policy", "show", "p.yaml"], 0, "until the end of 2026-12-31", id="a last day shown"),
        pytest.param(None, ["policy", "path"], 0, "policies", id="where the shipped policies are"),
        pytest.param(BROKEN, ["ask", "hi", "--policy", "p.yaml"], 3, "unknown key 'ruels'",
                     id="asked by a broken policy"),
        pytest.param(GOOD, ["explain", "hi", "--policy", "p.yaml"], 0, "fixed by the rule", id="explained"),
        pytest.param(GOOD, ["explain", "hi", "--policy", "p.yaml", "--model", "smal"], 3, "did you mean 'small'?",
                     id="unknown model"),
        pytest.param(GOOD, ["ask", "hi", "--policy", "p.yaml", "--max-cost-usd", "x"], 3, "max_cost_usd must be",
                     id="amount that is none"),
        pytest.param(None, ["spend"], 3, "no ledger here yet", id="nothing spent yet"),
        pytest.param(None, ["replay"], 3, "Missing option", id="replay without options"),
        pytest.param(None, ["replay", "--artifact", "a", "--outcomes", "o", "--points", "0", "--out", "d"], 3,
                     "0 is not in the range", id="no points"),
        pytest.param(None, ["replay", "--artifact", "a", "--outcomes", "o", "--points", "1", "--out", "d"], 3,
                     "clearbar: a", id="no artifact"),
        pytest.param(None, ["train", "--out", "d"], 3, "give at least one outcome table", id="nothing to train on"),
        pytest.param(None, ["train", "--outcomes", "no.csv", "--out", "d"], 3, "no.csv: no such file",
                     id="table missing"),
        pytest.param(GOOD, ["init", "p.yaml", "--yes"], 3, "p.yaml exists and is kept", id="init keeps a policy"),
        pytest.param(GOOD, ["init", "p.yaml/x.yaml", "--yes"], 3, "clearbar: p.yaml", id="init into a file"),
        pytest.param(None, ["init", "x.yaml", "--recipe", "sve"], 3, "there are canary, cap", id="no such recipe"),
        pytest.param(None, ["init", "x.yaml", "--recipe", "save", "--from-litellm", "c"], 3, "give either", id="both"),
        pytest.param(None, ["init", "x.yaml", "--yes", "--from-litellm", "no"], 3, "clearbar: no: cannot be read",
                     id="init from nothing"),
    ],
)  # fmt: skip
def test_every_end_has_its_code_and_its_line(
    file: tuple[str, str] | None, arguments: list[str], code: int, told: str,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    if file:
        write(*file)
    assert run(monkeypatch, *arguments) == code
    captured = capsys.readouterr()
    # Results and help go to standard output, mistakes to standard error.
    assert told in (captured.err if code == 3 else captured.out)
    assert "Traceback" not in captured.err
    if code == 3:
        assert captured.out == ""
    if captured.err.startswith("clearbar: "):
        assert captured.err.count("\n") == 1


def test_json_of_a_check_can_be_read(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    write(*WITHOUT_EVIDENCE)
    assert run(monkeypatch, "policy", "check", "p.yaml", "--json") == 2
    told = json.loads(capsys.readouterr().out)
    assert (told["path"], told["rules"], told["warnings"]) == ("p.yaml", 1, [])
    assert len(told["version"]) == 12
    assert len(told["evidence"]) == 1


def test_json_of_an_explanation_can_be_read(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write(*GOOD)
    assert run(monkeypatch, "explain", "hi", "--policy", "p.yaml", "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["plan"], told["rule"]) == (["small"], "all")
    assert isinstance(told["candidates"][0]["expected_cost_usd"], str)  # every digit of the Decimal


def test_spend_is_shown_from_the_ledger(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from router import Router
    from router.transports.fake import FakeTransport

    write(*GOOD)
    with Router("p.yaml", state=tmp_path / "state", transport=FakeTransport()) as router:
        router.complete([{"role": "user", "content": "hi"}], team="search")
    assert run(monkeypatch, "spend", "--by", "team,model", "--json", "--state", str(tmp_path / "state")) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert (row["team"], row["model"], row["requests"], row["unpriced"]) == ("search", "small", 1, 0)
    assert run(monkeypatch, "spend", "--by", "team", "--state", str(tmp_path / "state")) == 0
    assert "search" in capsys.readouterr().out
    assert run(monkeypatch, "spend", "--by", "nosuch", "--state", str(tmp_path / "state")) == 3
    assert "cannot group by nosuch; known are team" in capsys.readouterr().err


def test_init_writes_a_policy_that_checks(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("router.policy.first.from_environment.__defaults__", ({},))
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret-0123456789")
    assert run(monkeypatch, "init", "new/p.yaml", "--yes") == 0
    captured = capsys.readouterr()
    assert captured.out == "new/p.yaml\n"
    assert "sk-secret" not in captured.err + Path("new/p.yaml").read_text()
    assert run(monkeypatch, "policy", "check", "new/p.yaml") == 0


def test_replay_and_train_name_what_they_cannot_write(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    row: dict[str, Any] = {"query_id": "q", "task": "t", "prompt": "p", "model": "m", "quality": 1.0, "response": "r",
                           "input_tokens": 1, "output_tokens": 1, "cost_usd": 0.1}  # fmt: skip
    write_outcomes("t.parquet", [row])
    write("file", "")
    assert run(monkeypatch, "train", "--outcomes", "t.parquet", "--out", "file/artifact") == 3
    captured = capsys.readouterr()
    assert "Traceback" not in captured.err


@pytest.mark.parametrize("error", [KeyboardInterrupt, EOFError], ids=["ctrl-c", "end of input"])
def test_an_interruption_has_a_code_of_its_own(
    error: type[BaseException], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt(*arguments: object) -> None:
        raise error

    monkeypatch.setattr("router.policy.load_policy", interrupt)
    write(*GOOD)
    assert run(monkeypatch, "policy", "check", "p.yaml") == 130
    assert capsys.readouterr().err.strip().endswith("interrupted")


def command(*arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    code = "from router.cli import main; main()"
    return subprocess.run(
        [sys.executable, "-X", "importtime", "-c", code, *arguments],
        env=environment, text=True, capture_output=True, timeout=60, **options,
    )  # fmt: skip


HEAVY = {
    "litellm",
    "sklearn",
    "numpy",
    "pyarrow",
    "diskcache",
    "scipy",
    "onnxruntime",
    "xllamacpp",
    "tiktoken",
    "httpx",
}


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["policy", "check", "p.yaml"]], ids=" ".join)
def test_nothing_heavy_is_imported_for_little(arguments: list[str]) -> None:
    write(*GOOD)
    done = command(*arguments)
    assert done.returncode == 0
    imported = {line.rpartition("|")[2].strip().partition(".")[0] for line in done.stderr.splitlines()}
    assert not HEAVY & imported
    assert "click" in imported


def test_help_lists_every_command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(monkeypatch, "--help") == 0
    listed = capsys.readouterr().out
    assert all(f"  {name} " in listed for name in COMMANDS)


def test_help_of_a_group_says_each_first_sentence_whole(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert run(monkeypatch, "policy", "--help") == 0
    listed = capsys.readouterr().out
    assert "..." not in listed.partition("Commands:")[2]
    assert "3 broken." in listed


def test_eighty_columns_cut_no_name_of_a_table(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    write("p.yaml", POLICY.replace("fake/small,", "fake/a-small-model-of-this-year, owner: search team,"))
    assert run(monkeypatch, "policy", "show", "p.yaml") == 0
    assert "…" not in capsys.readouterr().out


@pytest.mark.parametrize("verb", ["explain", "ask"])
def test_without_a_policy_nothing_is_left_on_the_disk(monkeypatch: pytest.MonkeyPatch, verb: str) -> None:
    monkeypatch.delenv("CLEARBAR_POLICY", raising=False)
    monkeypatch.delenv("CLEARBAR_STATE", raising=False)
    assert run(monkeypatch, verb, "hi") == 3
    assert list(Path().iterdir()) == []


@pytest.mark.parametrize("verb", ["show", "check"])
def test_a_reader_that_goes_away_is_no_error(verb: str) -> None:
    write(*GOOD)
    code = "from router.cli import main; main()"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    read, written = os.pipe()
    os.close(read)
    with os.fdopen(written, "w") as gone:
        done = subprocess.run([sys.executable, "-c", code, "policy", verb, "p.yaml"], env=environment, stdout=gone,
                              stderr=subprocess.PIPE, text=True, timeout=60)  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")


def test_a_table_reaches_a_terminal_that_knows_ascii_only(tmp_path: Path) -> None:
    (tmp_path / "p.yaml").write_text(POLICY, encoding="utf-8")
    ascii_only = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "COLUMNS": "40"}
    done = subprocess.run(
        [sys.executable, "-c", "from router.cli import main; main()", "policy", "show", "p.yaml"],
        env={**os.environ, **ascii_only, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")


def test_a_crash_does_not_pass_for_a_failed_bar(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def crash(*_: object, **__: object) -> None:
        raise ZeroDivisionError("ours")

    monkeypatch.setattr("router.cli.cli.main", crash)
    assert run(monkeypatch, "policy", "path") == 3
    assert "ZeroDivisionError: ours" in capsys.readouterr().err


def test_a_seed_out_of_range_is_told_before_training(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, "train", "--outcomes", "t.parquet", "--out", "A", "--seed", str(2**40)) == 3
    assert "--seed" in capsys.readouterr().err
