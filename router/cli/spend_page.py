"""A report of spend as one page that needs nothing else: no script, no network, light and dark, and it prints."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from decimal import Decimal
from html import escape
from importlib.resources import files

from router.cli.spend_tables import told
from router.spend.report import Report, steps_of, total

MOST = 7
"""Groups with a colour of their own; the others share one."""
WIDTH, HEIGHT, LEFT, BOTTOM = 1000, 300, 64, 30
OTHERS = "others"


def render(report: Report) -> str:
    """The page."""
    style = (files("router.cli") / "spend_page.css").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    asked, all_ = report.question, total(report.rows)
    by = [*asked.by, *([asked.step] if asked.step else [])]
    facts = [
        ("Cost", usd(all_["cost_usd"])),
        ("Requests", f"{all_['requests']:,}"),
        ("Cache hits", f"{all_['hits']:,}"),
        ("Calls", f"{all_['calls']:,}"),
        ("Failed calls", f"{all_['failed']:,}"),
        ("Calls without a price", f"{all_['unpriced']:,}"),
    ]
    shown = "".join(f"<div><dt>{name}</dt><dd>{value}</dd></div>" for name, value in facts)
    chart = (_columns(report) if asked.step else _bars(report)) if report.rows else "<p>Nothing in this period.</p>"
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'sha256-{digest}'">
<meta name="viewport" content="width=device-width, initial-scale=1"><title>Spend by {escape(", ".join(by))}</title>
<style>{style}</style></head>
<body><main><p class="brand">clearbar</p><h1>Spend by {escape(", ".join(by))}</h1>
<p class="muted">{escape(told(report))}</p><dl>{shown}</dl>
{chart}
{_table(report)}
</main></body></html>
"""


def usd(amount: Decimal) -> str:
    """An amount for reading; the table has every digit in its tooltip.

    >>> [usd(Decimal(amount)) for amount in ("0", "0.000379", "0.5", "1234.567")]
    ['$0', '$0.000379', '$0.50', '$1,234.57']
    """
    if amount == 0:
        return "$0"
    places = 2
    while places < 12 and amount * 10 ** (places - 2) < 1 and amount < Decimal("0.1"):
        places += 1
    return f"${amount:,.{places}f}"


def _name(values: Sequence[str | None]) -> str:
    return ", ".join(value or "unset" for value in values) or "all"


def _bars(report: Report) -> str:
    """The dearest groups as bars beside each other's length."""
    rows = report.rows[:20]
    top = max(row["cost_usd"] for row in rows) or Decimal(1)
    lines = []
    for place, row in enumerate(rows):
        name, y = _name([row[name] for name in report.question.by]), place * 26
        width = float(600 * row["cost_usd"] / top)
        lines.append(
            f'<text x="250" y="{y + 17}" class="end">{escape(_short(name))}<title>{escape(name)}</title></text>'
            f'<rect x="260" y="{y + 4}" width="{width:.1f}" height="18" rx="2" class="c0"/>'
            f'<text x="{268 + width:.1f}" y="{y + 17}" class="muted">{usd(row["cost_usd"])}</text>'
        )
    more = f'<p class="muted">The dearest 20 of {len(report.rows):,}.</p>' if len(report.rows) > 20 else ""
    return (
        f'<figure><svg viewBox="0 0 {WIDTH} {len(rows) * 26 + 4}" role="img" aria-label="Cost by group">'
        f"{''.join(lines)}</svg>{more}</figure>"
    )


def _columns(report: Report) -> str:
    """Cost over time, a column for each step, the dearest groups on top of each other."""
    asked, steps = report.question, steps_of(report)
    sums: dict[str, Decimal] = {}
    for row in report.rows:
        name = _name([row[column] for column in asked.by])
        sums[name] = sums.get(name, Decimal(0)) + row["cost_usd"]
    order = sorted(sums, key=lambda name: -sums[name])
    kinds = {name: min(place, MOST) for place, name in enumerate(order)}
    cells: dict[tuple[str, int], Decimal] = {}
    for row in report.rows:
        key = (row["at"], kinds[_name([row[column] for column in asked.by])])
        cells[key] = cells.get(key, Decimal(0)) + row["cost_usd"]
    used = range(min(len(order), MOST + 1))
    top = max(sum((cells.get((at, kind), Decimal(0)) for kind in used), Decimal(0)) for at in steps) or Decimal(1)
    slot, floor = (WIDTH - LEFT) / len(steps), HEIGHT - BOTTOM
    parts = []
    for share in (0.0, 0.5, 1.0):
        y = floor - share * (floor - 12)
        parts.append(
            f'<line x1="{LEFT}" x2="{WIDTH}" y1="{y:.1f}" y2="{y:.1f}" class="axis"/>'
            f'<text x="{LEFT - 8}" y="{y + 4:.1f}" class="end muted">{usd(top * Decimal(share))}</text>'
        )
    for place, at in enumerate(steps):
        y, x = float(floor), LEFT + place * slot
        for kind in used:
            amount = cells.get((at, kind), Decimal(0))
            height = float(amount / top) * (floor - 12)
            y -= height
            if height > 0:
                name = OTHERS if kind == MOST and len(order) > MOST + 1 else order[kind]
                parts.append(f'<rect x="{x + slot * 0.1:.1f}" y="{y:.1f}" width="{slot * 0.8:.1f}" '
                             f'height="{height:.1f}" class="c{kind}"><title>{escape(f"{at} {name}: {usd(amount)}")}'
                             "</title></rect>")  # fmt: skip
        if place % max(1, -(-len(steps) // 10)) == 0:
            label = at[5:16].replace("T", " ") if asked.step == "hour" else at[:7] if asked.step == "month" else at[:10]
            parts.append(f'<text x="{x + slot / 2:.1f}" y="{HEIGHT - 8}" class="middle muted">{label}</text>')
    names = [OTHERS if kind == MOST and len(order) > MOST + 1 else order[kind] for kind in used]
    legend = "".join(
        f'<li><svg viewBox="0 0 12 12"><rect width="12" height="12" rx="2" class="c{kind}"/></svg>{escape(name)}</li>'
        for kind, name in enumerate(names)
    )
    return (
        f'<figure><svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="Cost over time">{"".join(parts)}</svg>'
        + (f"<ul>{legend}</ul></figure>" if asked.by else "</figure>")
    )


def _table(report: Report) -> str:
    asked = report.question
    columns = [("requests", "requests"), ("hits", "cache hits"), ("errors", "errors"), ("calls", "calls"),
               ("failed", "failed"), ("input_tokens", "input tokens"), ("output_tokens", "output tokens"),
               ("unpriced", "without a price")]  # fmt: skip
    names = ["when"] if asked.step else []
    head = "".join(f'<th scope="col">{escape(name)}</th>' for name in [*names, *asked.by])
    head += "".join(f'<th scope="col" class="number">{title}</th>' for _, title in columns)
    timed = (("p50_s", "p50"), ("p95_s", "p95")) if asked.latency else ()
    head += "".join(f'<th scope="col" class="number">{title}</th>' for _, title in timed)
    body = []
    for row in report.rows:
        values = [row["at"].replace("T00:00:00Z", "")] if asked.step else []
        values += [row[name] or "unset" for name in asked.by]
        cells = "".join(f'<td class="name">{escape(str(value))}</td>' for value in values)
        cells += "".join(f'<td class="number">{row[name]:,}</td>' for name, _ in columns)
        cells += "".join(
            f'<td class="number">{"–" if row[name] is None else f"{row[name]:.2f} s"}</td>' for name, _ in timed
        )
        cells += f'<td class="number" title="{row["cost_usd"]:f} USD">{usd(row["cost_usd"])}</td>'
        body.append(f"<tr>{cells}</tr>")
    return (
        f'<div class="scroll"><table><thead><tr>{head}<th scope="col" class="number">cost</th></tr></thead>'
        f"<tbody>{''.join(body)}</tbody></table></div>"
    )


def _short(name: str) -> str:
    return name if len(name) <= 34 else f"{name[:33]}…"
