"""What several tests of evals start from."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from policies import SMALL_AND_LARGE


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, with a policy and thirty questions that every model of it answers as it should."""
    (tmp_path / "policy.yaml").write_text(SMALL_AND_LARGE, encoding="utf-8")
    rows = [{"prompt": f"say it, {i}", "reference": "A fake answer."} for i in range(30)]
    (tmp_path / "echo.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path
