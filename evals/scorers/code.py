"""Answers that are Python: run against tests, in a fenced process. Only where a person allowed it twice."""

from __future__ import annotations

import ast
import contextlib
import json
import os
import re
import secrets
import signal
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from evals.scorers import fence
from evals.types import EvalError, Score, Scored, Scorer, Unscored

ALLOWED_BY = "CLEARBAR_ALLOW_CODE"
_IS_ALLOWED: ContextVar[bool] = ContextVar("clearbar_allow_code", default=False)
_BLOCK = re.compile(r"^[ \t]*```[ \t]*([\w+-]*)[^\n]*\n(.*?)(?:^[ \t]*```|\Z)", re.MULTILINE | re.DOTALL)
_START_S = 10.0
"""What a busy machine may need to start Python, on top of the time limit of the code."""


def code(allow_code: bool = False, timeout_s: float = 5.0, memory_mb: int = 512) -> Scorer:
    """The Python in the response passes the tests of the reference: all or nothing.

    The reference is JSON in HumanEval's shape (`{"prompt", "test", "entry_point"}`, where `test` defines
    `check(candidate)`) or MBPP's (`{"test_list": [...]}`, with `test_imports` or `test_setup_code`), or the plain
    text of the tests. The code is all fenced blocks that parse, else the whole response; for HumanEval an answer
    that only continues the prompt is put behind it.

    What models write runs on this machine, in a process with limits but not in a sandbox (`evals.scorers.fence`
    says what is kept from it). So the suite must say `allow_code: true`, and who runs it `--allow-code` or
    `CLEARBAR_ALLOW_CODE=1`.

    Args:
        allow_code: must be true.
        timeout_s: seconds for answer and tests together.
        memory_mb: address space, in MiB.

    Raises:
        EvalError: one of the two permissions is missing.
    """
    if not allow_code:
        raise EvalError("scorer 'code' runs what models write; say `allow_code: true` in the suite to want that")
    if not (_IS_ALLOWED.get() or os.environ.get(ALLOWED_BY) == "1"):
        raise EvalError(
            f"scorer 'code' runs what models write on this machine, behind a fence, not in a sandbox; "
            f"add --allow-code or set {ALLOWED_BY}=1 to allow it here, best inside a container"
        )

    def score(response: str, reference: str) -> Score:
        tests = _tests(reference)
        if tests is None:
            return Unscored(f"reference {reference[:60]!r} has no tests")
        program = program_of(response, tests)
        if program is None:
            return Scored(0.0, "no Python in the response")
        return run_fenced(program, timeout_s=timeout_s, memory_mb=memory_mb)

    return score


@contextlib.contextmanager
def code_allowed(is_allowed: bool) -> Iterator[None]:
    """Scorers that are made inside may run code, as if the environment said so."""
    token = _IS_ALLOWED.set(is_allowed)
    try:
        yield
    finally:
        _IS_ALLOWED.reset(token)


def program_of(response: str, tests: Mapping[str, Any]) -> str | None:
    """Answer and tests as one program; None when the answer has no code that parses."""
    entry, prompt = tests.get("entry_point"), str(tests.get("prompt") or "")
    answer = _code_in(response)
    if entry:
        if answer is None or f"def {entry}" not in answer:
            answer = _continued(prompt, response)
        else:  # helpers and imports of the prompt that the answer did not repeat
            answer = prompt.partition(f"def {entry}")[0] + "\n" + answer
    if answer is None or not _parses(answer):
        return None
    call = f"check({entry})" if entry and "def check(" in str(tests["test"]) else ""
    return "\n\n".join([str(tests.get("setup", "")), answer, str(tests["test"]), call])


def run_fenced(program: str, *, timeout_s: float, memory_mb: int) -> Score:
    """Run a program in a process of its own; it is right when it comes to its end without an exception."""
    nonce = secrets.token_hex(16)
    with tempfile.TemporaryDirectory(prefix="clearbar-code-") as home:
        given = {
            "program": program, "home": home, "nonce": nonce, "seconds": timeout_s, "memory_bytes": memory_mb << 20
        }  # fmt: skip
        # Isolated and without site packages; an empty environment holds no keys.
        command = [sys.executable, "-I", "-S", "-B", str(Path(fence.__file__))]
        with subprocess.Popen(  # noqa: S603  our own file, by its full path
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
            env={}, cwd=home, start_new_session=True,
        ) as process:  # fmt: skip
            try:
                output, _ = process.communicate(json.dumps(given).encode(), timeout=timeout_s + _START_S)
            except subprocess.TimeoutExpired:
                return Scored(0.0, f"ran longer than {timeout_s:g} s")
            finally:
                _end(process)
    return _verdict(output, nonce, process.returncode, timeout_s)


def _verdict(output: bytes, nonce: str, code_: int, timeout_s: float) -> Score:
    try:
        outcome = json.loads(output)
        error = outcome["error"]
        is_ours = outcome["nonce"] == nonce
    except (ValueError, KeyError, TypeError):
        if code_ in (-14, -24, -9):  # SIGALRM, SIGXCPU, SIGKILL
            return Scored(0.0, f"ran longer than {timeout_s:g} s")
        return Scored(0.0, f"the process ended early (code {code_})")
    if not is_ours:
        return Scored(0.0, "the process ended with a forged verdict")
    return Scored(float(error is None), "" if error is None else error)


def _end(process: subprocess.Popen[bytes]) -> None:
    """End the process and all it started."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        if hasattr(os, "killpg"):
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()


def _tests(reference: str) -> dict[str, Any] | None:
    try:
        given = json.loads(reference)
    except (ValueError, RecursionError):
        given = reference
    if isinstance(given, str):
        return {"test": given} if given.strip() and _parses(given) else None
    if isinstance(given, list):
        given = {"test_list": given}
    if not isinstance(given, Mapping):
        return None
    if isinstance(given.get("test_list"), list) and given["test_list"]:
        setup = "\n".join([*map(str, given.get("test_imports") or []), str(given.get("test_setup_code") or "")])
        return {"test": "\n".join(map(str, given["test_list"])), "setup": setup}
    return dict(given) if isinstance(given.get("test"), str) and given["test"].strip() else None


def _code_in(response: str) -> str | None:
    """All fenced Python that parses, in order (what is defined twice counts as defined last); else everything."""
    blocks = [
        body for language, body in _BLOCK.findall(response) if language.lower() in ("", "python", "py", "python3")
    ]
    good = [body for body in blocks if body.strip() and _parses(body)]
    if good:
        return "\n\n".join(good)
    return response if not blocks and response.strip() and _parses(response) else None


def _continued(prompt: str, response: str) -> str | None:
    """The prompt with a body behind it, as base models answer; indented where the answer is not."""
    blocks = _BLOCK.findall(response)
    body = (blocks[-1][1] if blocks else response).rstrip().lstrip("\n")
    if not body.strip():
        return None
    indented = "\n".join("    " + line for line in body.splitlines())
    whole = prompt + body if body[0].isspace() else prompt + "\n" + indented
    return whole if _parses(whole) else None


def _parses(text: str) -> bool:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # an odd escape in somebody's text is no news
            ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    return True
