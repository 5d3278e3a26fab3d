"""Samples out of the router's own ledger: what people really asked, as far as its text was kept.

The ledger keeps no text unless the policy says so (`data: {store_text: redacted}`). The reference of such a sample is
what was answered then, a thing to compare with and not the truth.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evals.sources.redact import redaction
from evals.types import EvalError
from router.errors import StoreError
from router.redact import Redaction, cleaned
from router.spend.texts import FILE, Kept, TextReader

if TYPE_CHECKING:
    from evals.suite_schema import LedgerEntry

OUR_OWN = ("eval", "eval-judge")
"""Workflows of evals themselves: what they ask is no traffic."""
HOW_TO_KEEP = "set `data: {store_text: redacted, keep_days: 30}` in the policy and let requests come in"


def ledger_rows(ledger: LedgerEntry, task: str, folder: Path, *, seed: int = 0) -> list[tuple[str, Mapping[str, Any]]]:
    """Like `drawn_rows`, for a suite, which needs samples.

    Raises:
        EvalError: there is no ledger, it holds no text, or no fitting request.
    """
    rows = drawn_rows(ledger, task, folder, seed=seed)
    if not rows:
        raise EvalError(
            f"{_state(ledger, folder) / FILE}: no answered request with text of task "
            f"{', '.join(ledger.tasks or [task])}; widen `tasks` or `days`, or {HOW_TO_KEEP}"
        )
    return rows


def drawn_rows(
    ledger: LedgerEntry, task: str, folder: Path, *, seed: int = 0, without: Collection[str] = ()
) -> list[tuple[str, Mapping[str, Any]]]:
    """Answered requests, at most so many of each task, with `messages`, `reference`, `task`, `model`, `request_id`.

    Which ones is drawn by the seed and each request's id, so a ledger that grows keeps most of its sample. Of
    requests that ask word for word the same, one is taken.

    Args:
        ledger: where and how much.
        task: the ledger's task to take when `ledger` names none.
        folder: where the state directory and the file of a redaction start from.
        seed: of the draw.
        without: ids of requests that may not be drawn.

    Raises:
        EvalError: there is no ledger, or it holds no text.
    """
    state = _state(ledger, folder)
    clean = redaction(ledger.redact, folder)
    tasks = ledger.tasks or [task]
    since_us = 0 if ledger.days is None else int((time.time() - ledger.days * 86_400) * 1e6)
    try:
        with TextReader(state) as reader:
            found = reader.requests(tasks, since_us=since_us, without=OUR_OWN)
            drawn = [
                kept
                for name in tasks
                for kept in _drawn(
                    reader, [one for one, of in found if of == name and one not in without], ledger.per_task, seed
                )
            ]
    except StoreError as error:
        raise EvalError(str(error)) from error
    return [_row(kept, f"{state / 'ledger.sqlite3'}:{kept.request_id}", clean) for kept in drawn]


def _state(ledger: LedgerEntry, folder: Path) -> Path:
    named = ledger.state or os.environ.get("CLEARBAR_STATE") or ".clearbar"
    if "://" in named:
        raise EvalError(f"ledger {named.partition('://')[0]}://...: only a state directory can be read; give its path")
    state = folder / named if ledger.state else Path(named)
    if not (state / "ledger.sqlite3").is_file():
        missing = state / "ledger.sqlite3"
        raise EvalError(f"{missing}: no ledger there; give the router's state directory as `ledger: {{state: DIR}}`")
    if not (state / FILE).is_file():
        raise EvalError(
            f"{state}: the ledger holds no text (`data: {{store_text: none}}` is the default); {HOW_TO_KEEP}, or write "
            "prompts and answers to a JSONL file and name it as `source:`"
        )
    return state


def _drawn(reader: TextReader, requests: Sequence[str], most: int, seed: int) -> list[Kept]:
    """So many different ones, in the order of their lots; texts are read one by one, a ledger may hold millions."""
    drawn: dict[str, Kept] = {}
    for request in sorted(requests, key=lambda request: _lot(seed, request)):
        if len(drawn) == most:
            break
        if (kept := reader.text(request)) is not None:
            drawn.setdefault(kept.messages, kept)
    return list(drawn.values())


def _lot(seed: int, request_id: str) -> str:
    return hashlib.sha256(f"{seed}/{request_id}".encode()).hexdigest()


def _row(kept: Kept, place: str, clean: Redaction | None) -> tuple[str, Mapping[str, Any]]:
    try:
        messages = json.loads(kept.messages)
    except ValueError as error:
        raise EvalError(f"{place}: messages are not JSON ({error})") from error
    return place, {
        "messages": messages if clean is None else cleaned(messages, clean),
        "reference": kept.response if clean is None else cleaned(kept.response, clean),
        "task": kept.task,
        "model": kept.model,
        "request_id": kept.request_id,
    }
