"""How values stand in the cells of CSV files."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any


def as_text(value: Any) -> str:
    """A value as it stands in a CSV file: plain numbers without an exponent, moments in UTC, nothing for null.

    >>> as_text(Decimal("1E-12")), as_text(None)
    ('0.000000000001', '')
    """
    if value is None:
        return ""
    if isinstance(value, Decimal):
        text = format(value, "f")
        text = text.rstrip("0").rstrip(".") if "." in text else text
        return "0" if text in ("-0", "") else text
    if isinstance(value, datetime):
        return f"{value.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"
    return str(value)


def as_name(value: str | None) -> str:
    """Text that somebody else chose, so that a spreadsheet takes it for no formula: an apostrophe before `=+-@`.

    >>> as_name("=1+1"), as_name("search"), as_name(None)
    ("'=1+1", 'search', '')
    """
    text = value or ""
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t", "\r")) else text
