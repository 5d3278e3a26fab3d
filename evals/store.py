"""A run on disk: what was planned, and one line for each finished cell.

```
run.json       manifest: run id, suite, candidates, prices, scorers (replaced as a whole)
samples.jsonl  the samples asked, in order (replaced as a whole)
cells.jsonl    one finished cell a line, only ever appended to, each line forced to disk
lock           held by the one process that may write
```

A process killed while it writes leaves at most one torn last line, which is cut off at the next opening;
its cell counts as never asked.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from evals.types import Cell, EvalError, Failed, Result, Sample, make_sample

VERSION = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """What a run asks of whom."""

    run_id: str
    suite: str
    """Name of the suite."""
    suite_sha256: str
    candidates: tuple[str, ...]
    repeats: int
    created: str
    """ISO time in UTC."""
    scorers: Mapping[str, str]
    """By task, as evidence names them."""
    bars: Mapping[str, Mapping[str, float]]
    """By task: `min` and `confidence`; tasks without a bar are left out."""
    prices: Mapping[str, Mapping[str, str] | None]
    """By candidate: USD per million tokens as `input` and `output`, or None when unknown."""
    policy_version: str | None = None
    contamination: Mapping[str, str] = field(default_factory=dict)
    """By task: what is known about its samples having been in training data."""
    stop_early: bool = False
    """Whether candidates left as soon as a bar was decided: only a bound that holds at any time may promise then."""
    planned: Mapping[str, int] = field(default_factory=dict)
    """By task: samples planned for each candidate when a run that stops early began; later ones do not move the end."""
    judge: Mapping[str, Any] = field(default_factory=dict)
    """Of a judged run: who gave the scores and by what, see `evals.judges.session.judged_manifest`."""

    def to_json(self) -> dict[str, Any]:
        """As plain JSON values."""
        names = [name for name in self.__slots__ if name != "candidates"]
        return {
            "version": VERSION,
            "candidates": list(self.candidates),
            **{name: getattr(self, name) for name in names},
        }


class Run:
    """A run directory. Read freely; write inside `with run.writing():`."""

    def __init__(self, directory: str | os.PathLike[str]) -> None:
        self.directory = Path(directory)
        self._file: IO[bytes] | None = None

    @property
    def exists(self) -> bool:
        """Whether a run was started here."""
        return (self.directory / "run.json").is_file()

    def manifest(self) -> Manifest:
        """What the run asks of whom.

        Raises:
            EvalError: there is no run here, or another version wrote it.
        """
        path = self.directory / "run.json"
        if not self.exists:
            raise EvalError(
                f"{self.directory}: no run here; start one with `clearbar eval run SUITE --out {self.directory}`"
            )
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
            if values.pop("version") != VERSION:
                raise EvalError(f"{path}: written by another version of clearbar; run the suite again")
            return Manifest(**{**values, "candidates": tuple(values["candidates"])})
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise EvalError(f"{path}: not a run manifest ({error}); run the suite again") from error

    def samples(self) -> list[Sample]:
        """The samples of the run, in the order they are asked."""
        path = self.directory / "samples.jsonl"
        return [_sample(row) for row in _rows(path)]

    def history(self) -> Iterator[Result]:
        """Every line ever written, also of calls that were tried again later (they cost money, too)."""
        for number, row in enumerate(_rows(self.directory / "cells.jsonl"), start=1):
            try:
                yield Result.from_row(row)
            except (KeyError, TypeError, ValueError) as error:
                raise EvalError(f"{self.directory / 'cells.jsonl'}:{number}: not a finished cell ({error})") from error

    def results(self) -> dict[Cell, Result]:
        """The one result of each cell: the latest, except that a failure never replaces an answer."""
        found: dict[Cell, Result] = {}
        for result in self.history():
            if result.cell not in found or not isinstance(result.score, Failed):
                found[result.cell] = result
        return found

    @contextmanager
    def writing(self) -> Iterator[Run]:
        """Become the run's one writer.

        Raises:
            EvalError: another process is writing, or the directory cannot be made.
        """
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise EvalError(f"{self.directory}: cannot be made ({error.strerror}); give another --out") from error
        with (self.directory / "lock").open("a+b") as lock:
            if not _locked(lock):
                raise EvalError(
                    f"{self.directory}: another process is writing this run; wait for it or give another --out"
                )
            cells = self.directory / "cells.jsonl"
            _cut_torn_line(cells)
            with cells.open("ab", buffering=0) as self._file:
                try:
                    yield self
                finally:
                    self._file = None

    def plan(self, manifest: Manifest, samples: Iterable[Sample]) -> None:
        """Write down what is asked of whom."""
        lines = "".join(json.dumps(_sample_row(sample), ensure_ascii=False) + "\n" for sample in samples)
        replace_file(self.directory / "samples.jsonl", lines)
        replace_file(self.directory / "run.json", json.dumps(manifest.to_json(), indent=2) + "\n")

    def append(self, *results: Result) -> None:
        """Write finished cells and force them to disk at once: an answer that was paid for must survive a crash."""
        if self._file is None:
            raise RuntimeError("append needs `with run.writing():`")
        lines = "".join(json.dumps(result.to_row(), ensure_ascii=False) + "\n" for result in results).encode()
        while lines:  # a raw file may take less than it was given
            lines = lines[self._file.write(lines) :]
        os.fsync(self._file.fileno())


def replace_file(path: Path, text: str) -> None:
    """Write a file whole or not at all."""
    fresh = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with fresh.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(path)
    finally:
        fresh.unlink(missing_ok=True)


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    if not path.is_file():
        return
    # A line without its line break is still being written, or was torn by a crash.
    lines = path.read_bytes().split(b"\n")[:-1]
    for number, line in enumerate(lines, start=1):
        try:
            yield json.loads(line)
        except ValueError as error:
            raise EvalError(f"{path}:{number}: not JSON ({error}); restore the file or run the suite again") from error


def _cut_torn_line(path: Path) -> None:
    if not path.is_file():
        return
    with path.open("r+b") as file:
        text = file.read()
        whole = text.rfind(b"\n") + 1
        if whole < len(text):
            file.truncate(whole)
            os.fsync(file.fileno())


def _locked(file: IO[bytes]) -> bool:
    """Lock until the file is closed; the system lets go of it also after kill -9."""
    try:
        import fcntl
    except ImportError:  # Windows
        import msvcrt

        try:
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined,unused-ignore]
        except OSError:
            return False
        return True
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _sample_row(sample: Sample) -> dict[str, Any]:
    return {
        "id": sample.id,
        "task": sample.task,
        "subtask": sample.subtask,
        "messages": [dict(message) for message in sample.messages],
        "reference": sample.reference,
        "metadata": dict(sample.metadata),
    }


def _sample(row: Mapping[str, Any]) -> Sample:
    return make_sample(
        row["task"], tuple(row["messages"]), row["reference"], subtask=row["subtask"], metadata=row["metadata"]
    )
