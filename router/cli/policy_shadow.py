"""`clearbar policy shadow`: how models in the shadow compare with what was served, and forgetting it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import click

from router.cli.state import STATE, folder_of, open_ledger
from router.cli.values import minute


@click.group()
def shadow() -> None:
    """Models in the shadow: how they compare with what was served, and forgetting it."""


@shadow.command()
@STATE
@click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output.")
def status(state: Path | None, as_json: bool) -> None:
    """List shadows: how often they said the same, at what cost and in what time, and why some were not asked."""
    from router.shadows import Shadows

    with open_ledger(folder_of(state)) as ledger:
        found = Shadows(ledger).standing()
    if as_json:
        click.echo(json.dumps({"shadows": found}))
        return
    for one in found:
        for line in _lines(one):
            click.echo(line)
    if not found:
        click.echo("no shadow has been drawn")


@shadow.command()
@click.argument("name")
@STATE
def reset(name: str, state: Path | None) -> None:
    """Forget how a shadow compared; NAME as `status` lists it. What it cost stays in the ledger."""
    from router.shadows import Shadows

    with open_ledger(folder_of(state)) as ledger:
        if not Shadows(ledger).reset(name):
            raise click.ClickException(f"no shadow is called {name!r}; `clearbar policy shadow status` lists them")
    click.echo(f"{name}: starts again")


def _lines(one: Mapping[str, Any]) -> Iterator[str]:
    since = one["since_us"]
    began = "" if since is None else f" since {minute(since)}"
    yield f"{one['name']}: {one['n']:,} requests{began}"
    if one["errors"]:
        told = ", ".join(f"{name} {n:,}" for name, n in one["errors"].items())
        yield f"  without an answer: {sum(one['errors'].values()):,} ({told})"
    if same := one["same"]:
        span = f"95 %: {same['low']:.1%} to {same['high']:.1%}"
        yield f"  the same answer: {same['share']:.1%} of {same['n']:,} ({span})"
    if one["unknown"]:
        yield f"  whether it is the same cannot be told: {one['unknown']:,}"
    cost = one["cost"]
    if cost["ratio"] is not None:
        span = "" if cost["low"] is None else f" (95 %: {cost['low']:.3g} to {cost['high']:.3g})"
        paid = f"${cost['usd']} against ${cost['served_usd']}"
        yield f"  cost: {cost['ratio']:.3g} times that of what was served{span}: {paid}"
    for name, taken in (("", one["latency_s"]), (" of what was served", one["served_latency_s"])):
        if taken is not None:
            yield f"  seconds{name}: median {taken['p50']:.3g}, 95th percentile {taken['p95']:.3g}"
    if one["missed"]:
        yield f"  drawn and not asked: {sum(one['missed'].values()):,}"
        for why, n in one["missed"].items():
            yield f"    {n:,}: {why}"
