"""The columns of FOCUS (FinOps Open Cost and Usage Specification) that a bill of calls fills, by version.

Conditional columns of what a router cannot know (regions, zones, capacity reservations) are left out, as the
specification allows. Before 1.5 the identity of a model has no columns, so it stands in `SkuPriceDetails` under keys
of our own, which the specification wants prefixed with `x_`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

Kind = Literal["text", "decimal", "time", "json", "count"]
PROFILES = ("1.2", "1.3")

CHARGE_CATEGORIES = ("Usage", "Purchase", "Tax", "Credit", "Adjustment")
CHARGE_FREQUENCIES = ("One-Time", "Recurring", "Usage-Based")
PRICING_CATEGORIES = ("Standard", "Dynamic", "Committed", "Other")
SERVICE_CATEGORIES = (
    "AI and Machine Learning", "Analytics", "Business Applications", "Compute", "Databases", "Developer Tools",
    "Identity", "Integration", "Internet of Things", "Management and Governance", "Media", "Migration", "Mobile",
    "Multicloud", "Networking", "Security", "Storage", "Web", "Other",
)  # fmt: skip
NOT_WRITTEN = (
    "AllocatedMethodDetails", "AllocatedMethodId", "AllocatedResourceId", "AllocatedResourceName", "AllocatedTags",
    "AvailabilityZone", "CapacityReservationId", "CapacityReservationStatus", "ContractApplied", "RegionId",
    "RegionName", "ResourceId", "ResourceName", "ResourceType",
)  # fmt: skip
"""Columns that FOCUS defines and a router has nothing for."""
COST_STATUSES = ("Estimated", "Reported", "Unknown")
"""Of `x_CostStatus`: by tokens we counted, by the provider's tokens, without a price."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One column."""

    name: str
    kind: Kind = "text"
    is_null_allowed: bool = True
    is_mandatory: bool = False
    """Whether every file MUST have it; conditional and recommended columns only follow their rules where they are."""
    allowed: tuple[str, ...] = ()
    since: str = "1.2"


def _needed(name: str, kind: Kind = "text", **more: Any) -> Column:
    return Column(name=name, kind=kind, is_null_allowed=False, is_mandatory=True, **more)


_ALL = (
    _needed("BilledCost", "decimal"),
    _needed("BillingAccountId"),
    Column(name="BillingAccountName", is_mandatory=True),
    Column(name="BillingAccountType"),
    _needed("BillingCurrency"),
    _needed("BillingPeriodEnd", "time"),
    _needed("BillingPeriodStart", "time"),
    _needed("ChargeCategory", allowed=CHARGE_CATEGORIES),
    Column(name="ChargeClass", is_mandatory=True, allowed=("Correction",)),
    Column(name="ChargeDescription", is_mandatory=True),
    Column(name="ChargeFrequency", is_null_allowed=False, allowed=CHARGE_FREQUENCIES),
    _needed("ChargePeriodEnd", "time"),
    _needed("ChargePeriodStart", "time"),
    Column(name="CommitmentDiscountCategory", allowed=("Spend", "Usage")),
    Column(name="CommitmentDiscountId"),
    Column(name="CommitmentDiscountName"),
    Column(name="CommitmentDiscountQuantity", kind="decimal"),
    Column(name="CommitmentDiscountStatus", allowed=("Used", "Unused")),
    Column(name="CommitmentDiscountType"),
    Column(name="CommitmentDiscountUnit"),
    Column(name="ConsumedQuantity", kind="decimal"),
    Column(name="ConsumedUnit"),
    _needed("ContractedCost", "decimal"),
    Column(name="ContractedUnitPrice", kind="decimal"),
    _needed("EffectiveCost", "decimal"),
    Column(name="InvoiceId"),
    _needed("InvoiceIssuerName"),
    _needed("ListCost", "decimal"),
    Column(name="ListUnitPrice", kind="decimal"),
    Column(name="PricingCategory", allowed=PRICING_CATEGORIES),
    Column(name="PricingCurrency"),
    Column(name="PricingCurrencyContractedUnitPrice", kind="decimal"),
    Column(name="PricingCurrencyEffectiveCost", kind="decimal", is_null_allowed=False),
    Column(name="PricingCurrencyListUnitPrice", kind="decimal"),
    Column(name="PricingQuantity", kind="decimal", is_mandatory=True),
    Column(name="PricingUnit", is_mandatory=True),
    _needed("ProviderName"),
    _needed("PublisherName"),
    _needed("ServiceCategory", allowed=SERVICE_CATEGORIES),
    _needed("ServiceName"),
    Column(name="ServiceSubcategory", is_null_allowed=False),
    Column(name="SkuId"),
    Column(name="SkuMeter"),
    Column(name="SkuPriceDetails", kind="json"),
    Column(name="SkuPriceId"),
    Column(name="SubAccountId"),
    Column(name="SubAccountName"),
    Column(name="SubAccountType"),
    Column(name="Tags", kind="json"),
    _needed("HostProviderName", since="1.3"),
    _needed("ServiceProviderName", since="1.3"),
    Column(name="x_CallCount", kind="count"),
    Column(name="x_CostStatus", allowed=COST_STATUSES),
    Column(name="x_PriceSnapshotId"),
    Column(name="x_ReasoningTokens", kind="count"),
    Column(name="x_UnpricedQuantity", kind="decimal"),
    Column(name="x_UnpricedUnit"),
    Column(name="x_WorkflowRunCount", kind="count"),
)


def columns(profile: str = "1.3") -> tuple[Column, ...]:
    """The columns of a version, FOCUS's own in alphabetical order, ours at the end.

    Raises:
        ValueError: no such profile.
    """
    if profile not in PROFILES:
        raise ValueError(f"profile {profile!r} is not known; known are {', '.join(PROFILES)}")
    held = [one for one in _ALL if one.since <= profile]
    return tuple(sorted(held, key=lambda one: (one.name.startswith("x_"), one.name)))
