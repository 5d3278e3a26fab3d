from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parent))

from tables import Made, make  # found through the line above

from router.predict.artifact import Artifact
from router.predict.evaluate import TrainReport
from router.predict.train import train


@pytest.fixture(scope="session")
def made() -> Made:
    return make(600, ("cheap", "middle", "strong"), subtasks=True)


@pytest.fixture(scope="session")
def trained(made: Made) -> Iterator[tuple[Artifact, TrainReport]]:
    yield train(made.table, seed=3)
