"""`clearbar spend watch`, `anomalies` and `alerts`: what is not as usual, and telling it."""

from __future__ import annotations

import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from router.cli.state import STATE, folder_of, open_ledger
from router.cli.values import minute
from router.types import to_json

if TYPE_CHECKING:
    from router.policy import Policy

POLICY = click.option(
    "--policy", "path", type=click.Path(path_type=Path), help="Policy file; default as for the library."
)
JSON = click.option("--json", "as_json", is_flag=True, help="JSON on standard output.")
LEAST = click.option(
    "--least-usd", type=click.FloatRange(min=0), default=1.0, show_default=True, help="A smaller excess is not told."
)


@click.command()
@click.option("--once", is_flag=True, help="Look once and end; for cron.")
@click.option("--every", type=click.IntRange(5, 86_400), default=60, show_default=True, help="Seconds between looks.")
@LEAST
@POLICY
@STATE
def watch(once: bool, every: int, least_usd: float, path: Path | None, state: Path | None) -> None:
    """Look at the ledger, and tell the policy's `alerts` what is new and what is over.

    Several may watch the same ledger: each message is sent by one of them. A message that fails is sent again for a
    day.
    """
    from router.policy import find_policy, load_policy
    from router.spend.watch import Watch

    policy = load_policy(find_policy(path))
    if not policy.alerts:
        raise click.ClickException(f"{policy.path}: nobody is to be told; add `alerts: [{{sink: log}}]`")
    with open_ledger(folder_of(state)) as ledger:
        watcher = Watch(ledger, policy.alerts, policy.budgets.each, rates_of(policy), least_usd)
        while True:
            opened, sent, wrong = watcher.once()
            for alert in opened:
                click.echo(f"{alert.source}: {alert.text}")
            for problem in wrong:
                click.echo(f"not told, will be tried again: {problem}", err=True)
            if once:
                click.echo(f"{len(opened)} new alerts, {sent} messages sent", err=True)
                return
            time.sleep(every)


@click.command()
@LEAST
@POLICY
@STATE
@JSON
def anomalies(least_usd: float, path: Path | None, state: Path | None, as_json: bool) -> None:
    """Show what is not as usual just now, with what changed: 0 nothing, 1 something is."""
    from router.errors import ConfigurationError
    from router.policy import find_policy, load_policy
    from router.spend.anomaly_scan import scan

    try:
        rates = rates_of(load_policy(find_policy(path)))
    except ConfigurationError:
        if path is not None:
            raise
        rates = {}  # prices only sharpen what changed
    with open_ledger(folder_of(state)) as ledger:
        found = scan(ledger.rollups, time.time_ns() // 1000, rates=rates, least_usd=least_usd)
    if as_json:
        click.echo(to_json([asdict(one) for one in found]))
    else:
        for one in found:
            click.echo(one.shown())
        if not found:
            click.echo("everything is as usual", err=True)
    click.get_current_context().exit(1 if found else 0)


@click.command()
@STATE
@JSON
def alerts(state: Path | None, as_json: bool) -> None:
    """Show the alerts that are not over."""
    with open_ledger(folder_of(state)) as ledger:
        rows = ledger.alerts.open()
    if as_json:
        click.echo(to_json(rows))
        return
    for row in rows:
        click.echo(f"{minute(row['opened_us'])} {row['source']}: {row['text']}")


def rates_of(policy: Policy) -> dict[str, dict[str, float]]:
    """USD per million tokens of each model by meter, at its latest price."""
    found = {}
    for model, prices in policy.prices.items():
        if prices:
            price = prices[-1]
            found[model] = {
                "input": float(price.input), "output": float(price.output),
                "cached_input": float(price.of("cached_input")), "cache_write": float(price.of("cache_write")),
            }  # fmt: skip
    return found
