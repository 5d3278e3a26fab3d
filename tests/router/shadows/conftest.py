"""A router whose one rule has a model in the shadow."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from loopback import Provider
from shaded import POLICY, Make

import router


@pytest.fixture
def make(tmp_path: Path, provider: Provider, monkeypatch: pytest.MonkeyPatch) -> Iterator[Make]:
    monkeypatch.setenv("CLEARBAR_KEY", "k")
    made: list[router.Router] = []

    def build(*changes: tuple[str, str]) -> router.Router:
        text = POLICY
        for old, new in changes:
            assert old in text
            text = text.replace(old, new)
        (tmp_path / "p.yaml").write_text(text.replace("URL", provider.url), encoding="utf-8")
        made.append(router.Router(tmp_path / "p.yaml", tmp_path / "state"))
        return made[-1]

    yield build
    for one in made:
        one.close()
