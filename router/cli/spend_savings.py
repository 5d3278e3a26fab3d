"""`clearbar spend savings`: what was saved against a baseline, net, never without what is known of quality."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from router.cli.state import STATE, folder_of, open_ledger, say_what_is_archived
from router.cli.values import Moment, named_values
from router.types import to_json

if TYPE_CHECKING:
    from router.net_savings import NetSavings
    from router.spend.ratios import Ratio

NOT_ENOUGH_EVIDENCE = 2


@click.command()
@click.option("--baseline", metavar="MODEL", help="Everything would have gone there; default: each request's `vs`, "
                                                  "else the candidate of the best expected quality.")  # fmt: skip
@click.option("--since", "since_us", type=Moment(), help="Requests from then on (UTC).")
@click.option("--until", "until_us", type=Moment(), help="And before (UTC).")
@click.option("--overhead", multiple=True, metavar="TAG=VALUE", help="Calls that are a cost, no traffic; besides "
                                                                     "workflow=eval and eval-judge.")  # fmt: skip
@click.option("--policy", "path", type=click.Path(path_type=Path), help="Prices the baseline; default as for the "
                                                                       "library.")  # fmt: skip
@STATE
@click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output.")
@click.pass_context
def savings(
    ctx: click.Context, baseline: str | None, since_us: int | None, until_us: int | None,
    overhead: tuple[str, ...], path: Path | None, state: Path | None, as_json: bool,
) -> None:  # fmt: skip
    """Show what routing, cascades, caches and batches saved, less overhead; 2 where nothing is known of quality."""
    from router.net_savings import OVERHEAD, net_savings
    from router.policy import find_policy, load_policy

    policy = load_policy(find_policy(path))
    if baseline is not None and baseline not in policy.models:
        known = ", ".join(policy.models)
        raise click.BadParameter(f"the policy has no model {baseline!r}; it has {known}", param_hint="--baseline")
    more = [named_values([text], "--overhead", "TAG=VALUE") for text in overhead]
    with open_ledger(folder_of(state)) as ledger:
        say_what_is_archived(ledger, since_us, until_us)
        found = net_savings(
            ledger, policy, baseline=baseline, since_us=since_us or 0, until_us=until_us,
            overhead=(*OVERHEAD, *more),
        )  # fmt: skip
    if found.quality is None:
        told = "no saving is told, because nothing is known of the quality beside it: score answers with " \
               "router.record_feedback(), or give the models evidence (clearbar eval propose)"  # fmt: skip
        click.echo(to_json({"requests": found.requests, "quality": None, "why": told}) if as_json else told)
        ctx.exit(NOT_ENOUGH_EVIDENCE)
    click.echo(to_json(found)) if as_json else _print(found)


def _print(found: NetSavings) -> None:
    models = ", ".join(f"{name} {count:,}" for name, count in found.baselines.items())
    click.echo(
        f"{found.requests:,} requests; baseline ${found.baseline_usd:.6g} ({models}), paid ${found.paid_usd:.6g}"
    )
    for name, one in found.lines.items():
        click.echo(f"  {name:15} {_money(one)}")
    for name, usd in found.overhead_usd.items():
        click.echo(f"  {'overhead':15} ${-usd:.6g}  {name}")
    share = found.share
    between = "" if share.low is None or share.high is None else f" ({share.low:.1%} to {share.high:.1%})"
    click.echo(f"  {'net':15} {_money(found.net)}")
    if share.value is not None:
        click.echo(f"saved {share.value:.1%}{between} of the baseline")
    quality = found.quality
    if quality is not None:
        note = f"; {quality.note}" if quality.note else ""
        click.echo(f"quality against the baseline {quality.delta:+.4f} ({quality.low:+.4f} to {quality.high:+.4f}), by "
                   f"{quality.source} on {quality.requests:,} requests{note}")  # fmt: skip
    if found.lines["cache"].value:
        click.echo("how often the caches' answers were wrong: clearbar cache stats")
    if found.explored or found.audited:
        click.echo(f"among what was paid: {found.explored:,} requests that explored, {found.audited:,} audited hits")
    left = found.left
    if left.unpriced or left.hits_unknown or left.failed:
        click.echo(f"left out: {left.unpriced:,} without a known price or tokens, {left.hits_unknown:,} hits whose "
                   f"call nobody knows, {left.failed:,} failed (${left.failed_usd:.6g})")  # fmt: skip


def _money(one: Ratio) -> str:
    between = "" if one.low is None or one.high is None else f"  (${one.low:.6g} to ${one.high:.6g})"
    return f"${one.value or 0.0:.6g}{between}"
