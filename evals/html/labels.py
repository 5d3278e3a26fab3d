"""Where the names of points go on a plot, so that no two overlap."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

LETTER, LINE = 6.7, 15.0
"""Room of one letter and of one line, in the plot's units, at the size the style sheet gives labels."""


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle; y grows downward."""

    left: float
    top: float
    right: float
    bottom: float

    def overlap(self, other: Box) -> float:
        """Area that two boxes share."""
        wide = min(self.right, other.right) - max(self.left, other.left)
        high = min(self.bottom, other.bottom) - max(self.top, other.top)
        return wide * high if wide > 0 and high > 0 else 0.0

    def holds(self, other: Box) -> bool:
        """Whether the other box lies inside this one."""
        return (
            self.left <= other.left
            and self.top <= other.top
            and other.right <= self.right
            and other.bottom <= self.bottom
        )


@dataclass(frozen=True, slots=True)
class Label:
    """A placed name: its box, and whether it stands so far off that it needs a line to its point."""

    text: str
    box: Box
    is_far: bool


def place(points: Sequence[tuple[float, float, str]], obstacles: Sequence[tuple[Box, float]], room: Box) -> list[Label]:
    """A place for each name: the nearest that covers least.

    Args:
        points: x, y and name of each point.
        obstacles: what names should not cover, and how bad one unit of area covered is; a step away costs about 1.
        room: no name leaves it, unless it is wider than the room.
    """
    placed: dict[int, Label] = {}
    # Each name takes the best place that the others leave; going round again lets early ones make way.
    for _ in range(ROUNDS):
        for number, (x, y, text) in enumerate(points):
            others = [(label.box, NAME_ON_NAME) for key, label in placed.items() if key != number]
            placed[number] = _best(x, y, text, [*obstacles, *others], room)
    return [placed[number] for number in range(len(points))]


ROUNDS = 4
NEAR = 6
"""So many places touch the point; all others are on rings around it."""
NAME_ON_NAME = 10.0
"""Worse than any mark: two names on each other are none."""


def _best(x: float, y: float, text: str, taken: Sequence[tuple[Box, float]], room: Box) -> Label:
    best: tuple[float, Label] | None = None
    for rank, (box, away) in enumerate(_around(x, y, len(text) * LETTER)):
        if not room.holds(box):
            continue
        cost = away + sum(box.overlap(other) * weight for other, weight in taken)
        if best is None or cost < best[0]:
            best = cost, Label(text, box, is_far=rank >= NEAR)
    return best[1] if best else Label(text, _around(x, y, len(text) * LETTER)[0][0], is_far=False)


def _around(x: float, y: float, width: float) -> list[tuple[Box, float]]:
    """Places and how far off they are, the nearest first."""
    half = LINE / 2
    near = [
        Box(x + 9, y - half, x + 9 + width, y + half),
        Box(x - 9 - width, y - half, x - 9, y + half),
        Box(x + 7, y - 8 - LINE, x + 7 + width, y - 8),
        Box(x - 7 - width, y - 8 - LINE, x - 7, y - 8),
        Box(x + 7, y + 8, x + 7 + width, y + 8 + LINE),
        Box(x - 7 - width, y + 8, x - 7, y + 8 + LINE),
    ]
    rings = []
    for radius in range(26, 230, 17):
        for turn in range(16):
            angle = turn * math.pi / 8
            centre, middle = x + math.cos(angle) * (radius + width / 2), y + math.sin(angle) * radius
            box = Box(centre - width / 2, middle - half, centre + width / 2, middle + half)
            rings.append((box, radius + abs(math.cos(angle)) * width / 4))
    return [*((box, float(rank)) for rank, box in enumerate(near)), *rings]
