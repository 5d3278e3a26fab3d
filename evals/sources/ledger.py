"""Samples out of the router's own ledger: what people really asked, as far as its text was kept.

The ledger keeps no text by default. Where `requests` has the columns `messages` (JSON) and `response`, rows with
both become samples; the reference is what was answered then, a thing to compare with and not the truth.
"""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evals.sources.redact import Redaction, redaction
from evals.types import EvalError

if TYPE_CHECKING:
    from evals.suite_schema import LedgerEntry

_NEEDED = ("messages", "response")


def ledger_rows(
    ledger: LedgerEntry, task: str, folder: Path, *, seed: int = 0, redact: Redaction | None = None
) -> list[tuple[str, Mapping[str, Any]]]:
    """Answered requests, at most so many of each task, with `messages`, `reference`, `task`, `model`, `request_id`.

    Which ones is drawn by the seed and each request's id, so a ledger that grows keeps most of its sample.

    Args:
        ledger: where and how much.
        task: the ledger's task to take when `ledger` names none.
        folder: where the state directory and the file of a redaction start from.
        seed: of the draw.
        redact: applied to every text of messages and answers; default: what `ledger` names.

    Raises:
        EvalError: there is no ledger, it holds no text, or no fitting request.
    """
    path = _path(ledger, folder)
    clean = redact or redaction(ledger.redact, folder)
    tasks = ledger.tasks or [task]
    since = 0 if ledger.days is None else int((time.time() - ledger.days * 86_400) * 1e6)
    try:
        with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as connection:
            known = {row[1] for row in connection.execute("PRAGMA table_info(requests)")}
            if not known.issuperset(_NEEDED):
                raise EvalError(
                    f"{path}: the ledger holds no text (`data: {{store_text: none}}`; other values are not supported "
                    "yet in this version); write prompts and answers to a JSONL file and name it as `source:`"
                )
            marks = ", ".join("?" * len(tasks))
            query = (
                "SELECT id, task, model_served, messages, response FROM requests WHERE outcome = 'ok' AND "  # noqa: S608
                f"messages IS NOT NULL AND response IS NOT NULL AND at_us >= ? AND task IN ({marks})"
            )
            found = connection.execute(query, (since, *tasks)).fetchall()
    except sqlite3.Error as error:
        raise EvalError(f"{path}: cannot be read as a ledger ({error})") from error
    rows = []
    for name in tasks:
        drawn = sorted((row for row in found if row[1] == name), key=lambda row: _turn(seed, row[0]))
        rows += [_row(row, path, clean) for row in drawn[: ledger.per_task]]
    if not rows:
        raise EvalError(f"{path}: no answered request with text of task {', '.join(tasks)}; widen `tasks` or `days`")
    return rows


def _path(ledger: LedgerEntry, folder: Path) -> Path:
    state = ledger.state or os.environ.get("CLEARBAR_STATE") or ".clearbar"
    if "://" in state:
        raise EvalError(f"ledger {state.partition('://')[0]}://...: only a state directory can be read; give its path")
    path = (folder / state if ledger.state else Path(state)) / "ledger.sqlite3"
    if not path.is_file():
        raise EvalError(f"{path}: no ledger there; give the router's state directory as `ledger: {{state: DIR}}`")
    return path


def _turn(seed: int, request_id: str) -> str:
    return hashlib.sha256(f"{seed}/{request_id}".encode()).hexdigest()


def _row(row: Sequence[Any], path: Path, clean: Redaction) -> tuple[str, Mapping[str, Any]]:
    request_id, task, model, messages, response = row
    place = f"{path}:{request_id}"
    try:
        asked = [_cleaned(message, clean) for message in json.loads(messages)]
    except (ValueError, TypeError, AttributeError) as error:
        raise EvalError(f"{place}: messages are not a JSON list of messages ({error})") from error
    return place, {
        "messages": asked,
        "reference": clean(response),
        "task": task,
        "model": model,
        "request_id": request_id,
    }


def _cleaned(value: Any, clean: Redaction) -> Any:
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, list):
        return [_cleaned(item, clean) for item in value]
    if isinstance(value, dict):
        # Roles and types are words of the format, no text of people.
        return {key: item if key in ("role", "type") else _cleaned(item, clean) for key, item in value.items()}
    return value
