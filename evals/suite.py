"""A suite: which tasks are asked, with which words, and how answers are scored. A YAML or Python file.

```yaml
version: 1
name: support
tasks:
  tickets:
    source: tickets.jsonl          # beside this file; or `hub: {path: openai/gsm8k, name: main}`, `ledger: {}`
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
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any, Literal

from evals.sources.python import read_python, rows_of_task
from evals.sources.rows import Rows, samples_of
from evals.sources.synthetic import local_pool
from evals.suite_schema import SuiteFile, TaskEntry
from evals.types import EvalError, Sample, Scorer
from router.config import Document, read_yaml, suggestion
from router.errors import PolicyError
from router.validation import validated

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

    def repeats(self, task: str) -> int:
        """How often each sample of a task is asked."""
        return self.tasks[task].repeats

    @property
    def contamination(self) -> Mapping[str, str]:
        """What is known about samples having been in training data, by task."""
        return {task: entry.contamination for task, entry in self.tasks.items() if entry.contamination is not None}

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
    raise EvalError(
        f"{name_or_path}: no such suite; give the path of a YAML or Python file or one of {', '.join(shipped)}"
    )


def load_suite(
    name_or_path: str | Path, *, seed: int | None = None, sources: Mapping[str, str | Path] | None = None
) -> Suite:
    """Read a suite and all its samples.

    Args:
        name_or_path: path of a YAML or Python file, or the name of a shipped suite.
        seed: replaces the seeds of tasks, for fresh samples of the same kinds.
        sources: files to read instead of what the suite names, by task; `""` stands for the only task.

    Raises:
        EvalError: the suite or one of its sources is wrong; one line per mistake, with file and line.
    """
    path = find_suite(str(name_or_path))
    rows: Rows | None = None
    try:
        if path.suffix == ".py":
            document, rows = read_python(path)
        else:
            document = read_yaml(path)
        file = _replaced(validated(SuiteFile, document), sources or {})
    except PolicyError as error:
        raise EvalError(str(error)) from error
    asked = [task for task, entry in file.tasks.items() if entry.generate == "samples"]
    by_task: dict[str, tuple[Sample, ...]] = {}
    scorers: dict[tuple[str, str], Scorer] = {}
    for task, entry in file.tasks.items():
        for subtask, chosen in {"": entry.scorer, **entry.subtask_scorers}.items():
            where = ("tasks", task, "subtask_scorers", subtask) if subtask else ("tasks", task, "scorer")
            try:
                scorers[task, subtask] = chosen.make()
            except EvalError as error:
                raise EvalError(document.problem(where, str(error))) from error
        given = rows_of_task(rows or (), task, asked == [task])
        by_task[task] = _chosen(
            document, task, entry, _samples(document, task, entry, seed, given), f"{file.seed}/{task}"
        )
    return Suite(
        path=path,
        name=file.name,
        seed=file.seed,
        tasks=file.tasks,
        sha256=_sha256(file, by_task),
        by_task=by_task,
        scorers=scorers,
    )


def _samples(document: Document, task: str, entry: TaskEntry, seed: int | None, given: Rows) -> list[Sample]:
    if entry.generate == "samples" and not given:
        raise EvalError(
            document.problem(("tasks", task), f"no rows for task {task!r}: define `samples()` in a Python suite")
        )
    if entry.generate != "local-pool":
        return samples_of(task, entry, document.path.parent, seed=entry.seed if seed is None else seed, given=given)
    try:
        return local_pool(task, seed=entry.seed if seed is None else seed, count=entry.count)
    except EvalError as error:
        raise EvalError(document.problem(("tasks", task), str(error))) from error


def _chosen(document: Document, task: str, entry: TaskEntry, samples: list[Sample], seed: str) -> tuple[Sample, ...]:
    """The samples of the wanted split in their order, up to the limit."""
    if entry.split != "all":
        samples = [sample for sample in samples if (entry.split == "test") == _is_test(sample)]
        if not samples:
            told = f"no sample of task {task!r} falls into split {entry.split!r}; add samples or say `split: all`"
            raise EvalError(document.problem(("tasks", task, "split"), told))
    return _ordered(samples, seed)[: entry.limit]


def _replaced(file: SuiteFile, sources: Mapping[str, str | Path]) -> SuiteFile:
    """The suite with other files as sources; `""` stands for the only task."""
    tasks = dict(file.tasks)
    for task, path in sources.items():
        if not task and len(tasks) > 1:
            raise EvalError(
                f"suite {file.name!r} has several tasks; say which: TASK=FILE with one of {', '.join(tasks)}"
            )
        if task and task not in tasks:
            raise EvalError(f"suite {file.name!r} has no task {task!r}{suggestion(task, tuple(tasks))}")
        name = task or next(iter(tasks))
        tasks[name] = tasks[name].from_file(str(Path(path).absolute()))
    return file.model_copy(update={"tasks": tasks})


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
