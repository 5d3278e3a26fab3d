"""`clearbar policy fmt`: files are laid out in place, or nothing is touched."""

from __future__ import annotations

import os
import stat
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from router.policy.layout import formatted

UGLY = "version:   1\nmodels: [{id:  m,call: fake/m}]\nrules:\n- {candidates: m, strategy: fixed}   # why\n"
NEAT = "version: 1\nmodels: [{id: m, call: fake/m}]\n\nrules:\n  - {candidates: m, strategy: fixed}  # why\n"
Clearbar = Callable[..., Any]


@pytest.fixture
def ugly(clearbar: Clearbar) -> Path:
    path = Path("p.yaml")
    path.write_text(UGLY, encoding="utf-8")
    return path


def test_a_file_is_laid_out_in_place_once(clearbar: Clearbar, ugly: Path) -> None:
    assert clearbar("policy", "fmt", "p.yaml") == "changed p.yaml\n1 changed, 0 as they were\n"
    assert ugly.read_text() == NEAT
    before = ugly.stat()
    assert clearbar("policy", "fmt", "p.yaml") == "0 changed, 1 as they were\n"
    assert ugly.stat() == before  # not even written again
    assert os.listdir() == ["p.yaml"]


def test_check_writes_nothing_and_names_what_would_change(clearbar: Clearbar, ugly: Path) -> None:
    Path("neat.yaml").write_text(NEAT)
    told = clearbar("policy", "fmt", "p.yaml", "neat.yaml", "--check", code=1)
    assert told == "would change p.yaml\n1 would change, 1 as they were\n"
    assert clearbar("policy", "fmt", ".", "--check", "--json", code=1) == {"changed": ["p.yaml"], "unchanged": 1}
    assert ugly.read_text() == UGLY
    assert "0 would change" in clearbar("policy", "fmt", "neat.yaml", "--check")


def test_stdout_prints_the_file_alone(clearbar: Clearbar, ugly: Path) -> None:
    assert clearbar("policy", "fmt", "p.yaml", "--stdout") == NEAT
    assert ugly.read_text() == UGLY
    assert "one file" in clearbar("policy", "fmt", "p.yaml", "p2.yaml", "--stdout", code=3)
    assert "remove --check" in clearbar("policy", "fmt", "p.yaml", "--stdout", "--check", code=3)


def test_without_a_path_it_is_the_policy_that_a_router_finds_with_what_it_includes(clearbar: Clearbar) -> None:
    Path("policies/shared").mkdir(parents=True)
    Path("policies/default.yaml").write_text(UGLY + "include: shared/guards.yaml\n")
    Path("policies/shared/guards.yaml").write_text("rules:\n- {name: x,candidates: m,strategy: fixed}\n")
    told = clearbar("policy", "fmt")
    assert told.endswith("2 changed, 0 as they were\n")
    assert Path("policies/shared/guards.yaml").read_text() == "rules:\n  - {name: x, candidates: m, strategy: fixed}\n"


def test_a_folder_has_all_yaml_in_it_but_what_is_hidden(clearbar: Clearbar) -> None:
    for name in ("a/b/c.yml", "a/d.yaml", "a/.git/e.yaml", "a/.f.yaml", "a/g.json"):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_text("a:   1\n")
    found = clearbar("policy", "fmt", "a", "a/d.yaml", "--check", "--json", code=1)
    assert found == {"changed": ["a/d.yaml", "a/b/c.yml"], "unchanged": 0}
    Path("empty").mkdir()
    assert "no file in it ends in .yaml" in clearbar("policy", "fmt", "empty", code=3)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b"a: [1\nb: 2\n", "bad.yaml:2:2: not valid YAML"),
        (b"a: \xff\n", "bad.yaml:1: not UTF-8 text"),
        (b"a: 1\n---\nb: 2\n", "a second document"),
        (b"a: {<<: {b: 1}}\n", "merge keys"),
        (b"%YAML 1.1\n---\na: 1\n", "left as it is"),
        (b"a: " + b"[" * 60 + b"]" * 60, "nested more than 50"),
    ],
)
def test_where_one_file_is_broken_none_is_written(clearbar: Clearbar, ugly: Path, text: bytes, words: str) -> None:
    Path("bad.yaml").write_bytes(text)
    assert words in clearbar("policy", "fmt", "p.yaml", "bad.yaml", code=3)
    assert ugly.read_text() == UGLY and Path("bad.yaml").read_bytes() == text


def test_mode_and_links_stay(clearbar: Clearbar, ugly: Path) -> None:
    Path("real").mkdir()
    ugly.rename("real/p.yaml")
    ugly.symlink_to("real/p.yaml")
    Path("real/p.yaml").chmod(0o640)
    clearbar("policy", "fmt", "p.yaml")
    assert ugly.is_symlink() and ugly.read_text() == NEAT
    assert stat.S_IMODE(Path("real/p.yaml").stat().st_mode) == 0o640
    assert os.listdir("real") == ["p.yaml"]


def test_what_cannot_be_read_or_written_is_told(clearbar: Clearbar, ugly: Path) -> None:
    assert "nosuch.yaml: cannot be read" in clearbar("policy", "fmt", "nosuch.yaml", code=3)
    os.mkfifo("pipe.yaml")
    assert "no ordinary file" in clearbar("policy", "fmt", "pipe.yaml", code=3)
    if os.geteuid() != 0:  # nothing is read-only for root
        ugly.chmod(0o444)
        assert "cannot be written" in clearbar("policy", "fmt", "p.yaml", code=3)
        assert ugly.read_text() == UGLY


def test_many_at_once_leave_a_whole_file(ugly: Path, tmp_path: Path) -> None:
    from router.cli.policy_fmt import _write
    from router.policy.exchange import exchange

    path, seen, is_done = tmp_path / "p.yaml", set(), threading.Event()

    def look() -> None:
        while not is_done.is_set():
            seen.add(path.read_text())

    reader = threading.Thread(target=look)
    reader.start()
    try:
        for _ in range(200):
            exchange(path, UGLY.encode())
            _write(path, UGLY.encode(), formatted(path, UGLY.encode()))
    finally:
        is_done.set()
        reader.join()
    assert seen <= {UGLY, NEAT}
