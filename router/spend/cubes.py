"""Which sums the ledger keeps beside its rows, and which of them cover a stretch of time. Pure.

A cube is a set of columns; its cells are sums by these columns and by time, at several levels. Tags that take thousands
of values have a cube of few columns and long steps, because with all the others there would be as many cells as rows.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from router.spend.ledger_schema import CUBE_NAMES
from router.spend.windows import DAY_US, HOUR_US, MINUTE_US

MINUTES = 0
"""Number of the level of minutes, the only one whose old cells are deleted."""


@dataclass(frozen=True, slots=True)
class Level:
    """One length of time over which cells sum."""

    number: int
    """In the table of cells, where it must never change its meaning."""
    width_us: int


@dataclass(frozen=True, slots=True)
class Cube:
    """Sums by some columns."""

    number: int
    names: tuple[str, ...]
    levels: tuple[Level, ...]
    """From the shortest to the longest."""


@dataclass(frozen=True, slots=True)
class Stretch:
    """A part of the time asked for: of whole cells of a level, or, without one, of rows."""

    level: Level | None
    since_us: int
    until_us: int


CUBES = (
    Cube(
        0,
        tuple(name for name in CUBE_NAMES if name != "customer"),
        (Level(MINUTES, MINUTE_US), Level(1, HOUR_US), Level(2, DAY_US)),
    ),
    Cube(1, ("customer", "team", "environment", "model"), (Level(3, DAY_US), Level(4, 32 * DAY_US))),
)


def cube_for(names: Collection[str], step_us: int | None = None) -> Cube | None:
    """The cube that has all these columns, in steps of a length if one is asked for; None where rows must be read."""
    for cube in CUBES:
        fits = step_us is None or any(step_us % level.width_us == 0 for level in cube.levels)
        if fits and set(names) <= set(cube.names):
            return cube
    return None


def cover(
    cube: Cube, since_us: int, until_us: int, oldest_us: Mapping[int, int], step_us: int | None = None
) -> list[Stretch]:
    """The fewest cells that fill a stretch of time, and rows at its edges.

    Args:
        cube: whose cells.
        since_us: start in microseconds since 1970.
        until_us: end, excluded.
        oldest_us: by level number, from when on its cells are there; default: always.
        step_us: only cells that lie within one step of this length.

    Returns:
        Stretches in order, without gap or overlap.
    """
    levels = [level for level in cube.levels if step_us is None or step_us % level.width_us == 0]
    return _cover(levels, since_us, until_us, oldest_us)


def _cover(levels: list[Level], since_us: int, until_us: int, oldest_us: Mapping[int, int]) -> list[Stretch]:
    if since_us >= until_us:
        return []
    if not levels:
        return [Stretch(None, since_us, until_us)]
    *finer, level = levels
    width = level.width_us
    start = -(-max(since_us, oldest_us.get(level.number, 0)) // width) * width
    end = until_us // width * width
    if start >= end:
        return _cover(finer, since_us, until_us, oldest_us)
    return [
        *_cover(finer, since_us, start, oldest_us),
        Stretch(level, start, end),
        *_cover(finer, end, until_us, oldest_us),
    ]
