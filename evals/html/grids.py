"""Two tables that are pictures: the heat map, and histograms of cost and latency."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import fmean, quantiles

from evals.html.charts import CLASSES, SIGNS, histogram
from evals.html.data import Page
from evals.html.markup import Markup, cell, join, seconds, soft, table, tag, usd
from evals.types import Failed

STEPS = 10
"""Shades of the heat map."""


def heat_map(page: Page) -> Markup:
    """Mean score by task and candidate, and each candidate's mean over tasks."""
    rows, low = [], lightest(page)
    for task, entries in page.entries.items():
        by_name = {entry.standing.candidate: entry.standing for entry in entries}
        cells = []
        for name in page.candidates:
            standing = by_name.get(name)
            if standing is None:
                cells.append(tag("td", "–", class_="empty", title="no scored answer"))
                continue
            kind = CLASSES[standing.verdict]
            sign = tag("span", SIGNS[kind], class_="sign", title=standing.verdict or "no bar")
            cells.append(tag("td", f"{standing.interval.value:.2f}", sign, class_=_shade(standing.interval.value, low)))
        rows.append(tag("tr", tag("th", soft(task), scope="row"), *cells))
    means = []
    for name in page.candidates:
        found = [
            e.standing.interval.value for every in page.entries.values() for e in every if e.standing.candidate == name
        ]
        whole = len(found) == len(page.entries)
        means.append(tag("td", f"{fmean(found):.2f}", class_=_shade(fmean(found), low)) if whole else tag("td", "–"))
    rows.append(tag("tr", tag("th", "mean of tasks", scope="row"), *means, class_="total"))
    return table("Mean score by task and candidate", ("task", *map(soft, page.candidates)), rows, class_="heat")


def lightest(page: Page) -> float:
    """Where the colours of the heat map begin: the lowest mean, rounded down to a tenth."""
    lowest = min(entry.standing.interval.value for entries in page.entries.values() for entry in entries)
    return min(0.9, math.floor(lowest * 10 + 1e-9) / 10)


def distributions(page: Page) -> Markup:
    """Cost and latency of single answers, a histogram for each candidate on shared axes; cost for 1,000 of a kind."""
    results = {name: [r for r in page.results(name) if not isinstance(r.score, Failed)] for name in page.candidates}
    costs = {name: [cost * 1000 for cost in page.list_costs(name)] for name in results}
    times = {name: [r.latency_s for r in found if r.latency_s is not None] for name, found in results.items()}
    cost_ends, time_ends = _ends(costs), _ends(times)
    rows = [
        tag(
            "tr",
            tag("th", soft(name), scope="row", role="rowheader"),
            cell("list cost of 1,000", histogram(costs[name], *cost_ends, unit="answers, USD for 1,000", kind="cost")),
            cell("median and p95", _two([usd(value) for value in _middle_and_tail(costs[name])])),
            cell("latency", histogram(times[name], *time_ends, unit="answers, seconds", kind="time")),
            cell("median and p95", _two([seconds(value) for value in _middle_and_tail(times[name])])),
            role="row",
        )
        for name in page.candidates
        if results[name]
    ]
    columns = (
        f"list cost of 1,000 such answers, {usd(cost_ends[0])} to {usd(cost_ends[1])}",
        "median, p95",
        f"latency, {seconds(time_ends[0])} to {seconds(time_ends[1])}",
        "median, p95",
    )
    return table("Cost and latency of single answers", ("candidate", *columns), rows, class_="distributions")


def _shade(value: float, low: float) -> str:
    return f"shade-{min(STEPS, max(0, round((value - low) / (1 - low) * STEPS)))}"


def _ends(values: Mapping[str, Sequence[float]]) -> tuple[float, float]:
    above = [value for found in values.values() for value in found if value > 0]
    if not above:
        return 0.0, 0.0
    return (min(above), max(above)) if max(above) > min(above) * 1.2 else (min(above) / 1.5, max(above) * 1.5)


def _middle_and_tail(values: Sequence[float]) -> tuple[float | None, float | None]:
    if not values:
        return None, None
    if len(values) == 1:
        return values[0], values[0]
    cuts = quantiles(values, n=20, method="inclusive")
    return cuts[9], cuts[18]


def _two(texts: Sequence[str]) -> Markup:
    return join(tag("b", texts[0]), tag("span", texts[1], class_="muted"))
