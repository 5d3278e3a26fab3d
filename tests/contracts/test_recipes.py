"""The recipes for policy authors do what they promise: their own commands and files, against real HTTP."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from loopback import Provider, Step, reply
from recipes import RECIPES, Reader

from router.outcomes import write_outcomes

PII, SECRET = "ruth@corp.example", "swordfish99x"  # not those of the policy, whose text the ledger keeps


@pytest.fixture
def home() -> Iterator[Provider]:
    """The reader's own server, beside the hosted provider."""
    server = Provider()
    yield server
    server.close()


def question(body: dict[str, Any]) -> str:
    return str(body["messages"][-1]["content"])


def samples(path: Path, rows: list[dict[str, str]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def test_save_moves_a_task_once_evidence_is_there_and_back_without_it(tmp_path: Path, provider: Provider) -> None:
    def answer(body: dict[str, Any]) -> Step:
        return reply("billing" if "invoice" in question(body) else "delivery")

    provider.handler = answer
    texts = [f"The {what} {number} is wrong." for number in range(20) for what in ("invoice", "parcel")]
    samples(
        tmp_path / "tickets.jsonl",
        [{"text": text, "label": "billing" if "invoice" in text else "delivery"} for text in texts],
    )
    reader = Reader("save", tmp_path, provider)

    def served(month: str, times: int = 1) -> set[str]:
        asked = f"[app.triage(f'The invoice of {{day}} {month} is wrong.') for day in [*range(1, 21)] * {times}]"
        return set(reader.use(f"import app; print(*(one.model for one in {asked}))").split())

    assert "needs at least 29 samples" in reader.follow()
    assert served("May") == {"large"}

    said = reader.follow()
    assert "triage: small serves (evidence alone moves it) task triage instead of large" in said
    assert "2 of 2 tests hold" in said
    assert len(provider.requests_for("gpt-5.4-nano")) == 40  # the eval's alone
    assert served("June", times=2) == {"small"}
    assert len(provider.requests_for("gpt-5.4-nano")) == 60  # the second time out of the cache

    assert "quality against the baseline" in reader.follow()
    saved = json.loads(reader.run("clearbar spend savings --baseline large --json"))
    assert saved["lines"]["routing"]["low"] > 0
    assert saved["lines"]["cache"]["low"] > 0
    reader.follow()
    assert served("July") == {"large"}


def test_keep_home_sends_no_finding_out_and_no_secret_anywhere(
    tmp_path: Path, provider: Provider, home: Provider
) -> None:
    reader = Reader("keep-home", tmp_path, provider, home)
    said = reader.follow()
    assert "5 of 5 tests hold, 3 of 3 rules are met" in said
    assert "no model may serve this request" in said
    assert len(home.requests) == 1

    refused = reader.use(
        "import router\n"
        f"for text, model in [('Mail {PII}.', 'hosted'), ('password={SECRET}', None), ('password={SECRET}', 'home')]:\n"
        "    try: router.complete([{'role': 'user', 'content': text}], model=model)\n"
        "    except router.NoRouteError as error: print('refused')\n"
        "print(router.complete([{'role': 'user', 'content': 'Hello.'}]).model)"
    )
    assert refused.split() == ["refused", "refused", "refused", "hosted"]
    assert len(home.requests) == 1
    assert [question(one.body) for one in provider.requests] == ["Hello."]
    kept = b"".join(path.read_bytes() for path in (tmp_path / ".clearbar").rglob("*") if path.is_file())
    assert PII.encode() not in kept
    assert SECRET.encode() not in kept


def test_cap_agent_ends_a_run_that_goes_on_that_turns_in_circles_and_that_costs(
    tmp_path: Path, provider: Provider
) -> None:
    def answer(body: dict[str, Any]) -> Step:
        usage = {"prompt_tokens": 20_000, "completion_tokens": 800, "total_tokens": 20_800}
        return reply("found", usage=usage if "pages" in question(body) else None)

    provider.handler = answer
    reader = Reader("cap-agent", tmp_path, provider)
    assert "3 of 3 tests hold, 2 of 2 rules are met" in reader.follow()
    long, dear, circling = (line.split("|") for line in reader.use(
        "import agent, router\n"
        "for run, prompts in [('run-1', [f'Find source {i}.' for i in 'abcdefghijkl']),\n"
        "                     ('run-3', ['pages ' * 20_000 + i for i in 'abcdefghijkl']),\n"
        "                     ('run-2', ['Is it done?'] * 12)]:\n"
        "    answers, why = agent.run(run, 'acme', prompts)\n"
        "    print(len(answers), ' '.join(one.model for one in answers), why, sep='|')"
    ).splitlines())  # fmt: skip
    assert long[0] == "10"
    assert "limit 10 requests of workflow=research, run_id=run-1" in long[2]
    assert dear[0] == "8"
    assert "of the rolling 24h limit $0.3 of workflow=research, run_id=run-3 is left" in dear[2]
    assert circling[0] == "8"
    assert "clearbar budget release run-2" in circling[2]
    assert len(provider.requests) == 10 + int(dear[0]) + 8
    assert dear[1].split()[0] == "large"
    assert dear[1].split()[-1] == "small"

    said = reader.follow()
    assert "steps of a run" in said
    assert "run-2 of research" in said
    assert "approved $50 more on all agents" in reader.follow()
    assert reader.use("import agent; print(len(agent.run('run-2', 'acme', ['Go on.'])[0]))") == "1\n"


def test_move_task_moves_it_when_the_second_file_is_merged(tmp_path: Path, provider: Provider) -> None:
    cities = ["Bern", "Rome", "Oslo", "Riga"]
    provider.handler = lambda body: reply(next((city for city in cities if city in question(body)), "none"))
    rows = [{"text": f"Train {number} goes to {city}.", "city": city} for number in range(15) for city in cities]
    samples(tmp_path / "extract.jsonl", rows)
    reader = Reader("move-task", tmp_path, provider)
    ask = "import router; print(router.complete([{'role': 'user', 'content': 'To Bern.'}], task='extract').model)"
    assert reader.use(ask) == "large\n"
    said = reader.follow()
    assert "needs at least 19 samples" in said
    reviewed = reader.follow()
    assert "3 of 3 tests hold, 2 of 2 rules are met" in reviewed
    assert "new, for extract: asks the cheapest with evidence of small and large, else large" in reviewed
    assert "held: quality drop at most 0.1" in reviewed
    assert "asked after: small 100%" in reviewed
    reader.follow()
    assert reader.use(ask) == "small\n"


def test_canary_is_met_by_some_rolls_itself_back_and_is_promoted(tmp_path: Path, provider: Provider) -> None:
    def served(customers: str, score: str) -> list[str]:
        return reader.use(
            "import chat\n"
            f"for i in {customers}:\n"
            "    done = chat.answer(f'Hello {i}.', f'customer {i}')\n"
            f"    chat.rate(done, {score})\n"
            "    print(done.model)"
        ).split()

    reader = Reader("canary", tmp_path, provider)
    assert "new" in reader.follow()
    good = served("range(60)", "1.0")
    assert 1 <= good.count("new") <= 15
    assert "chat/new: goes on" in reader.follow()
    bad = served("range(60, 360)", "float(done.model == 'current')")
    assert "new" in bad
    assert "new" not in bad[-100:]
    assert "rolled back" in reader.run("clearbar policy canary status", 1)
    reader.follow()
    assert "no canary has been asked" in reader.run("clearbar policy canary status")

    reader.edit()
    reader.follow()
    assert set(served("range(5)", "1.0")) == {"new"}

    reader.edit()
    assert "shadow" in reader.run("clearbar policy show")
    asks = "import chat, router\nfor i in range(150): chat.answer(f'Hello {i}.', f'customer {i}')\n"
    assert reader.use(asks + "print(chat.answer('Hello.', 'acme').model)") == "current\n"
    assert "chat/new: " in (said := reader.follow())
    assert "the same answer: " in said


def test_environments_differ_in_models_and_money_and_share_their_guards(
    tmp_path: Path, provider: Provider, home: Provider
) -> None:
    reader = Reader("environments", tmp_path, provider, home)
    said = reader.follow()
    assert said.count("3 of 3 tests hold, 3 of 3 rules are met") == 2
    assert "limit_usd: 20" in said
    ask = "import router; print(*(router.complete([{'role': 'user', 'content': text}]).model for text in %r))"
    texts = ["Hello.", f"Mail {PII}."]
    assert reader.use(ask % texts, CLEARBAR_ENV="dev") == "small home\n"
    assert reader.use(ask % texts, CLEARBAR_ENV="prod") == "large home\n"
    assert PII.encode() not in b"".join(one.raw for one in provider.requests)


def test_a_review_lets_a_good_change_pass_and_stops_one_that_opens_a_guard(tmp_path: Path, provider: Provider) -> None:
    reader = Reader("review", tmp_path, provider)
    rows = [
        {"query_id": str(i), "task": "chat", "prompt": f"Hello {i}.", "model": model, "quality": float(i % 10 > 0),
         "response": "Hi.", "input_tokens": 10, "output_tokens": 10, "cost_usd": 0.001}
        for i in range(300) for model in ("home", "hosted")
    ]  # fmt: skip
    write_outcomes(tmp_path / "outcomes.parquet", rows)
    (workflow,) = (tmp_path / ".github/workflows").iterdir()
    steps = [step["run"] for step in yaml.safe_load(workflow.read_text())["jobs"]["review"]["steps"] if "run" in step]
    assert steps.pop(0) == "pip install clearbar"
    reader.run("clearbar init --recipe keep-home")
    for line in ("init -q -b main", "add .", "-c user.name=a -c user.email=a@b.example commit -qm table",
                 "update-ref refs/remotes/origin/main main"):  # fmt: skip
        reader.run(f"git {line}")

    def review(old: str, new: str) -> tuple[list[int], str]:
        table = (RECIPES / "keep-home.yaml").read_text(encoding="utf-8")
        assert old in table
        reader.policy.write_text(table.replace(old, new), encoding="utf-8")
        summary = tmp_path / "summary.md"
        summary.unlink(missing_ok=True)
        codes = reader.codes(steps, GITHUB_BASE_REF="main", GITHUB_STEP_SUMMARY=str(summary))
        reader.run("git worktree remove --force ../before; git worktree prune")
        return codes, summary.read_text(encoding="utf-8")

    codes, summary = review("    fallback: [home]\n", "    fallback: [home]\n    max_latency_ms: 60000\n")
    assert codes == [0] * 5
    assert "60,000 ms" in summary
    reader.follow()
    above = "rules:\n  - {name: hurry, when: {task: mail}, candidates: hosted, strategy: fixed}\n  # "
    for old, new, lost in [
        ("rules:  ", above, "they are not held to: refused: a key or password is in it"),
        ("    data: {local_only: true, log: none}\n", "", "data may leave this machine"),
    ]:
        codes, summary = review(old, new)
        assert codes == [0, 1, 0, 0, 0]
        assert "Loosens a protection" in summary
        assert lost in summary
