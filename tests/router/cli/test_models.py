"""`clearbar models`, with a catalogue of one small model."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from router.cli.models import models
from router.errors import WeightsError
from router.transports import catalogue

CONTENT = b"weights"


@pytest.fixture
def tiny(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the one model of the catalogue belongs; it is there."""
    digest = hashlib.sha256(CONTENT).hexdigest()
    model = catalogue.Weights(name="tiny", title="Tiny", size_bytes=len(CONTENT), sha256=digest, packages=())
    monkeypatch.setattr(catalogue, "CATALOGUE", {"tiny": model})
    monkeypatch.setenv("CLEARBAR_MODELS", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    path = tmp_path / "tiny.gguf"
    path.write_bytes(CONTENT)
    return path


def test_pull_tells_where_each_model_lies_and_only_that_on_standard_output(tiny: Path) -> None:
    result = CliRunner().invoke(models, ["pull"])
    assert result.stdout == f"{tiny}\n"
    assert "tiny" in result.stderr


def test_an_unknown_name_is_told_before_anything_is_fetched(tiny: Path) -> None:
    result = CliRunner().invoke(models, ["pull", "tiny", "huge"])
    assert isinstance(result.exception, WeightsError)
    assert "'huge'" in str(result.exception)
    assert not result.stdout


def test_names_and_small_exclude_each_other(tiny: Path) -> None:
    assert "not both" in CliRunner().invoke(models, ["pull", "--small", "tiny"]).stderr


@pytest.mark.parametrize("is_there", [True, False])
def test_list_says_what_is_there(tiny: Path, is_there: bool) -> None:
    if not is_there:
        tiny.unlink()
    (row,) = json.loads(CliRunner().invoke(models, ["list", "--json"]).stdout)
    assert (row["name"], row["is_pulled"], row["path"]) == ("tiny", is_there, str(tiny))
    assert ("yes" if is_there else "no") in CliRunner().invoke(models, ["list"]).stdout


def test_stop_without_a_running_model_is_no_mistake(tiny: Path) -> None:
    result = CliRunner().invoke(models, ["stop"])
    assert result.exit_code == 0
    assert "no local model is running" in result.stderr
