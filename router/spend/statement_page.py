"""A statement as one HTML page that needs nothing else: no script, no network, no other file; it prints well.

Names and tags are untrusted: all text is escaped, and the page's content security policy allows its style alone.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from decimal import Decimal
from html import escape

from router.spend.csv_cells import as_text
from router.spend.statement import Line, Statement
from router.spend.statement_split import CACHE_POLICIES, METHODS

STYLE = """
:root { color-scheme: light dark; --paper: light-dark(#f7f7f4, #121417); --surface: light-dark(#fff, #1a1d21);
  --ink: light-dark(#191c20, #e7e9ec); --muted: light-dark(#5a616a, #a0a8b2); --line: light-dark(#e0e0da, #2f343b);
  --accent: light-dark(#1f4fbf, #8fb3ff); --open: light-dark(#835400, #edb84c); }
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink);
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Inter, Roboto, "Helvetica Neue", sans-serif; }
main { max-width: 1320px; margin: 0 auto; padding: 36px 24px 48px; }
h1, h2, p, dl, dd { margin: 0; }
h1 { font-size: 34px; line-height: 1.15; letter-spacing: -0.02em; }
h2 { font-size: 22px; letter-spacing: -0.01em; margin: 40px 0 10px; }
.muted, dt { color: var(--muted); font-size: 13px; }
.lead { color: var(--muted); max-width: 78ch; margin: 8px 0 0; }
.warn { color: var(--open); font-weight: 600; margin-top: 12px; max-width: 78ch; }
dl { display: grid; grid-template-columns: repeat(auto-fit, minmax(168px, 1fr)); gap: 14px 20px; margin-top: 24px; }
dd { font-variant-numeric: tabular-nums; overflow-wrap: anywhere; }
.scroll { overflow-x: auto; background: var(--surface); border: 1px solid var(--line); border-radius: 10px; }
table { width: 100%; border-collapse: collapse; font-variant-numeric: tabular-nums; }
caption { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); }
th, td { text-align: left; padding: 9px 14px; border-top: 1px solid var(--line); font-weight: 400; }
thead th { border-top: 0; color: var(--muted); font-size: 13px; white-space: nowrap; }
tbody th { font-weight: 600; overflow-wrap: anywhere; min-width: 140px; }
tfoot td, tfoot th { font-weight: 600; }
.n { text-align: right; white-space: nowrap; }
svg { display: block; width: 120px; height: 8px; margin-left: auto; }
rect { fill: var(--accent); }
.of { fill: var(--line); }
code { font: 13px ui-monospace, Menlo, Consolas, "DejaVu Sans Mono", monospace; overflow-wrap: anywhere; }
@media print { :root { color-scheme: light; } main { max-width: none; padding: 0; } .scroll { border: 0; } }
"""


def as_html(one: Statement) -> str:
    """The whole page."""
    policy = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
    title = f"Statement of {escape(one.month)} by {escape(', '.join(one.by))}"
    parts = [
        "<!doctype html>", '<html lang="en"><head><meta charset="utf-8">',
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; "
        f"style-src 'sha256-{policy}'; base-uri 'none'; form-action 'none'\">",
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{title}</title><style>{STYLE}</style></head><body><main>",
        f"<h1>{title}</h1>", _lead(one), _facts(one),
        "<h2>Lines</h2>", _lines(one), _pools(one), _reading(one), "</main></body></html>",
    ]  # fmt: skip
    return "\n".join(parts).encode("utf-8", "replace").decode()


def _lead(one: Statement) -> str:
    if one.closed:
        said = "The month is closed: its rows are fixed by the hash below."
    else:
        said = "The month is open: it may still grow."
    text = f'<p class="lead">{said} All lines add up to the ledger and to stated amounts, to the last decimal.</p>'
    if one.unpriced:
        calls = "1 call has" if one.unpriced == 1 else f"{one.unpriced:,} calls have"
        text += f'<p class="warn">{calls} no known cost, which is in no amount of this page.</p>'
    return text


def _facts(one: Statement) -> str:
    facts = [("Total", _usd(one.total_usd)), ("Of it in the ledger", _usd(one.ledger_usd))]
    if one.stated_usd:
        facts.append(("Stated beside it", _usd(one.stated_usd)))
    if one.adjusted_usd:
        facts.append(("Written after the close", _usd(one.adjusted_usd)))
    if one.moved_usd:
        facts.append(("Moved by cached answers", _usd(one.moved_usd)))
    facts.append(("Close", f"<code>{one.closed}</code>" if one.closed else "none"))
    return f"<dl>{''.join(f'<div><dt>{name}</dt><dd>{value}</dd></div>' for name, value in facts)}</dl>"


def _lines(one: Statement) -> str:
    has_charges = any(line.charges_usd for line in one.lines)
    has_moves = any(line.cache_usd for line in one.lines)
    heads = [*one.by, "requests", "from cache", "calls", "unpriced", "own calls"]
    heads += (
        ["charges"] * has_charges + [pool.name for pool in one.pools] + ["cache"] * has_moves + ["total", "relative"]
    )
    largest = max((line.total_usd for line in one.lines), default=Decimal(0))
    rows = []
    for line in one.lines:
        cells = [
            f"{line.requests:,}",
            f"{line.hits:,}",
            f"{line.calls:,}",
            f"{line.unpriced:,}" if line.unpriced else "",
        ]
        cells += [_usd(amount) for amount in _amounts(one, line, has_charges, has_moves)]
        names = [f'<th scope="row">{escape(value) if value is not None else _unset()}</th>' for value in line.scope]
        rows.append(_row([*names, *(f'<td class="n">{cell}</td>' for cell in cells), _bar(line.total_usd, largest)]))
    sums = [
        sum(values, Decimal(0))
        for values in zip(*(_amounts(one, line, has_charges, has_moves) for line in one.lines), strict=True)
    ]
    counts = [sum(getattr(line, name) for line in one.lines) for name in ("requests", "hits", "calls", "unpriced")]
    foot = [f'<th scope="row" colspan="{len(one.by)}">All</th>', *(f'<td class="n">{count:,}</td>' for count in counts),
            *(f'<td class="n">{_usd(amount)}</td>' for amount in sums), "<td></td>"]  # fmt: skip
    return _table("Lines", heads, len(one.by), rows, _row(foot))


def _amounts(one: Statement, line: Line, has_charges: bool, has_moves: bool) -> list[Decimal]:
    found = [line.calls_usd] + [line.charges_usd] * has_charges
    found += [line.shared_usd.get(pool.name, Decimal(0)) for pool in one.pools]
    return found + [line.cache_usd] * has_moves + [line.total_usd]


def _pools(one: Statement) -> str:
    if not one.pools:
        return ""
    rows = [
        _row([
            f'<th scope="row">{escape(pool.name)}</th>', f"<td>{METHODS[pool.method]}</td>",
            f"<td>{'stated' if pool.is_stated else 'ledger'}</td>", f'<td class="n">{pool.calls or ""}</td>',
            f'<td class="n">{_usd(pool.usd)}</td>',
        ])
        for pool in one.pools
    ]  # fmt: skip
    return f"<h2>What is shared</h2>{_table('Shared costs', ['cost', 'split', 'from', 'calls', 'amount'], 3, rows)}"


def _reading(one: Statement) -> str:
    said = f"Cached answers ({one.cache.replace('_', ' ')}): {CACHE_POLICIES[one.cache]}."
    if one.unmoved_hits and one.cache != "first_payer":
        said += f" {one.unmoved_hits:,} hits on answers of earlier months or of unknown cost moved nothing."
    return (
        f'<h2>How to read it</h2><p class="lead">{said} Amounts are in USD. Parts are rounded to whole pico-dollars, '
        "what that leaves goes to the largest remainders.</p>"
    )


def _table(caption: str, heads: Sequence[str], left: int, rows: Sequence[str], foot: str = "") -> str:
    head = "".join(
        f'<th scope="col"{"" if at < left else " class=n"}>{escape(name)}</th>' for at, name in enumerate(heads)
    )
    end = f"<tfoot>{foot}</tfoot>" if foot else ""
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{escape(caption)}"><table>'
        f"<caption>{escape(caption)}</caption><thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody>{end}</table></div>"
    )


def _row(cells: Sequence[str]) -> str:
    return f"<tr>{''.join(cells)}</tr>"


def _unset() -> str:
    return '<span class="muted">not set</span>'


def _bar(amount: Decimal, largest: Decimal) -> str:
    width = float(100 * max(amount, Decimal(0)) / largest) if largest > 0 else 0.0
    return (
        '<td><svg viewBox="0 0 100 8" preserveAspectRatio="none" aria-hidden="true"><rect class="of" width="100" '
        f'height="8"/><rect width="{width:.2f}" height="8"/></svg></td>'
    )


def _usd(amount: Decimal) -> str:
    """Every digit that there is, with cents at least."""
    text = as_text(abs(amount))
    whole, _, rest = text.partition(".")
    sign = "-" if amount < 0 else ""
    return f"{sign}${int(whole):,}.{rest.ljust(2, '0')}"
