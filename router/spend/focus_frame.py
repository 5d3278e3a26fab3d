"""What every FOCUS row has before it has an amount: columns, period, seller, tags."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from router.spend.focus_columns import columns
from router.spend.focus_names import Seller

Row = dict[str, Any]
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How rows are written."""

    profile: str = "1.3"
    is_draft: bool = False
    """Name what FOCUS 1.5 is going to name: models in `SkuPriceDetails` without prefix, and `PrincipalId`."""
    accounts: Mapping[str, str] = field(default_factory=dict)
    """The account or organisation that a provider bills, by provider; default: the provider's name."""

    @property
    def names(self) -> tuple[str, ...]:
        """The columns of a row."""
        own = tuple(column.name for column in columns(self.profile))
        return (*own, "PrincipalId") if self.is_draft else own


def blank_row(options: Options, seller: Seller, start: datetime, end: datetime, tags: Mapping[str, str]) -> Row:
    """A row of a period before it has any amount: the columns of the version, and who sold to whom."""
    first, after = month_around(start)
    team = tags.get("team")
    row: Row = dict.fromkeys(options.names)
    row |= {
        "BillingCurrency": "USD", "BillingPeriodStart": first, "BillingPeriodEnd": after,
        "ChargePeriodStart": start, "ChargePeriodEnd": end,
        "InvoiceIssuerName": seller.name, "ProviderName": seller.name, "PublisherName": seller.name,
        "ServiceCategory": "AI and Machine Learning", "ServiceSubcategory": "Generative AI",
        "ServiceName": seller.service, "BillingAccountId": seller.name, "BillingAccountType": "Account",
        "SubAccountId": team, "SubAccountName": team, "SubAccountType": None if team is None else "Team",
        "Tags": json.dumps(dict(sorted(tags.items())), ensure_ascii=False),
    }  # fmt: skip
    if "ServiceProviderName" in row:
        row |= {"ServiceProviderName": seller.name, "HostProviderName": seller.name}
    if options.is_draft:
        row["PrincipalId"] = tags.get("agent")
    return row


def month_of(at_us: int) -> str:
    """The calendar month (UTC) of a moment in microseconds since 1970, such as `2026-11`."""
    return f"{EPOCH + timedelta(microseconds=at_us):%Y-%m}"


def month_around(moment: datetime) -> tuple[datetime, datetime]:
    """The first moments (UTC) of a moment's month and of the next one."""
    first = moment.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    return first, (first + timedelta(days=32)).replace(day=1)
