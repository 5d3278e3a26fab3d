"""`clearbar models card`: what a model is for, what was measured, what it costs, and who uses it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from router.cli.state import STATE, folder_of, open_ledger, say_what_is_archived
from router.cli.values import Ago, on_screen
from router.types import to_json

if TYPE_CHECKING:
    from router.inventory.card import Measured, ModelCard, Usage

LAST_US = 30 * 86_400_000_000
_SAYS = {
    "use": "meant for", "not_for": "not for", "risk": "risk", "data": "data that may be sent", "docs": "documents",
}  # fmt: skip


@click.command()
@click.argument("model")
@click.option("--policy", "path", type=click.Path(path_type=Path), help="Policy file; default as for the library.")
@click.option("--last", type=Ago(), default=LAST_US, help="Of the ledger, only the last 24h, 7d, 4w; default: 30d.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output.")
@click.option("--markdown", "as_markdown", is_flag=True, help="Markdown on standard output.")
@STATE
def card(model: str, path: Path | None, last: int, as_json: bool, as_markdown: bool, state: Path | None) -> None:
    """Show the card of a model of the policy, with its evidence, its price and its use."""
    if as_json and as_markdown:
        raise click.UsageError("give one of --json and --markdown")
    from router.config import suggestion
    from router.inventory.card import card_of, usage_of
    from router.policy import find_policy, load_policy

    policy = load_policy(find_policy(path))
    if model not in policy.models:
        hint = suggestion(model, list(policy.models))
        raise click.BadParameter(f"the policy {policy.path} lists no model {model!r}{hint}", param_hint="MODEL")
    usage, folder, since_us = None, folder_of(state), time.time_ns() // 1000 - last
    if (folder / "ledger.sqlite3").is_file():  # a card is there before the first request
        with open_ledger(folder) as ledger:
            usage = usage_of(ledger, model, since_us, others=policy.models)
            say_what_is_archived(ledger, since_us, None, "latencies")
    found = card_of(policy, model, datetime.now(UTC), usage)
    if as_json:
        click.echo(to_json({**{name: getattr(found, name) for name in found.__slots__}, "days": last / 86_400_000_000}))
    elif as_markdown:
        click.echo(_markdown(found, last), nl=False)
    else:
        _show(found, last)


def _facts(found: ModelCard) -> Iterator[tuple[str, str]]:
    """Everything that is said in a line or two."""
    yield "owner", found.owner or "nobody is named"
    until = f", until {found.sunset}" if found.sunset else ""
    yield "status", f"{found.status or 'none: it may be asked'}{until}"
    if found.barred is not None:
        yield "asked now", found.barred
    yield from ((_SAYS[name], text) for name, text in found.says.items())
    for place in found.deployments:
        where = place["region"] or "no region stated"
        yield "served by", f"{place['call']} ({where}{', stays at home' if place['is_local'] else ''})"
    yield "version", found.version or "not pinned"
    context = f"{found.context:,}" if found.context else "unknown"
    yield "tokens", f"context {context}, output at most {found.max_output_tokens:,}"
    yield "capabilities", "not stated" if found.capabilities is None else ", ".join(found.capabilities) or "text alone"
    yield "price today", _price(found.price) if found.price else "unknown"
    for price in found.prices if len(found.prices) > 1 else ():
        yield "price", f"from {price['effective'] or 'the beginning'}: {_price(price)}"
    for rule in found.rules or ("no rule",):
        yield "asked by", rule


def _price(rates: object) -> str:
    assert isinstance(rates, dict)  # noqa: S101  as the card has it
    told = ", ".join(f"{name.replace('_', ' ')} {rate}" for name, rate in rates.items() if name != "effective")
    return f"{told} USD per million tokens"


_EVIDENCE = ("task", "n", "mean", "lower bound", "metric", "until", "carries", "does not carry")


def _evidence(one: Measured) -> list[str]:
    return [
        one.task, f"{one.n:,}", f"{one.mean:.3f}", f"{one.lower:.3f} at {one.confidence:g}",
        f"{one.metric} by {one.scorer}", one.expires or "for ever", "; ".join(one.carries), "; ".join(one.lacks),
    ]  # fmt: skip


_USERS = ("team", "workflow", "calls", "failed", "cost (USD)")


def _users(usage: Usage) -> list[list[str]]:
    from router.spend.csv_cells import as_text

    return [
        [one.team or "(no team)", one.workflow or "(no workflow)", f"{one.calls:,}", f"{one.failed:,}",
         as_text(one.cost_usd)]
        for one in usage.users
    ]  # fmt: skip


def _used(usage: Usage | None, last: int) -> list[str]:
    """Lines about its use."""
    if usage is None:
        return ["no ledger is here yet"]
    from router.spend.csv_cells import as_text

    lines = [
        f"last {last / 86_400_000_000:g} days: {usage.calls:,} calls for {as_text(usage.cost_usd)} USD"
        + (f" ({usage.unpriced:,} without a price)" if usage.unpriced else "")
        + f", {usage.hits:,} of its answers out of caches"
    ]
    if usage.error_rate is not None:
        lines.append(f"{usage.error_rate:.1%} of its calls failed")
    if usage.p50_s is not None and usage.p95_s is not None:
        lines.append(f"answers took {usage.p50_s:.2f} s (median), {usage.p95_s:.2f} s (95th percentile)")
    for one in usage.trials:
        state = f"rolled back: {one['why']}" if one.get("why") else "goes on"
        lines.append(f"{one['as']} {one['name']}: {_fared(one)}{state if one['as'] == 'canary' else ''}")
    return lines


def _fared(one: object) -> str:
    assert isinstance(one, dict)  # noqa: S101  as the ledger has it
    if one["as"] == "canary":
        errors, quality = one.get("errors"), one.get("quality")
        told = f"{errors['n']:,} requests, {errors['share']:.1%} without its answer; " if errors else ""
        return told + (f"{quality['n']:,} scores, mean {quality['mean']:.3f}; " if quality else "")
    same = one.get("same")
    alike = f", {same['share']:.1%} of {same['n']:,} the same ({same['low']:.1%} to {same['high']:.1%})" if same else ""
    return f"asked {one['n']:,} times{alike}"


def _show(found: ModelCard, last: int) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console()
    facts = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    before = None
    for name, text in _facts(found):
        facts.add_row(Text("" if name == before else name, style="dim"), Text(on_screen(text)))
        before = name
    console.print(Text(on_screen(f"{found.model}, in {found.policy} (version {found.policy_version})"), style="bold"))
    console.print(facts)
    if found.measured:
        evidence = Table(*_EVIDENCE, title="evidence", title_justify="left")
        for one in found.measured:
            evidence.add_row(*(Text(on_screen(cell)) for cell in _evidence(one)))
        console.print(evidence)
    else:
        console.print("evidence: none")
    for line in _used(found.usage, last):
        console.print(Text(line))
    if found.usage is not None and found.usage.users:
        users = Table(*_USERS, title="used by", title_justify="left")
        for row in _users(found.usage):
            users.add_row(*(Text(on_screen(cell)) for cell in row))
        console.print(users)


def _markdown(found: ModelCard, last: int) -> str:
    from router.cli.inventory_cells import as_markdown, markdown_cell

    parts = [f"# {markdown_cell(found.model)}\n", as_markdown(("", ""), _facts(found)), "## Evidence\n"]
    parts.append(as_markdown(_EVIDENCE, map(_evidence, found.measured)) if found.measured else "None.\n")
    parts += ["## Use\n", "".join(f"- {markdown_cell(line)}\n" for line in _used(found.usage, last))]
    if found.usage is not None and found.usage.users:
        parts.append(as_markdown(_USERS, _users(found.usage)))
    return "\n".join(parts)
