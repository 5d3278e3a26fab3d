"""A real artifact, a policy with evidence, and recorded answers for models."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sums import answers, lay_down, recorded

import router
from router.errors import ProviderUnavailableError
from router.predict.train import train
from router.transports.replay import ReplayTransport
from router.types import Call, Reply

POLICY = """
version: 1
artifact: artifact
data: {store_text: full}
models:
  - {id: tiny, call: replay/tiny, price: {input: 0.1, output: 0.1}}
  - {id: small, call: replay/small, price: {input: 0.12, output: 0.12}}
  - {id: large, call: replay/large, price: {input: 6, output: 6}}
  - {id: spare, call: fake/spare}
tasks:
  sums: {bar: {max_drop: 0.03, vs: large, confidence: 0.9}}
rules:
  - when: {task: sums, tags: {kind: spared}}
    candidates: [tiny, small, large]
    strategy: cascade
    fallback: [spare]
  - {when: {task: sums, tags: {kind: held}}, candidates: [tiny, small, large], strategy: cascade, buffer: true}
  - {when: {task: sums, tags: {kind: high}}, candidates: [tiny, small, large], strategy: cascade, bar: 0.99}
  - {when: {task: sums, tags: {kind: part}}, candidates: [tiny, large], strategy: cascade}
  - {when: {task: sums}, candidates: [tiny, small, large], strategy: cascade}
"""

Make = Callable[..., router.Router]


class Broken:
    """Recorded answers, of some models none."""

    def __init__(self, inner: ReplayTransport, models: set[str]) -> None:
        self._inner, self._models = inner, models

    def send(self, call: Call) -> Reply:
        if call.model in self._models:
            raise ProviderUnavailableError("down", model=call.model)
        return self._inner.send(call)

    async def asend(self, call: Call) -> Reply:
        return self.send(call)

    def close(self) -> None:
        """Nothing is open."""


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A policy, its artifact and its evidence."""
    place = tmp_path_factory.mktemp("learned")
    (place / "policy.yaml").write_text(POLICY, encoding="utf-8")
    trained, report = train(answers(1_500, seed=1))
    assert "cascade" in report.promoted
    lay_down(trained, place)
    return place


@pytest.fixture
def make(folder: Path, tmp_path: Path) -> Iterator[Make]:
    made: list[router.Router] = []

    def build(*, down: set[str] | None = None) -> router.Router:
        transport: Any = Broken(recorded(), down) if down else recorded()
        made.append(router.Router(folder / "policy.yaml", tmp_path / "state", transport))
        return made[-1]

    yield build
    for one in made:
        one.close()
