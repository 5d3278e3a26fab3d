"""`clearbar policy show`: a routing table, drawn."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import click

from router.cli.policy import loaded_policy
from router.policy import Rule


@click.command()
@click.argument("path", required=False, type=click.Path(path_type=Path))
@click.option("--shipped", "is_shipped", is_flag=True, help="Show the policy that comes with the package.")
@click.option("--resolved", is_flag=True, help="As YAML, with includes, the environment (CLEARBAR_ENV) and defaults.")
def show(path: Path | None, is_shipped: bool, resolved: bool) -> None:
    """Draw the table: who goes where, at what bar and price."""
    if resolved:
        from router.policy.load import show_resolved

        click.echo(show_resolved(loaded_policy(path, is_shipped).path), nl=False)
        return
    from rich.console import Console
    from rich.table import Column, Table

    from router.policy.standing import day_shown
    from router.spend.prices import price_on

    loaded = loaded_policy(path, is_shipped)
    besides = [_besides(rule) for rule in loaded.rules]
    more = ["besides"] if any(besides) else []
    asked = ("rule", "when", "candidates", "bar", "strategy", "fallback", *more)
    rules = Table(*(Column(title, overflow="fold") for title in asked), title=str(loaded.path))
    for position, rule in enumerate(loaded.rules):
        tasks: list[str | None] = [*(rule.when.task or ())] or [None]
        bars = sorted({loaded.bar_of(rule, task).shown() for task in tasks})
        rules.add_row(
            loaded.rule_name(position), _when(rule),
            ", ".join(rule.candidates) or "nobody", ", ".join(bars) if rule.candidates else "",
            rule.strategy if rule.candidates else "", ", ".join(rule.fallback), *([besides[position]] if more else []),
        )  # fmt: skip
    has_standing = any(entry.owner or entry.status or entry.sunset for entry in loaded.models.values())
    more = ["standing", "owner"] if has_standing else []
    cells = ("model", "call", "input $/M", "output $/M", "evidence (task: lower bound, n)", *more)
    models = Table(*(Column(title, overflow="fold") for title in cells))
    for name, entry in loaded.models.items():
        price = price_on(loaded.prices[name], datetime.now(UTC).date())
        known = [f"{task}: {e.lower:.2f}, {e.n}" for (task, model), e in loaded.evidence.items() if model == name]
        shown = [f"{value.normalize():f}" for value in (price.input, price.output)] if price else ["unknown", "unknown"]
        end = f"until {day_shown(entry.sunset)}" if entry.sunset else None
        told = [", ".join(filter(None, [entry.status, end])), entry.owner or ""] if more else []
        models.add_row(name, entry.call, *shown, "\n".join(known), *told)
    console = Console()
    console.print(rules)
    console.print(models)


def _besides(rule: Rule) -> str:
    """What holds for its requests besides who is asked, one a line."""
    each = (("canary", rule.canary), ("shadow", rule.shadow))
    told = [
        rule.data.shown(),
        *(f"{kind} {one.model}: {one.share()}" for kind, one in each if one is not None),
        f"at most ${rule.max_cost_usd.normalize():f}" if rule.max_cost_usd is not None else "",
        f"at most {rule.max_latency_ms:,} ms" if rule.max_latency_ms is not None else "",
        f"cache: {rule.cache.mode}" if rule.cache.keeps else "",
    ]
    return "\n".join(filter(None, told))


def _when(rule: Rule) -> str:
    """A rule's conditions, one a line."""
    from router.policy.difference.when import dates_of

    return "\n".join([*rule.when.shown(), *dates_of(rule)]) or "always"
