"""How far a run is, on standard error: a bar on a terminal, else a line now and then."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from evals.outcomes import value_of
from evals.stats import wilson

if TYPE_CHECKING:
    from evals.runner import Progress

EVERY = 50
"""Cells between two plain lines."""


class Tally:
    """What a session's progress amounts to: time left, and where each candidate stands."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock, self._started_s = clock, clock()
        self._scores: dict[str, tuple[float, int]] = {}

    def add(self, progress: Progress) -> None:
        """Count the cell that was finished last."""
        if progress.last is not None and (value := value_of(progress.last)) is not None:
            total, n = self._scores.get(progress.last.cell.candidate, (0.0, 0))
            self._scores[progress.last.cell.candidate] = (total + value, n + 1)

    def standings(self) -> list[str]:
        """Each candidate's mean over all tasks with its 95 % interval, of this session's cells."""
        found = []
        for candidate, (total, n) in sorted(self._scores.items()):
            interval = wilson(total, n)
            found.append(f"{candidate} {interval.value:.3f} ({interval.low:.3f} to {interval.high:.3f}, n {n})")
        return found

    def left(self, progress: Progress) -> str:
        """Time until the last cell, at the pace so far."""
        ahead = progress.total - progress.skipped - progress.finished
        if not progress.finished or ahead <= 0:
            return "0:00"
        seconds = round((self._clock() - self._started_s) / progress.finished * ahead)
        minutes, seconds = divmod(seconds, 60)
        hours, minutes = divmod(minutes, 60)
        return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"

    def line(self, progress: Progress) -> str:
        """Everything in one line."""
        skipped = f", {progress.skipped} not needed" if progress.skipped else ""
        parts = [
            f"{progress.finished}/{progress.total} cells{skipped}, {progress.failed} failed, "
            f"${progress.spent_usd:.4f}, {self.left(progress)} left",
            *self.standings(),
        ]
        return "; ".join(parts)


@contextmanager
def shown() -> Iterator[Callable[[Progress], None]]:
    """Show progress while the block runs; gives the function that takes it."""
    tally = Tally()
    last: Progress | None = None
    if not sys.stderr.isatty():

        def note_plainly(progress: Progress) -> None:
            nonlocal last
            tally.add(progress)
            last = progress
            if not progress.finished % EVERY:
                click.echo(tally.line(progress), err=True)

        yield note_plainly
        if last is not None and last.finished % EVERY:
            click.echo(tally.line(last), err=True)
        return
    from rich.console import Console, Group
    from rich.live import Live
    from rich.progress_bar import ProgressBar
    from rich.text import Text

    bar, words = ProgressBar(total=1, width=40), Text()

    def draw(progress: Progress) -> None:
        bar.update(progress.finished + progress.skipped, max(1, progress.total))
        words.plain = tally.line(progress).replace("; ", "\n")

    with Live(Group(bar, words), console=Console(stderr=True), refresh_per_second=4):

        def note(progress: Progress) -> None:
            nonlocal last
            tally.add(progress)
            last = progress
            draw(progress)

        yield note
        if last is not None:  # jobs that were left out at the very end came with no cell
            draw(last)
