"""Deleting stored texts from the command line."""

from __future__ import annotations

import json
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from router._request import chat_request
from router.cli import cli
from router.spend.texts import Texts

ANSWER = {"choices": [{"message": {"role": "assistant", "content": "hello"}}]}


def purge(folder: Path, *options: str) -> dict[str, int]:
    command = ["texts", "purge", "--state", str(folder), "--json", *options]
    done = CliRunner().invoke(cli, command, standalone_mode=False)
    if done.exception:
        raise done.exception
    told: dict[str, int] = json.loads(done.stdout)
    return told


def test_only_what_was_asked_for_is_deleted(tmp_path: Path) -> None:
    assert purge(tmp_path, "--all") == {"deleted": 0, "left": 0}
    assert list(tmp_path.iterdir()) == []
    texts = Texts(tmp_path)
    for _ in range(3):
        texts.keep(chat_request([{"role": "user", "content": "hi"}]), None, ANSWER)
    assert purge(tmp_path) == {"deleted": 0, "left": 3}
    assert purge(tmp_path, "--older-than", "1") == {"deleted": 0, "left": 3}
    with pytest.raises(click.UsageError, match="contradict"):
        purge(tmp_path, "--older-than", "1", "--all")
    assert purge(tmp_path, "--all") == {"deleted": 3, "left": 0}
    texts.close()
