"""Runs the command in the test's own process, in a folder of its own."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from router.cli import main


@pytest.fixture
def clearbar(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Any]:
    """Runs `clearbar ARGUMENTS`, which has to end with `code`: the JSON it prints for `--json`, else all it prints."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "300")

    def run(*arguments: str, code: int = 0) -> Any:
        monkeypatch.setattr(sys, "argv", ["clearbar", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        told, complaints = capsys.readouterr()
        assert ended.value.code == code, told + complaints
        return json.loads(told) if "--json" in arguments and told else told + complaints

    return run
