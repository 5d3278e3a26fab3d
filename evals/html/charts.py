"""Plots as inline SVG. Every colour comes from the style sheet by class, so that both themes and print work."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from statistics import median

from evals.html.data import Entry
from evals.html.labels import LINE, Box, place
from evals.html.markup import Markup, decimals, seconds, tag, usd
from evals.summary import Standing, Verdict

CLASSES: dict[Verdict | None, str] = {"held": "held", "failed": "failed", "not enough evidence": "open", None: "plain"}
"""Style class of a verdict."""
SIGNS = {"held": "✓", "failed": "✕", "open": "?", "plain": ""}
"""Shown beside a verdict's colour, for those who cannot tell the colours."""
WIDTH, HEIGHT = 420, 300
LEFT, RIGHT, TOP, BOTTOM = 46.0, 404.0, 14.0, 250.0
"""Of the frontier's plotting area."""
LONGEST_NAME = 24
Scale = Callable[[float], float]
BARS = 28
"""Columns of a histogram."""
_BAR_NAMES = [
    Box(left, top, left + 56, top + LINE) for top in (-LINE, 1) for left in (RIGHT - 56, LEFT, (LEFT + RIGHT) / 2 - 28)
]
"""Places for the name of the bar, relative to its line; the first of the emptiest is taken."""


def interval_bar(standing: Standing) -> Markup:
    """Mean, Wilson interval, lower bound and bar on one line from 0 to 1."""

    def at(value: float) -> float:
        return 6 + value * 188

    low, high = standing.interval.low, standing.interval.high
    parts = [
        tag("line", x1=at(0), x2=at(1), y1=13, y2=13, class_="track"),
        tag("line", x1=at(low), x2=at(high), y1=13, y2=13, class_="range"),
        tag("line", x1=at(standing.lower), x2=at(standing.lower), y1=8, y2=18, class_="lower"),
    ]
    said = f"mean {standing.interval.value:.3f}, 95 % interval {low:.3f} to {high:.3f}, lower {standing.lower:.3f}"
    if standing.bar is not None:
        parts.append(tag("line", x1=at(standing.bar), x2=at(standing.bar), y1=1, y2=25, class_="bar-line"))
        said += f", bar {standing.bar:g}"
    parts.append(tag("circle", cx=at(standing.interval.value), cy=13, r=4.5, class_="dot"))
    kind = CLASSES[standing.verdict]
    return tag("svg", tag("title", said), *parts, viewBox="0 0 200 26", class_=f"interval {kind}", role="img")


def frontier(task: str, entries: Sequence[Entry]) -> Markup:
    """Quality with its interval against list cost of 1,000 requests, on a logarithmic axis, with the bar as a line."""
    shown = [entry for entry in entries if entry.list_usd is not None]
    if not shown:
        return tag("p", "No list price is known for any candidate, so there is no cost to plot.", class_="note")
    costs = [(entry.list_usd or 0.0) * 1000 for entry in shown]
    ticks, low, high = _cost_axis(costs)
    bar = entries[0].standing.bar
    floor = min([entry.standing.interval.low for entry in shown] + ([] if bar is None else [bar]))
    bottom = max(0.0, math.floor(floor * 10 - 0.5) / 10)

    def across(cost: float) -> float:
        share = (math.log10(cost) - low) / (high - low) if cost > 0 else 0.0
        return LEFT + 12 + share * (RIGHT - LEFT - 24)

    def down(quality: float) -> float:
        return BOTTOM - (quality - bottom) / (1 - bottom) * (BOTTOM - TOP)

    marks = [
        (across(cost), down(entry.standing.interval.value), entry) for cost, entry in zip(costs, shown, strict=True)
    ]
    marks.sort(key=lambda mark: mark[:2])
    parts = [*_quality_axis(bottom, down), *_cost_ticks(ticks, across)]
    obstacles = [(Box(x - 6, y - 6, x + 6, y + 6), 3.0) for x, y, _ in marks]
    obstacles += [
        (Box(x - 2, down(entry.standing.interval.high), x + 2, down(entry.standing.interval.low)), 1.0)
        for x, _, entry in marks
    ]
    if bar is not None:
        room = min(_BAR_NAMES, key=lambda box: sum(_moved(box, down(bar)).overlap(other) for other, _ in obstacles))
        named = _moved(room, down(bar))
        parts += [
            tag("line", x1=LEFT, x2=RIGHT, y1=down(bar), y2=down(bar), class_="bar-line"),
            tag("text", f"bar {bar:g}", x=named.left + 4, y=named.bottom - 4, class_="bar-text"),
        ]
        obstacles += [(named, 3.0), (Box(LEFT, down(bar) - 1, RIGHT, down(bar) + 1), 0.5)]
    for x, y, entry in marks:
        parts += _point(x, y, entry, down)
    called = short_names([entry.standing.candidate for entry in entries])
    names = [(x, y, _named(called[entry.standing.candidate], entry)) for x, y, entry in marks]
    for (x, y, _), label in zip(
        names, place(names, obstacles, Box(LEFT + 2, TOP - 12, WIDTH, BOTTOM - 2)), strict=True
    ):
        middle = (label.box.top + label.box.bottom) / 2
        if label.is_far:
            near = min(max(x, label.box.left), label.box.right)
            parts.append(tag("line", x1=x, y1=y, x2=near, y2=middle, class_="leader"))
        parts.append(tag("text", label.text, x=label.box.left, y=middle + 4, class_="point-name"))
    said = "; ".join(
        f"{entry.standing.candidate}: quality {entry.standing.interval.value:.3f} at {usd(cost)}"
        for cost, entry in zip(costs, shown, strict=True)
    )
    label_text = f"{task}: quality against list cost of 1,000 requests. {said}"
    return tag("svg", *parts, viewBox=f"0 0 {WIDTH} {HEIGHT}", class_="frontier", role="img", aria_label=label_text)


def histogram(values: Sequence[float], low: float, high: float, *, unit: str, kind: str) -> Markup:
    """How often each amount came up, in columns of equal width on a logarithmic axis from low to high."""
    if not values or high <= 0:
        return tag("span", "all free" if values else "unknown", class_="note")
    start, end = math.log10(low), math.log10(high)
    counts = [0] * BARS
    for value in values:
        share = (math.log10(max(value, low)) - start) / (end - start)
        counts[min(BARS - 1, max(0, int(share * BARS)))] += 1
    step = 300 / BARS
    parts = [tag("line", x1=0, x2=300, y1=46, y2=46, class_="axis")]
    for place_, count in enumerate(counts):
        if count:
            tall = max(1.5, 40 * count / max(counts))
            parts.append(tag("rect", x=place_ * step + 0.7, y=46 - tall, width=step - 1.4, height=tall, class_=kind))
    middle = (math.log10(max(median(values), low)) - start) / (end - start) * 300
    parts.append(tag("line", x1=middle, x2=middle, y1=0, y2=50, class_="median"))
    said = f"{len(values):,} {unit}: from {min(values):.3g} to {max(values):.3g}, median {median(values):.3g}"
    return tag("svg", tag("title", said), *parts, viewBox="0 0 300 52", class_="histogram", role="img")


def short_names(candidates: Sequence[str]) -> dict[str, str]:
    """Names that fit into a plot: without the provider where that stays unambiguous, and cut in the middle."""
    bare = [name.rpartition("/")[2] or name for name in candidates]
    names = {name: last if bare.count(last) == 1 else name for name, last in zip(candidates, bare, strict=True)}
    half = LONGEST_NAME // 2
    return {
        name: text if len(text) <= LONGEST_NAME else f"{text[:half]}…{text[1 - half :]}" for name, text in names.items()
    }


def _named(name: str, entry: Entry) -> str:
    return name if entry.latency_p95_s is None else f"{name}, {seconds(entry.latency_p95_s)}"


def _moved(box: Box, by: float) -> Box:
    return Box(box.left, box.top + by, box.right, box.bottom + by)


def _point(x: float, y: float, entry: Entry, down: Scale) -> list[Markup]:
    standing = entry.standing
    kind = f"{CLASSES[standing.verdict]} {'dominated' if entry.dominated_by else ''}".strip()
    top, bottom = down(standing.interval.high), down(standing.interval.low)
    shape = {
        "failed": tag("path", d=f"M{x:.1f} {y - 6:.1f}l6 6l-6 6l-6 -6z", class_="mark"),
        "not enough evidence": tag("rect", x=x - 4.8, y=y - 4.8, width=9.6, height=9.6, class_="mark"),
    }.get(standing.verdict or "", tag("circle", cx=x, cy=y, r=5.5, class_="mark"))
    said = (
        f"{standing.candidate}: {standing.interval.value:.3f} ({standing.interval.low:.3f} to "
        f"{standing.interval.high:.3f}), {usd((entry.list_usd or 0) * 1000)} for 1,000, "
        f"95 % within {seconds(entry.latency_p95_s)}"
    )
    if entry.dominated_by:
        said += f", dominated by {', '.join(entry.dominated_by)}"
    return [
        tag(
            "g",
            tag("title", said),
            tag("line", x1=x, x2=x, y1=top, y2=bottom, class_="whisker"),
            *(tag("line", x1=x - 4, x2=x + 4, y1=end, y2=end, class_="whisker") for end in (top, bottom)),
            shape,
            class_=kind,
        )
    ]


def _cost_axis(costs: Sequence[float]) -> tuple[list[float], float, float]:
    """Up to five round ticks, and the two ends of the axis as logarithms."""
    priced = [cost for cost in costs if cost > 0] or [0.01]
    low, high = math.log10(min(priced)) - 0.12, math.log10(max(priced)) + 0.12
    if high - low < 0.7:
        middle = (low + high) / 2
        low, high = middle - 0.35, middle + 0.35
    for factors in ((1, 2, 5), (1, 3), (1,)):
        every = [factor * 10.0**power for power in range(math.floor(low), math.ceil(high) + 1) for factor in factors]
        ticks = [tick for tick in every if low <= math.log10(tick) <= high]
        if len(ticks) <= 5:
            break
    return ticks[:: math.ceil(len(ticks) / 5) or 1], low, high


def _quality_axis(bottom: float, down: Scale) -> list[Markup]:
    span = 1 - bottom
    step = 0.25 if span > 0.8 else 0.1 if span > 0.3 else 0.05
    parts = []
    value = math.ceil(bottom / step - 1e-9) * step
    while value <= 1 + 1e-9:
        parts.append(tag("line", x1=LEFT, x2=RIGHT, y1=down(value), y2=down(value), class_="grid"))
        parts.append(tag("text", f"{value:.2f}", x=LEFT - 7, y=down(value) + 4, class_="tick end"))
        value += step
    return parts


def _cost_ticks(ticks: Sequence[float], across: Scale) -> list[Markup]:
    parts = []
    for tick in ticks:
        x = across(tick)
        parts.append(tag("line", x1=x, x2=x, y1=BOTTOM, y2=BOTTOM + 5, class_="axis"))
        parts.append(tag("text", _tick(tick), x=x, y=BOTTOM + 19, class_="tick middle"))
    parts.append(tag("line", x1=LEFT, x2=RIGHT, y1=BOTTOM, y2=BOTTOM, class_="axis"))
    centre = (LEFT + RIGHT) / 2
    parts.append(tag("text", "list cost of 1,000 requests, USD", x=centre, y=HEIGHT - 10, class_="axis-name middle"))
    return parts


def _tick(amount: float) -> str:
    text = f"{amount:,.{decimals(amount)}f}"
    return f"${text.rstrip('0').rstrip('.')}" if "." in text else f"${text}"
