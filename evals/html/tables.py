"""What the page says first: facts of the run, the decision, and a verdict for every task and candidate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from evals.html.charts import CLASSES, SIGNS, interval_bar
from evals.html.data import Entry, Page
from evals.html.markup import Markup, cell, join, seconds, soft, table, tag, usd


def facts(page: Page) -> Markup:
    """Run, date, size and money, and the candidates with versions and prices."""
    manifest = page.manifest
    answers = sum(len(results) for results in page.pairs.values())
    billed = usd(page.billed_usd) + (f" and {page.unpriced:,} calls of unknown price" if page.unpriced else "")
    repeats = f", each asked {manifest.repeats} times" if manifest.repeats > 1 else ""
    rows: list[tuple[str, str]] = [
        ("Run", tag("code", manifest.run_id)),
        ("Started", _date(manifest.created)),
        ("Samples", f"{len(page.samples):,} in {len(page.entries)} tasks{repeats}"),
        ("Answers", f"{answers:,} of {len(page.samples) * len(page.candidates) * manifest.repeats:,}"),
        ("Billed", billed),
        ("At list price", usd(page.list_usd)),
        ("Suite", tag("code", f"sha256 {manifest.suite_sha256[:12]}")),
    ]
    terms = [tag("div", tag("dt", term), tag("dd", text)) for term, text in rows]
    candidates = [
        tag(
            "tr",
            tag("th", soft(name), scope="row", role="rowheader"),
            cell("version", _version(page, name)),
            *_prices(page, name),
            role="row",
        )
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
                colspan=8, scope="rowgroup", role="rowheader"),
            class_="group",
            role="row",
        )  # fmt: skip
        bodies.append(tag("tbody", head, *(_verdict_row(entry) for entry in entries), role="rowgroup"))
    columns = ("candidate", "mean", "95 % interval", "lower bound", "n", "USD per 1,000", "p95 latency", "verdict")
    return table("Verdicts by task and candidate", columns, bodies, class_="verdicts")


def _verdict_row(entry: Entry) -> Markup:
    standing = entry.standing
    kind = CLASSES[standing.verdict]
    name = [tag("span", soft(standing.candidate))]
    if entry.is_choice:
        name.append(tag("span", "cheapest that holds", class_="chip"))
    if entry.dominated_by:
        name.append(tag("span", f"dominated by {', '.join(entry.dominated_by)}", class_="chip quiet"))
    extra = [
        f"{count:,} {word}"
        for count, word in ((standing.failed, "failed calls"), (standing.unscored, "unscored"))
        if count
    ]
    count = join(f"{standing.n:,}", *(tag("span", text, class_="muted block") for text in extra))
    return tag(
        "tr",
        tag("th", tag("span", *name, class_="name"), scope="row", role="rowheader"),
        cell("mean", f"{standing.interval.value:.3f}", "number"),
        cell("95 % interval", interval_bar(standing)),
        cell("lower bound", f"{standing.lower:.3f}", "number"),
        cell("n", count, "number"),
        cell("per 1,000", usd(None if entry.list_usd is None else entry.list_usd * 1000), "number"),
        cell("p95 latency", seconds(entry.latency_p95_s), "number"),
        cell("verdict", _verdict(entry), f"verdict {kind}"),
        class_="choice" if entry.is_choice else None,
        role="row",
    )


def _verdict(entry: Entry) -> Markup:
    standing = entry.standing
    sign = tag("span", SIGNS[CLASSES[standing.verdict]], class_="sign", aria_hidden="true")
    if standing.verdict is None:
        return tag("span", "no bar to hold", class_="muted")
    if standing.verdict == "not enough evidence":
        if standing.judge_note:
            why = standing.judge_note
        elif entry.missing is not None:
            why = f"about {entry.missing:,} more samples would prove it at this rate"
        elif standing.bar is not None and standing.interval.value <= standing.bar:
            why = "its mean lies below the bar; more samples will rather show that it fails"
        else:
            why = "too close to the bar to say how many more samples it takes"
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


def _version(page: Page, name: str) -> str:
    versions = page.versions.get(name, ())
    return (
        join(*(tag("code", version, " ") for version in versions))
        if versions
        else tag("span", "unknown", class_="muted")
    )


def _prices(page: Page, name: str) -> tuple[Markup, Markup]:
    price: Mapping[str, str] | None = page.manifest.prices.get(name)
    ends = ("unknown", "unknown") if price is None else (_price(price["input"]), _price(price["output"]))
    return cell("input / million", ends[0], "number"), cell("output / million", ends[1], "number")


def _price(amount: str) -> str:
    """As the policy has it, cents at least: a price is a promise, so no digit of it is rounded away."""
    whole, _, rest = amount.partition(".")
    return f"${whole}.{rest.ljust(2, '0')}"


def _date(created: str) -> Markup:
    try:
        shown = datetime.fromisoformat(created).strftime("%-d %B %Y, %H:%M %Z").strip()
    except ValueError:
        shown = created
    return tag("time", shown, datetime=created)
