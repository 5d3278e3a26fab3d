"""From where a task says its samples come from to the samples themselves."""

from __future__ import annotations

import json
import string
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evals.sources.adapters import adapted
from evals.sources.files import read_rows
from evals.types import EvalError, Sample, make_sample

if TYPE_CHECKING:
    from evals.suite_schema import TaskEntry

Rows = Sequence[tuple[str, Mapping[str, Any]]]
"""Each row with its place, as an error names it."""


def samples_of(task: str, entry: TaskEntry, folder: Path, *, seed: int = 0, given: Rows = ()) -> list[Sample]:
    """All samples of a task that has rows.

    Args:
        task: name of the task.
        entry: what its suite says about it.
        folder: where paths start from.
        seed: of the draw out of a ledger.
        given: rows of a Python suite's `samples()`.

    Raises:
        EvalError: a source cannot be read, a row lacks a column, or a file holds the same sample twice.
    """
    samples: dict[str, Sample] = {}
    for place, row in _rows(task, entry, folder, seed, given):
        sample = _sample(entry, task, row if entry.adapter is None else adapted(entry.adapter, row, place), place)
        if sample.id not in samples:
            samples[sample.id] = sample
        elif entry.hub is None and entry.ledger is None:  # nobody here can mend those; there the first one stands
            raise EvalError(f"{place}: the same question and answer a second time; remove it")
    return list(samples.values())


def _rows(task: str, entry: TaskEntry, folder: Path, seed: int, given: Rows) -> Rows:
    if entry.hub is not None:
        from evals.sources.hub import hub_rows

        return hub_rows(entry.hub, folder)
    if entry.ledger is not None:
        from evals.sources.ledger import ledger_rows

        return ledger_rows(entry.ledger, task, folder, seed=seed)
    if entry.source is not None:
        path = folder / entry.source
        return [(f"{path}:{line}", row) for line, row in read_rows(path)]
    return given


def _sample(entry: TaskEntry, task: str, row: Mapping[str, Any], place: str) -> Sample:
    def column(name: str) -> Any:
        if name not in row:
            raise EvalError(f"{place}: has no column {name!r}; it has {', '.join(map(str, row))}")
        return row[name]

    def filled(template: str) -> str:
        try:
            names = [name for _, name, _, _ in string.Formatter().parse(template) if name is not None]
        except ValueError as error:
            raise EvalError(
                f"task {task!r}: template {template[:60]!r}: {error}; write {{{{ for a brace itself"
            ) from error
        # Columns by their whole name only: no attribute or index access through a template.
        text = {name: _text(column(name)) for name in names}
        return "".join(
            literal + ("" if name is None else text[name]) for literal, name, _, _ in string.Formatter().parse(template)
        )

    messages: Sequence[Mapping[str, Any]]
    if isinstance(row.get("messages"), list) and entry.prompt == "{prompt}" and "prompt" not in row:
        messages = row["messages"]
    else:
        messages = [{"role": "user", "content": filled(entry.prompt)}]
        if entry.system is not None:
            messages = [{"role": "system", "content": filled(entry.system)}, *messages]
    metadata = {"source": place}
    if entry.cluster is not None:
        metadata["cluster"] = _text(column(entry.cluster))
    if entry.contexts is not None:
        metadata["contexts"] = _text(column(entry.contexts))
    subtask = _text(column(entry.subtask)) if entry.subtask is not None else ""
    return make_sample(task, tuple(messages), _text(column(entry.reference)), subtask=subtask, metadata=metadata)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
