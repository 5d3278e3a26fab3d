"""An inventory as one page that needs nothing else: no script, no network, light and dark, and it prints."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Sequence
from html import escape
from importlib.resources import files
from typing import TYPE_CHECKING

from router.cli.inventory_cells import MODEL_TITLES, columns, model_cells, totals
from router.cli.inventory_tables import told
from router.cli.spend_page import usd
from router.inventory.systems import System

if TYPE_CHECKING:
    from router.inventory.inventory import Inventory

STYLE = """
h2 { font-size: 22px; letter-spacing: -0.01em; margin: 36px 0 10px; }
h3 { font-size: 17px; margin: 0; overflow-wrap: anywhere; }
.system { background: var(--surface); border: 1px solid var(--line); border-radius: 10px;
  padding: 16px 18px; margin: 0 0 12px; break-inside: avoid; }
.system header { display: flex; flex-wrap: wrap; gap: 2px 14px; align-items: baseline; }
.system .cost { margin-left: auto; font-weight: 650; font-variant-numeric: tabular-nums; }
.system dl { display: grid;
  grid-template-columns: repeat(auto-fit, minmax(min(100%, 160px), 1fr)); gap: 12px 24px; margin: 12px 0 0; }
.system dd { font-size: 14px; letter-spacing: 0; overflow-wrap: anywhere; }
.warn { color: light-dark(#9a4b00, #edb84c); font-weight: 600; }
"""
_HEAD = ("team", "environment", "cost (USD)")
"""What stands in the head of a system's box."""
_WARNS = ("incidents", "to watch")


def render(found: Inventory) -> str:
    """The page."""
    style = (files("router.cli") / "spend_page.css").read_text(encoding="utf-8") + STYLE
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    sums = totals(found.systems)
    wrong = [one for one in found.models if one.use not in ("used", "seen", "unused")]
    facts = [
        ("Systems", f"{len(found.systems):,}"),
        ("Requests", f"{sums['requests']:,}"),
        ("Cost", usd(sum((one.cost_usd for one in found.systems), start=type(found.systems[0].cost_usd)(0)))
         if found.systems else "$0"),
        ("Models used", f"{sum(one.calls > 0 for one in found.models):,}"),
        ("Unlisted, banned or over, but seen", f"{len(wrong):,}"),
    ]  # fmt: skip
    shown = "".join(f"<div><dt>{name}</dt><dd>{value}</dd></div>" for name, value in facts)
    boxes = "".join(_box(found.by, one) for one in found.systems) or "<p>Nothing ran in this period.</p>"
    backs = [f"canary {one['canary']} was rolled back at {one['at']}: {one['why']}" for one in found.rollbacks]
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'sha256-{digest}'">
<meta name="viewport" content="width=device-width, initial-scale=1"><title>Inventory of AI systems</title>
<style>{style}</style></head>
<body><main><p class="brand">clearbar</p><h1>Inventory of AI systems</h1>
<p class="muted">{escape(told(found))}</p><dl>{shown}</dl>
<h2>Models</h2>{_table(MODEL_TITLES, map(model_cells, found.models), numbers=2)}
{"".join(f'<p class="warn">{escape(text)}</p>' for text in backs)}
<h2>Systems</h2>{boxes}
</main></body></html>
"""


def _box(by: str, one: System) -> str:
    each = {column.title: column.value(one) for column in columns(by)}
    (name, *_), place = each.pop(by), [each[title][0] for title in _HEAD[:2] if title in each]
    parts = [
        f"<div><dt>{escape(title)}</dt><dd{_warns(title)}>{'<br>'.join(map(escape, lines))}</dd></div>"
        for title, lines in each.items()
        if title not in _HEAD and any(lines)
    ]
    cost = f'<span class="cost" title="{one.cost_usd:f} USD">{usd(one.cost_usd)}</span>'
    return (
        f'<section class="system"><header><h3>{escape(name)}</h3><span class="muted">{escape(", ".join(place))}</span>'
        f"{cost}</header><dl>{''.join(parts)}</dl></section>"
    )


def _warns(title: str) -> str:
    return ' class="warn"' if title in _WARNS else ""


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]], *, numbers: int) -> str:
    """A table whose last columns are numbers."""
    first = len(heads) - numbers
    kinds = ["name" if i < first else "number" for i in range(len(heads))]
    head = "".join(f'<th scope="col" class="{kind}">{title}</th>' for title, kind in zip(heads, kinds, strict=True))
    body = "".join(
        "<tr>"
        + "".join(f'<td class="{kind}">{escape(cell)}</td>' for cell, kind in zip(row, kinds, strict=True))
        + "</tr>"
        for row in rows
    )
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'
