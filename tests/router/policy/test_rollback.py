"""Which versions were served is known later, and their text can be written back: whole, or not at all."""

from __future__ import annotations

import errno
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from router import FakeTransport, Router
from router.cli import cli
from router.errors import ConfigurationError, PolicyError
from router.policy import load_policy
from router.policy.compose import unfinished
from router.policy.rollback import carry_out, plan
from router.spend.ledger import Ledger

MAIN = """\
version: 1
include: [shared/guards.yaml]
models:
  - {id: one, call: fake/one, price: {input: 1, output: 1}, max_output_tokens: 10}
  - {id: two, call: fake/two, price: {input: 1, output: 1}, max_output_tokens: 10}
rules: [{name: all, candidates: [MODEL], strategy: fixed}]
"""
GUARDS = "rules: [{name: guard, when: {task: secret}, candidates: [MODEL], strategy: fixed}]\n"
HI = [{"role": "user", "content": "one two three"}]


class Place:
    """A policy of two files, and the state of what served it."""

    def __init__(self, folder: Path) -> None:
        self.path, self.guards, self.state = folder / "p.yaml", folder / "shared" / "guards.yaml", folder / "state"
        self.guards.parent.mkdir()

    def write(self, model: str, guards: str | None = None) -> None:
        self.path.write_text(MAIN.replace("MODEL", model), encoding="utf-8")
        self.guards.write_text(GUARDS.replace("MODEL", guards or model), encoding="utf-8")

    def serve(self) -> str:
        with Router(self.path, self.state, FakeTransport()) as router:
            return router.complete(HI).decision.policy_version

    def run(self, *arguments: str, code: int = 0) -> str:
        options = ["--state", str(self.state), *(["--policy", str(self.path)])]
        done = CliRunner().invoke(cli, ["policy", *arguments, *options], standalone_mode=False)
        if done.exception is not None and code == 3:
            return str(getattr(done.exception, "message", done.exception))
        assert (done.exit_code, done.exception) == (code, None), done.output
        return done.output

    def json(self, *arguments: str) -> Any:
        return json.loads(self.run(*arguments, "--json"))

    def history(self) -> list[Any]:
        return self.json("history")["versions"]

    def texts(self) -> tuple[bytes, bytes]:
        return self.path.read_bytes(), self.guards.read_bytes()


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    yield Place(tmp_path)


def test_each_version_that_was_served_is_in_the_history_with_its_text(place: Place) -> None:
    place.write("one")
    first = place.serve()
    place.write("two")
    second = place.serve()
    place.serve()
    found = place.history()
    assert [(one["version"], one["loads"], one["is_on_disk"]) for one in found] == [
        (second, 2, True), (first, 1, False),
    ]  # fmt: skip
    assert (found[0]["rules"], found[0]["models"], found[0]["path"]) == (2, 2, str(place.path))
    (old,) = place.json("history", first[:6])["versions"]
    assert old["texts"] == {
        "p.yaml": MAIN.replace("MODEL", "one"), "shared/guards.yaml": GUARDS.replace("MODEL", "one"),
    }  # fmt: skip
    assert place.run("history", first, "--text").count("[one]") == 2
    assert f"{second}  2 rules, 2 models, on disk now" in place.run("history")
    assert found[1]["changes"] == [] and any("'all'" in change and "two" in change for change in found[0]["changes"])
    assert found[0]["changes"][0] in place.run("history") and found[0]["changes"][1] in place.run("history", second)
    limited = place.json("history", "--limit", "1")
    assert ([one["version"] for one in limited["versions"]], limited["older"]) == ([second], 1)


def test_a_history_of_another_file_says_that_it_was_not_served(place: Place) -> None:
    place.write("one")
    place.serve()
    asked = ["policy", "history", "--state", str(place.state), "--policy", "other.yaml"]
    assert CliRunner().invoke(cli, asked).output == "other.yaml was not served from this state yet\n"


def test_explaining_and_checking_serves_nothing(place: Place) -> None:
    place.write("one")
    place.serve()
    place.write("two")
    done = CliRunner().invoke(cli, ["explain", "hi", "--policy", str(place.path), "--state", str(place.state)])
    assert done.exit_code == 0 and "two" in done.output
    assert len(place.history()) == 1


def test_a_history_that_cannot_be_written_stops_nobody(place: Place, caplog: pytest.LogCaptureFixture) -> None:
    place.write("one")
    with Ledger(place.state / "ledger.sqlite3").batch() as connection:
        connection.execute("DROP TABLE policy_versions")
    assert place.serve()
    assert "is missing in its history" in caplog.text


def test_the_text_before_comes_back_as_the_same_version_and_back_again(place: Place) -> None:
    place.write("one")
    first, old = place.serve(), place.texts()
    place.write("two")
    second, new = place.serve(), place.texts()
    done = place.json("rollback")
    assert (done["to"], done["version"], done["written"], done["differences"]) == (
        first, first, ["shared/guards.yaml", "p.yaml"], [],
    )  # fmt: skip
    assert place.texts() == old and not unfinished(place.path).exists()
    assert place.json("rollback")["to"] == second
    assert place.texts() == new
    assert place.json("rollback", second)["written"] == []


def test_a_dry_run_writes_nothing(place: Place) -> None:
    place.write("one")
    place.serve()
    place.write("two")
    there = place.texts()
    assert place.json("rollback", "--dry-run")["would_write"] == ["shared/guards.yaml", "p.yaml"]
    assert place.texts() == there and len(place.history()) == 1


@pytest.mark.parametrize(
    ("main", "guards", "name"),
    [
        pytest.param(b"models: [", None, "unserved-", id="a broken file"),
        pytest.param(b"\xff\xfe\x00", None, "unserved-", id="no text"),
        pytest.param(None, b"rules: [", "unserved-", id="a broken include"),
        pytest.param(MAIN.replace("MODEL", "two").encode(), None, "", id="a good file"),
        pytest.param(None, GUARDS.replace("MODEL", "two").encode(), "", id="a good include"),
    ],
)
def test_text_that_was_never_served_is_in_the_history_before_it_is_replaced(
    place: Place, main: bytes | None, guards: bytes | None, name: str
) -> None:
    place.write("one")
    first, good = place.serve(), place.texts()
    place.path.write_bytes(main or good[0])
    place.guards.write_bytes(guards or good[1])
    lost = place.texts()
    done = place.json("rollback")
    assert done["to"] == first and done["kept"].startswith(name) and place.texts() == good
    with closing(Ledger(place.state / "ledger.sqlite3")) as ledger:
        (kept,) = ledger.versions.named(done["kept"])
        contents = ledger.versions.contents(kept)
    assert kept.loads == 0
    assert contents and (contents.get("p.yaml", lost[0]), contents.get("shared/guards.yaml", lost[1])) == lost


def test_files_that_are_missing_come_back_and_rights_stay(place: Place) -> None:
    place.write("one")
    first, old = place.serve(), place.texts()
    place.path.chmod(0o640)
    place.guards.unlink()
    assert place.json("rollback")["to"] == first
    place.write("two")
    place.path.chmod(0o640)
    place.json("rollback", first)
    assert place.texts() == old
    if sys.platform != "win32":
        assert place.path.stat().st_mode & 0o777 == 0o640
    assert sorted(one.name for one in place.path.parent.iterdir()) == ["p.yaml", "shared", "state"]


def test_a_file_behind_a_link_is_replaced_and_the_link_stays(place: Place, tmp_path: Path) -> None:
    place.write("one")
    real = tmp_path / "real.yaml"
    place.path.rename(real)
    place.path.symlink_to(real)
    place.serve()
    real.write_text(MAIN.replace("MODEL", "two"), encoding="utf-8")
    place.json("rollback")
    assert place.path.is_symlink() and "[one]" in real.read_text(encoding="utf-8")


def test_what_differs_from_then_beside_the_text_is_said(place: Place) -> None:
    place.write("one")
    first = place.serve()
    place.write("two")
    place.serve()
    folder = place.path.parent / "evidence"
    folder.mkdir()
    evidence = {"version": 1, "task": "t", "model": "one", "model_version": None, "run_id": "r", "suite_sha256": "0",
                "n": 50, "mean": 0.9, "lower": 0.8, "confidence": 0.95, "metric": "m", "scorer": "exact",
                "created": "2026-01-01T00:00:00Z", "expires": None}  # fmt: skip
    (folder / "t--one.json").write_text(json.dumps(evidence), encoding="utf-8")
    done = place.json("rollback", first, "--dry-run")
    assert done["version"] != first and done["differences"] == ["evidence t/one: is new"]
    assert f"it is version {done['version']}: only the text comes back" in place.run("rollback", first)


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        pytest.param("ffffffffffff", "no version ffffffffffff of", id="an unknown version"),
        pytest.param(None, "only the text that stands there was served", id="none before"),
    ],
)
def test_a_version_that_is_not_there_is_an_error(place: Place, wanted: str | None, message: str) -> None:
    place.write("one")
    place.serve()
    assert message in place.run("rollback", *([wanted] if wanted else []), code=3)


def test_a_text_that_no_longer_loads_replaces_nothing(place: Place) -> None:
    place.write("one")
    place.serve()
    place.write("two")
    there = place.texts()
    with closing(Ledger(place.state / "ledger.sqlite3")) as ledger:
        (served,) = ledger.versions.of()
        with ledger.batch() as connection:
            connection.execute("DROP TRIGGER policy_texts_keep_update")
            connection.execute("UPDATE policy_texts SET content = CAST('models: [' AS BLOB)")
        with pytest.raises(PolicyError):
            plan(ledger.versions, place.path, served.version)
    assert place.texts() == there


def test_a_file_that_changes_after_the_plan_is_not_replaced(place: Place) -> None:
    place.write("one")
    place.serve()
    place.write("two")
    with closing(Ledger(place.state / "ledger.sqlite3")) as ledger:
        what = plan(ledger.versions, place.path, None)
        place.path.write_text("somebody's work", encoding="utf-8")
        with pytest.raises(ConfigurationError, match="has changed just now"):
            carry_out(what, ledger)
    assert place.path.read_text(encoding="utf-8") == "somebody's work"


@pytest.mark.skipif(sys.platform == "win32" or os.geteuid() == 0, reason="nothing is read-only here")
def test_a_folder_that_cannot_be_written_changes_nothing(place: Place) -> None:
    place.write("one")
    place.serve()
    place.write("two")
    there = place.texts()
    place.guards.parent.chmod(0o500)
    try:
        assert "nothing has changed" in place.run("rollback", code=3)
    finally:
        place.guards.parent.chmod(0o700)
    assert place.texts() == there
    assert sorted(one.name for one in place.path.parent.iterdir()) == ["p.yaml", "shared", "state"]


def test_a_full_disk_changes_nothing(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    place.write("one")
    place.serve()
    place.write("two")
    there, synced = place.texts(), []

    def fsync(handle: int) -> None:
        synced.append(handle)
        if len(synced) == 2:  # the second file
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("router.policy.exchange.os.fsync", fsync)
    assert "No space left on device); nothing has changed" in place.run("rollback", code=3)
    assert place.texts() == there
    assert sorted(one.name for one in place.path.parent.iterdir()) == ["p.yaml", "shared", "state"]


def test_routers_that_look_for_changes_serve_what_came_back(place: Place) -> None:
    place.write("one")
    with Router(place.path, place.state, FakeTransport(), reload_s=0.01) as serving:
        first = serving.policy.version
        place.write("two")
        _until(lambda: serving.complete(HI).model == "two")
        place.json("rollback")
        _until(lambda: serving.policy.version == first)


def test_readers_meet_one_version_or_the_other_while_files_go_back_and_forth(place: Place) -> None:
    place.write("one")
    known = {place.serve()}
    place.write("two")
    known.add(place.serve())
    seen, is_over = set(), threading.Event()

    def read() -> None:
        while not is_over.is_set():
            seen.add(load_policy(place.path).version)

    readers = [threading.Thread(target=read, daemon=True) for _ in range(2)]
    for one in readers:
        one.start()
    with closing(Ledger(place.state / "ledger.sqlite3")) as ledger:
        for number in range(3_000):
            carry_out(plan(ledger.versions, place.path, None), ledger)
            if number > 30 and seen >= known:
                break
            time.sleep(0.005)
    is_over.set()
    for one in readers:
        one.join()
    assert seen == known


def test_a_pipe_in_place_of_the_policy_is_not_waited_for(place: Place) -> None:
    place.write("one")
    place.serve()
    place.guards.unlink()
    os.mkfifo(place.guards)
    assert "is a pipe or a device" in place.run("rollback", code=3)
    assert [one["is_on_disk"] for one in place.history()] == [False]


def test_a_file_that_was_to_stay_and_changed_after_the_plan_stops_it(place: Place) -> None:
    place.write("one")
    place.serve()
    place.write("one", guards="two")  # as another rollback leaves them when it is half done
    with closing(Ledger(place.state / "ledger.sqlite3")) as ledger:
        what = plan(ledger.versions, place.path, None)
        assert list(what.writes) == ["shared/guards.yaml"]
        place.write("two")
        there = place.texts()
        with pytest.raises(ConfigurationError, match=r"p\.yaml: has changed just now"):
            carry_out(what, ledger)
    assert place.texts() == there


def test_several_that_go_back_at_once_take_turns(place: Place) -> None:
    place.write("one")
    known = {place.serve()}
    place.write("two")
    known.add(place.serve())
    wrong: list[Exception] = []

    def go_back() -> None:
        with closing(Ledger(place.state / "ledger.sqlite3")) as ledger:
            for _ in range(15):
                try:
                    carry_out(plan(ledger.versions, place.path, None), ledger)
                except ConfigurationError as error:
                    if "has changed just now" not in str(error) and "no older text" not in str(error):
                        wrong.append(error)

    workers = [threading.Thread(target=go_back) for _ in range(4)]
    for one in workers:
        one.start()
    for one in workers:
        one.join()
    assert wrong == [] and load_policy(place.path).version in known
    assert sorted(one.name for one in place.path.parent.iterdir()) == ["p.yaml", "shared", "state"]
    assert [one.name for one in place.guards.parent.iterdir()] == ["guards.yaml"]
    assert {one["version"] for one in place.history()} == known


BACK_AND_FORTH = """
import sys
from contextlib import closing
from pathlib import Path
from router.policy.rollback import carry_out, plan
from router.spend.ledger import Ledger
path, state = map(Path, sys.argv[1:])
with closing(Ledger(state / "ledger.sqlite3")) as ledger:
    print("ready", flush=True)
    while True:
        carry_out(plan(ledger.versions, path, None), ledger)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no kill -9")
@pytest.mark.parametrize("kills", [5, pytest.param(60, marks=pytest.mark.long)])
def test_a_process_killed_while_it_goes_back_leaves_no_half(
    place: Place, kills: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("router.policy.compose.TRIES", 1)
    place.write("one")
    known = {place.serve()}
    place.write("two")
    known.add(place.serve())
    dice, begun = random.Random(5), 0
    for _ in range(kills):
        arguments = [sys.executable, "-c", BACK_AND_FORTH, str(place.path), str(place.state)]
        child = subprocess.Popen(arguments, stdout=subprocess.PIPE)
        assert child.stdout is not None and child.stdout.readline()
        time.sleep(dice.uniform(0, 0.05))
        child.send_signal(signal.SIGKILL)
        child.wait()
        child.stdout.close()
        try:
            assert load_policy(place.path).version in known
        except PolicyError as error:
            assert "has not ended" in str(error)
            begun += 1
            going_to = json.loads(unfinished(place.path).read_bytes())["to"]
            done = place.json("rollback")
            assert (done["to"], done["kept"]) == (going_to, None)  # both halves are in the history
        assert load_policy(place.path).version in known
    with closing(Ledger(place.state / "ledger.sqlite3")) as ledger:
        assert {one.version for one in ledger.versions.of() if one.loads} == known
    if kills > 5:
        assert begun


def _until(is_so: Any) -> None:
    for _ in range(3_000):
        if is_so():
            return
        time.sleep(0.01)
    raise AssertionError("it has not happened")
