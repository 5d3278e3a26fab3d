"""HTML and SVG from values: text is escaped unless this module made it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from html import escape


class Markup(str):
    """Text that is safe to put into a page as it stands; made by `tag` and `join` only."""

    __slots__ = ()


Attribute = str | int | float | bool | None


def tag(name: str, *children: str, **attributes: Attribute) -> Markup:
    """One element. Children that are not `Markup` are escaped, attributes always.

    An underscore in an attribute's name stands for a hyphen; `class_` and `for_` lose their last one. None and
    False leave an attribute out, True writes it without a value. There are no `style` attributes: the page's
    content security policy would ignore them.

    >>> tag("p", "1 < 2", class_="note", hidden=True)
    '<p class="note" hidden>1 &lt; 2</p>'
    """
    written = "".join(_attribute(key.rstrip("_").replace("_", "-"), value) for key, value in attributes.items())
    return Markup(f"<{name}{written}>{join(*children)}</{name}>")


def join(*parts: str) -> Markup:
    """Parts after each other, escaped where they are plain text."""
    return Markup("".join(part if isinstance(part, Markup) else escape(part) for part in parts))


def _attribute(name: str, value: Attribute) -> str:
    if value is None or value is False:
        return ""
    if value is True:
        return f" {name}"
    text = f"{value:.2f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)
    return f' {name}="{escape(text)}"'


def table(caption: str, columns: Sequence[str], rows: Sequence[Markup], **attributes: Attribute) -> Markup:
    """A table in a box that scrolls by itself, so that the page never scrolls sideways.

    Roles are written out because the style sheet turns rows into cards on a phone, which drops the implied ones.
    """
    head = tag("tr", *(tag("th", name, scope="col", role="columnheader") for name in columns), role="row")
    body = join(*rows) if rows and rows[0].startswith("<tbody") else tag("tbody", *rows, role="rowgroup")
    made = tag("table", tag("caption", caption), tag("thead", head, role="rowgroup"), body, role="table", **attributes)
    return tag("div", made, class_="scroll", tabindex=0, role="region", aria_label=caption)


def cell(label: str, content: str, kind: str | None = None) -> Markup:
    """A table cell that carries its column's name along, for phones, where columns become lines."""
    return tag("td", content, class_=kind, data_label=label, role="cell")


def soft(name: str) -> Markup:
    """A name that may break after a slash, an underscore or a colon, where a column is narrow."""
    return Markup(re.sub(r"([/_:])", r"\1<wbr>", escape(name)))


def usd(amount: float | None) -> str:
    """An amount for reading: three digits that matter, never an exponent.

    >>> [usd(amount) for amount in (None, 0, 0.00379, 0.5, 12.3456, 1234567)]
    ['unknown', '$0', '$0.00379', '$0.500', '$12.35', '$1,234,567']
    """
    if amount is None:
        return "unknown"
    if amount <= 0:
        return "$0"
    return f"${amount:,.{decimals(amount)}f}"


def decimals(amount: float) -> int:
    """Decimal places that show an amount above 0 with three digits that matter, cents at least below 1,000."""
    if amount >= 1000:
        return 0
    places = 2
    while amount < 1 and places < 12 and amount * 10 ** (places - 2) < 1:
        places += 1
    return places


def seconds(value: float | None) -> str:
    """A duration for reading.

    >>> [seconds(value) for value in (None, 0.0421, 2.5, 75)]
    ['unknown', '42 ms', '2.50 s', '75.0 s']
    """
    if value is None:
        return "unknown"
    if value < 1:
        return f"{value * 1000:.0f} ms"
    return f"{value:.2f} s" if value < 10 else f"{value:.1f} s"
