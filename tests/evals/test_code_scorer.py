"""Code that models write: only with two permissions, in a fenced process, and never right by leaving early."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest

from evals.scorers import scorer
from evals.scorers.code import ALLOWED_BY
from evals.types import EvalError, Scored, Unscored

HUMANEVAL = json.dumps(
    {
        "prompt": 'from typing import List\n\ndef twice(values: List[int]) -> List[int]:\n    """Doubled."""\n',
        "test": "def check(candidate):\n    assert candidate([1, 2]) == [2, 4]\n    assert candidate([]) == []\n",
        "entry_point": "twice",
    }
)
MBPP = json.dumps({"test_list": ["assert add(1, 2) == 3", "assert add(0, 0) == 0"], "test_imports": ["import math"]})


@pytest.fixture(autouse=True)
def _allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ALLOWED_BY, "1")


def judged(response: str, reference: str, **options: float) -> Scored:
    score = scorer("code", allow_code=True, **options)(response, reference)
    assert isinstance(score, Scored), score
    return score


def test_the_machines_owner_has_to_allow_it_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(ALLOWED_BY)
    with pytest.raises(EvalError, match="CLEARBAR_ALLOW_CODE=1"):
        scorer("code", allow_code=True)


@pytest.mark.parametrize(
    ("response", "reference", "value"),
    [
        ("    return [2 * value for value in values]\n", HUMANEVAL, 1.0),
        ("return [2 * value for value in values]", HUMANEVAL, 1.0),
        ("Sure:\n```python\ndef twice(values: List):\n    return [v + v for v in values]\n```\nSo.", HUMANEVAL, 1.0),
        ("```python\ndef twice(values):\n    return values\n```", HUMANEVAL, 0.0),
        ("```python\ndef add(a, b):\n    '\\d'\n    return a + b\n```", MBPP, 1.0),
        ("```python\ndef add(a, b):\n    return math.floor(a + b)\n```", MBPP, 1.0),
        ("def add(a, b): return a - b", MBPP, 0.0),
        ("def add(a, b): return a + b", "assert add(2, 2) == 4", 1.0),
        ("I cannot do that.", MBPP, 0.0),
        ("", MBPP, 0.0),
        ("```python\ndef add(a, b):\n```", MBPP, 0.0),
    ],
)  # fmt: skip
def test_code_is_right_when_its_tests_pass(response: str, reference: str, value: float) -> None:
    assert judged(response, reference).value == value


@pytest.mark.parametrize(
    "early", ["import sys; sys.exit(0)", "import os; os._exit(0)", "raise SystemExit", "print('{\"error\": null}')"]
)
def test_leaving_early_or_printing_a_verdict_passes_no_test(early: str) -> None:
    assert judged(f"```python\n{early}\n```", "assert False").value == 0.0


@pytest.mark.parametrize(
    "attempt",
    [
        "import socket; socket.create_connection(('127.0.0.1', 9), timeout=1)",
        "import socket; socket.getaddrinfo('example.com', 80)",
        "import subprocess; subprocess.run(['true'])",
        "import os; os.system('true')",
        "import os; os.fork()",
        "import ctypes; ctypes.CDLL(None)",
        "open('/etc/hostname').read()",
        "open('/tmp/clearbar-was-here', 'w')",
        "import os; os.remove('/tmp/clearbar-was-here')",
        "import os; os.kill(os.getppid(), 0)",
    ],
)
def test_the_fence_refuses(attempt: str) -> None:
    score = judged(f"```python\n{attempt}\n```", "pass")
    assert score.value == 0.0 and "PermissionError" in score.reason, score


def test_code_may_use_the_standard_library_and_its_own_directory() -> None:
    program = "import collections, decimal, heapq, re, random, statistics\nopen('own.txt', 'w').write('a')"
    assert judged(f"```python\n{program}\n```", "assert open('own.txt').read() == 'a'") == Scored(1.0)


def test_the_environment_and_this_package_are_out_of_reach(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_API_KEY", "secret")
    assert judged("```python\nimport os\nassert 'SOME_API_KEY' not in os.environ\n```", "pass").value == 1.0
    assert "ModuleNotFoundError" in judged("```python\nimport evals\n```", "pass").reason


@pytest.mark.skipif(sys.platform != "linux", reason="limits as Linux keeps them")
@pytest.mark.parametrize(
    ("program", "said"),
    [
        ("while True: pass", "ran longer than 1 s"),
        ("import time; time.sleep(60)", "ran longer than 1 s"),
        ("x = bytearray(10 ** 9)", "MemoryError"),
        ("open('big', 'wb').write(bytes(2 ** 21))", "Error"),
    ],
)
def test_the_fence_limits(program: str, said: str) -> None:
    score = judged(f"```python\n{program}\n```", "pass", timeout_s=1.0, memory_mb=256)
    assert score.value == 0.0 and (said in score.reason or "ended early" in score.reason), score


def test_nothing_is_left_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    judged("```python\nopen('own.txt', 'w').write('a')\n```", "pass")
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("reference", ["", "{}", "[]", "not python at all", '{"test": ""}'])
def test_without_tests_nothing_is_scored(reference: str) -> None:
    assert isinstance(scorer("code", allow_code=True)("x = 1", reference), Unscored)
