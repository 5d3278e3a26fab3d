"""A suite: which tasks are asked, with which words, and how answers are scored. A YAML file.

```yaml
version: 1
name: support
tasks:
  tickets:
    source: tickets.jsonl          # beside this file; or `generate: local-pool`
    system: Say billing or delivery.
    prompt: "{text}"               # names columns of the source
    reference: label               # the column with the right answer
    scorer: {name: choice, choices: [billing, delivery]}
    params: {max_tokens: 8, temperature: 0}
    bar: 0.9
```
"""

from __future__ import annotations

import hashlib
import json
import string
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any, Literal

from evals.sources.files import read_rows
from evals.sources.synthetic import local_pool
from evals.suite_schema import SuiteFile, TaskEntry
from evals.types import EvalError, Sample, Scorer, make_sample
from router.config import Document, read_yaml, validated
from router.errors import PolicyError

SHIPPED = Path(__file__).parent / "suites"
TEST_SHARE = 5
"""One sample in so many belongs to the split `test`, by its id."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Suite:
    """A suite, read and ready to be asked."""

    path: Path
    name: str
    seed: int
    tasks: Mapping[str, TaskEntry]
    sha256: str
    """Over everything that can change a score: instructions, samples, parameters and scorers; not bars or comments."""
    by_task: Mapping[str, tuple[Sample, ...]]
    """All samples of each task, in the order they are asked."""
    scorers: Mapping[tuple[str, str], Scorer]
    """By task and subtask; the subtask `""` stands for all others."""

    def samples(self, limit_per_task: int | None = None, split: Literal["train", "test"] | None = None) -> list[Sample]:
        """Samples in a seeded order, tasks in turn, so that any beginning of the list is balanced.

        Args:
            limit_per_task: at most so many of each task; a larger limit only adds samples.
            split: `test` is about one sample in five by its id, `train` the others; None is both.
        """
        picked = [
            [sample for sample in samples if split is None or (split == "test") == _is_test(sample)][:limit_per_task]
            for samples in self.by_task.values()
        ]
        longest = max(map(len, picked))
        return [samples[turn] for turn in range(longest) for samples in picked if turn < len(samples)]

    def scorer_of(self, sample: Sample) -> Scorer:
        """The scorer for a sample."""
        return self.scorers.get((sample.task, sample.subtask)) or self.scorers[sample.task, ""]

    def scorer_name(self, task: str) -> str:
        """The scorers of a task as evidence names them, such as `exact` or `exact+json`."""
        entry = self.tasks[task]
        return "+".join(dict.fromkeys([entry.scorer.name, *(other.name for other in entry.subtask_scorers.values())]))

    def params(self, task: str) -> dict[str, Any]:
        """OpenAI parameters of a task's calls."""
        return self.tasks[task].params.model_dump(exclude_none=True)


def find_suite(name_or_path: str) -> Path:
    """A suite's file: a path as it is, or the name of a shipped suite.

    Raises:
        EvalError: neither exists.
    """
    path = Path(name_or_path)
    if path.is_file():
        return path
    shipped = {file.stem: file for file in sorted(SHIPPED.glob("*.yaml"))}
    if name_or_path in shipped:
        return shipped[name_or_path]
    raise EvalError(f"{name_or_path}: no such suite; give the path of a YAML file or one of {', '.join(shipped)}")


def load_suite(name_or_path: str | Path, *, seed: int | None = None) -> Suite:
    """Read a suite and all its samples.

    Args:
        name_or_path: path of a YAML file, or the name of a shipped suite.
        seed: replaces the seeds of generated tasks, for fresh samples of the same kinds.

    Raises:
        EvalError: the suite or one of its sources is wrong; one line per mistake, with file and line.
    """
    path = find_suite(str(name_or_path))
    try:
        document = read_yaml(path)
        file = validated(SuiteFile, document)
    except PolicyError as error:
        raise EvalError(str(error)) from error
    by_task: dict[str, tuple[Sample, ...]] = {}
    scorers: dict[tuple[str, str], Scorer] = {}
    for task, entry in file.tasks.items():
        for subtask, chosen in {"": entry.scorer, **entry.subtask_scorers}.items():
            where = ("tasks", task, "subtask_scorers", subtask) if subtask else ("tasks", task, "scorer")
            try:
                scorers[task, subtask] = chosen.make()
            except EvalError as error:
                raise EvalError(document.problem(where, str(error))) from error
        by_task[task] = _ordered(_samples(document, task, entry, seed), f"{file.seed}/{task}")
    return Suite(
        path=path,
        name=file.name,
        seed=file.seed,
        tasks=file.tasks,
        sha256=_sha256(file, by_task),
        by_task=by_task,
        scorers=scorers,
    )


def _samples(document: Document, task: str, entry: TaskEntry, seed: int | None) -> list[Sample]:
    if entry.generate is not None:
        try:
            return local_pool(task, seed=entry.seed if seed is None else seed, count=entry.count)
        except EvalError as error:
            raise EvalError(document.problem(("tasks", task), str(error))) from error
    source = document.path.parent / str(entry.source)
    samples: dict[str, Sample] = {}
    for line, row in read_rows(source):
        sample = _from_row(entry, task, row, f"{source}:{line}")
        if sample.id in samples:
            raise EvalError(f"{source}:{line}: the same question and answer a second time; remove it")
        samples[sample.id] = sample
    return list(samples.values())


def _ordered(samples: list[Sample], seed: str) -> tuple[Sample, ...]:
    """Shuffled, but so that any beginning has each subtask's share of the whole."""
    Random(seed).shuffle(samples)  # noqa: S311  an order, no secret
    sizes = Counter(sample.subtask for sample in samples)
    turns: Counter[str] = Counter()
    places: list[tuple[float, int]] = []
    for position, sample in enumerate(samples):
        turns[sample.subtask] += 1
        places.append(((turns[sample.subtask] - 0.5) / sizes[sample.subtask], position))
    return tuple(samples[position] for _, position in sorted(places))


def _from_row(entry: TaskEntry, task: str, row: Mapping[str, Any], place: str) -> Sample:
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
    subtask = _text(column(entry.subtask)) if entry.subtask is not None else ""
    return make_sample(
        task, tuple(messages), _text(column(entry.reference)), subtask=subtask, metadata={"source": place}
    )


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _is_test(sample: Sample) -> bool:
    return int(sample.id[:8], 16) % TEST_SHARE == 0


def _sha256(file: SuiteFile, by_task: Mapping[str, tuple[Sample, ...]]) -> str:
    # Order and names of files change no score; sample ids are hashes of everything a model sees.
    counted = {"scorer", "subtask_scorers", "params"}
    content = {
        task: [
            file.tasks[task].model_dump(mode="json", include=counted, exclude_none=True),
            sorted((sample.id, sample.subtask) for sample in samples),
        ]
        for task, samples in by_task.items()
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True, ensure_ascii=False).encode()).hexdigest()
