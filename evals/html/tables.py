"""The sections of the page above its viewer: facts, decision, verdicts, heat map, distributions."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import datetime
from statistics import fmean, quantiles

from evals.html.charts import CLASSES, histogram, interval_bar
from evals.html.data import Entry, Page
from evals.html.markup import Attribute, Markup, join, seconds, soft, tag, usd
from evals.types import Failed

SIGNS = {"held": "✓", "failed": "✕", "open": "?", "plain": ""}
"""Shown beside a verdict's colour, for those who cannot tell the colours."""
STEPS = 10
"""Shades of the heat map."""


def facts(page: Page) -> Markup:
    """Run, date, size and money, and the candidates with versions and prices."""
    manifest = page.manifest
    answers = sum(len(results) for results in page.pairs.values())
    billed = usd(page.billed_usd) + (f" and {page.unpriced:,} calls of unknown price" if page.unpriced else "")
    rows: list[tuple[str, str]] = [
        ("Run", tag("code", manifest.run_id)),
        ("Started", _date(manifest.created)),
        (
            "Samples",
            f"{len(page.samples):,} in {len(page.entries)} tasks"
            + (f", each asked {manifest.repeats} times" if manifest.repeats > 1 else ""),
        ),
        ("Answers", f"{answers:,} of {len(page.samples) * len(page.candidates) * manifest.repeats:,}"),
        ("Billed", billed),
        ("At list price", usd(page.list_usd)),
        ("Suite", tag("code", f"sha256 {manifest.suite_sha256[:12]}")),
    ]
    terms = [tag("div", tag("dt", term), tag("dd", text)) for term, text in rows]
    candidates = [
        tag("tr", tag("th", soft(name), scope="row"), _cell("version", _version(page, name)), *_prices(page, name))
        for name in page.candidates
    ]
    return join(
        tag("dl", *terms, class_="facts"),
        *_contamination(page),
        table(
            "Candidates",
            ("candidate", "version", "input, USD per million tokens", "output, USD per million tokens"),
            candidates,
            class_="candidates",
        ),
    )


def decision(page: Page) -> Markup:
    """For each task, the cheapest candidate that holds its bar, or why there is none."""
    cards = []
    for task, entries in page.entries.items():
        choice = next((entry for entry in entries if entry.is_choice), None)
        bar = entries[0].standing.bar
        if choice is not None:
            body = join(
                tag("strong", choice.standing.candidate),
                tag("span", f"{usd((choice.list_usd or 0) * 1000)} per 1,000{_saving(choice, entries)}"),
            )
            kind = "held"
        else:
            kind, text = _no_choice(entries)
            body = join(tag("strong", text[0]), tag("span", text[1]))
        cards.append(
            tag(
                "li",
                tag("h3", task),
                tag("span", "no bar" if bar is None else f"bar {bar:g}", class_="muted"),
                tag("p", tag("span", SIGNS[kind] or "·", class_="sign", aria_hidden="true"), body),
                class_=f"card {kind}",
            )
        )
    return tag("ul", *cards, class_="cards")


def verdicts(page: Page) -> Markup:
    """Mean, interval, lower bound and verdict of every task and candidate."""
    bodies = []
    for task, entries in page.entries.items():
        first = entries[0].standing
        bar = "no bar" if first.bar is None else f"bar {first.bar:g} at {first.confidence * 100:g} %"
        scorer = page.manifest.scorers.get(task, "")
        head = tag(
            "tr",
            tag("th", task, " ", tag("span", join(f"{bar}, scorer ", tag("code", scorer)), class_="muted"),
                colspan=7, scope="rowgroup", role="rowheader"),
            class_="group",
            role="row",
        )  # fmt: skip
        bodies.append(tag("tbody", head, *(_verdict_row(entry) for entry in entries), role="rowgroup"))
    columns = ("candidate", "mean", "95 % interval", "lower bound", "n", "USD per 1,000", "verdict")
    return table("Verdicts by task and candidate", columns, bodies, class_="verdicts")


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
            tag("th", soft(name), scope="row"),
            _cell("list cost of 1,000", histogram(costs[name], *cost_ends, unit="answers, USD for 1,000", kind="cost")),
            _cell("median and p95", _two([usd(value) for value in _middle_and_tail(costs[name])])),
            _cell("latency", histogram(times[name], *time_ends, unit="answers, seconds", kind="time")),
            _cell("median and p95", _two([seconds(value) for value in _middle_and_tail(times[name])])),
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


def table(caption: str, columns: Sequence[str], rows: Sequence[Markup], **attributes: Attribute) -> Markup:
    """A table in a box that scrolls by itself, so that the page never scrolls sideways.

    Roles are written out because the style sheet turns rows into cards on a phone, which drops the implied ones.
    """
    head = tag("tr", *(tag("th", name, scope="col", role="columnheader") for name in columns), role="row")
    body = join(*rows) if rows and rows[0].startswith("<tbody") else tag("tbody", *rows, role="rowgroup")
    made = tag("table", tag("caption", caption), tag("thead", head, role="rowgroup"), body, role="table", **attributes)
    return tag("div", made, class_="scroll", tabindex=0, role="region", aria_label=caption)


def _verdict_row(entry: Entry) -> Markup:
    standing = entry.standing
    kind = CLASSES[standing.verdict]
    name = [tag("span", soft(standing.candidate))]
    if entry.is_choice:
        name.append(tag("span", "cheapest that holds", class_="chip"))
    if entry.dominance:
        name.append(tag("span", entry.dominance, class_="chip quiet"))
    extra = [
        f"{count:,} {word}"
        for count, word in ((standing.failed, "failed calls"), (standing.unscored, "unscored"))
        if count
    ]
    count = join(f"{standing.n:,}", *(tag("span", text, class_="muted block") for text in extra))
    return tag(
        "tr",
        tag("th", tag("span", *name, class_="name"), scope="row", role="rowheader"),
        _cell("mean", f"{standing.interval.value:.3f}", "number"),
        _cell("95 % interval", interval_bar(standing)),
        _cell("lower bound", f"{standing.lower:.3f}", "number"),
        _cell("n", count, "number"),
        _cell("per 1,000", usd(None if entry.list_usd is None else entry.list_usd * 1000), "number"),
        _cell("verdict", _verdict(entry), f"verdict {kind}"),
        class_="choice" if entry.is_choice else None,
        role="row",
    )


def _verdict(entry: Entry) -> Markup:
    standing = entry.standing
    sign = tag("span", SIGNS[CLASSES[standing.verdict]], class_="sign", aria_hidden="true")
    if standing.verdict is None:
        return tag("span", "no bar to hold", class_="muted")
    if standing.verdict == "not enough evidence":
        if entry.missing is not None:
            why = f"about {entry.missing:,} more samples would prove it at this rate"
        elif standing.bar is not None and standing.interval.value <= standing.bar:
            why = "its mean lies below the bar; more samples will rather show that it fails"
        else:
            why = "too close to the bar for any practical number of samples"
        return join(sign, tag("span", tag("b", "not enough evidence"), tag("small", why)))
    why = "lower bound at or above the bar" if standing.verdict == "held" else "even its upper bound is below the bar"
    return join(sign, tag("span", tag("b", standing.verdict), tag("small", why)))


def _no_choice(entries: Sequence[Entry]) -> tuple[str, tuple[str, str]]:
    known = {entry.standing.verdict for entry in entries}
    if known == {None}:
        return "plain", ("No bar", "nothing to decide")
    if "held" in known:
        return "held", ("Bar held", "but no price is known")
    if "not enough evidence" in known:
        missing = [entry.missing for entry in entries if entry.missing is not None]
        more = f"about {min(missing):,} more samples could settle it" if missing else "more samples needed"
        return "open", ("Not enough evidence", more)
    return "failed", ("No candidate", "none can hold the bar")


def _contamination(page: Page) -> list[Markup]:
    """One note for each text: tasks out of one source usually share theirs."""
    tasks: dict[str, list[str]] = {}
    for task, text in page.contamination.items():
        if text and task in page.entries:
            tasks.setdefault(text, []).append(task)
    return [
        tag("p", tag("strong", f"Contamination, {', '.join(names)}: "), text, class_="callout")
        for text, names in tasks.items()
    ]


def _saving(choice: Entry, entries: Sequence[Entry]) -> str:
    dearest = max((entry.list_usd for entry in entries if entry.list_usd is not None), default=0.0)
    if choice.list_usd is None or dearest <= choice.list_usd:
        return ""
    return f", {100 * (1 - choice.list_usd / dearest):.0f} % below the dearest"


def _cell(label: str, content: str, kind: str | None = None) -> Markup:
    return tag("td", content, class_=kind, data_label=label, role="cell")


def _version(page: Page, name: str) -> str:
    versions = page.versions.get(name, ())
    return (
        join(*(tag("code", version, " ") for version in versions))
        if versions
        else tag("span", "unknown", class_="muted")
    )


def _prices(page: Page, name: str) -> tuple[Markup, Markup]:
    price: Mapping[str, str] | None = page.manifest.prices.get(name)
    ends = ("unknown", "unknown") if price is None else (f"${price['input']}", f"${price['output']}")
    return _cell("input / million", ends[0], "number"), _cell("output / million", ends[1], "number")


def _date(created: str) -> Markup:
    try:
        shown = datetime.fromisoformat(created).strftime("%-d %B %Y, %H:%M %Z").strip()
    except ValueError:
        shown = created
    return tag("time", shown, datetime=created)


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
