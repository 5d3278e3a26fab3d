"""`clearbar tokenizers`: how many tokens providers make of the same text, and when that moves."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from router.cli.state import STATE, folder_of, open_ledger
from router.types import to_json

if TYPE_CHECKING:
    from router.policy import Policy
    from router.spend.drift import Reading

FILE = "tokenizers.jsonl"
"""Readings, one a line, beside the ledger; nothing is ever changed."""
MOVED = 1
"""Exit code when a tokenizer has moved."""
POLICY = click.option("--policy", "policy_path", type=click.Path(path_type=Path), help="Default as for the library.")
JSON = click.option("--json", "as_json", is_flag=True, help="A JSON list on standard output.")


@click.group()
def tokenizers() -> None:
    """Tokens per 1,000 characters: at the same price per token, a tokenizer that makes more of them costs more."""


@tokenizers.command()
@click.option("--days", default=60, show_default=True, type=click.IntRange(min=1), help="How far back to look.")
@click.option("--recent", default=7, show_default=True, type=click.IntRange(min=1), help="Days that count as lately.")
@POLICY
@STATE
@JSON
@click.pass_context
def traffic(
    ctx: click.Context, days: int, recent: int, policy_path: Path | None, state: Path | None, as_json: bool
) -> None:
    """Compare versions, and lately with before, in the ledger's traffic: 0 nothing moved, 1 a tokenizer did."""
    from router.spend.drift import traffic_drift
    from router.spend.prices.rerate import attempts_between

    now = datetime.now(UTC)
    with open_ledger(folder_of(state)) as ledger:
        rows = attempts_between(ledger.rows, _us(now - timedelta(days=days)), _us(now) + 1)
        found = traffic_drift(rows, _us(now - timedelta(days=recent)))
    loaded = _policy(policy_path)
    told = [
        {**{name: getattr(one, name) for name in one.__dataclass_fields__}, "is_alert": one.is_alert,
         "usd_before": _usd(loaded, one.model, one.tokens_before),
         "usd_after": _usd(loaded, one.model, one.tokens_after)}
        for one in found
    ]  # fmt: skip
    if as_json:
        click.echo(to_json(told))
    else:
        _print(
            ("model", "before", "after", "tokens / 1,000 characters", "change", "standard errors", "runs",
             "$ / 1,000 characters", ""),
            [(one["model"], one["version_before"] or "-", one["version_after"] or "-",
              f"{one['tokens_before']:.0f} -> {one['tokens_after']:.0f}", f"{100 * one['change']:+.1f} %",
              f"{one['errors']:+.1f}", one["runs"], _range(one["usd_before"], one["usd_after"]),
              "MOVED" if one["is_alert"] else "") for one in told],
        )  # fmt: skip
        if not told:
            click.echo("too little traffic with provider usage and characters to compare", err=True)
    ctx.exit(MOVED if any(one["is_alert"] for one in told) else 0)


@tokenizers.command()
@click.argument("models", nargs=-1, required=True)
@POLICY
@STATE
@JSON
@click.pass_context
def read(
    ctx: click.Context, models: tuple[str, ...], policy_path: Path | None, state: Path | None, as_json: bool
) -> None:
    """Ask MODELS to read a fixed text, twelve short calls each: 0 as at the last reading, 1 a tokenizer has moved."""
    from router import Router
    from router.spend.drift import read_corpus, reading_changes

    folder = folder_of(state)
    told: list[dict[str, Any]] = []
    with Router(policy_path, state) as router:
        for model in models:
            asked = _Asked(router, model)
            reading = read_corpus(asked.count)
            before = _last(folder / FILE, model)
            moved = dict(reading_changes(before, reading)) if before else {}
            _keep(folder / FILE, model, asked.version, reading)
            told.append({"model": model, "version": asked.version, "per_1000": reading.per_1000,
                         "overall": reading.overall, "moved": moved,
                         "usd": _usd(router.policy, model, reading.overall)})  # fmt: skip
    if as_json:
        click.echo(to_json(told))
    else:
        _print(
            ("model", "overall", "$ / 1,000 characters", *told[0]["per_1000"]),
            [(one["model"], f"{one['overall']:.0f}", _range(one["usd"]),
              *(_moved(tokens, one["moved"].get(name)) for name, tokens in one["per_1000"].items())) for one in told],
        )  # fmt: skip
    ctx.exit(MOVED if any(one["moved"] for one in told) else 0)


class _Asked:
    """A model that counts tokens by being asked."""

    def __init__(self, router: Any, model: str) -> None:
        self._router, self._model = router, model
        self.version: str | None = None

    def count(self, text: str) -> int:
        done = self._router.complete(
            [{"role": "user", "content": text}], model=self._model, max_tokens=16, feature="tokenizer reading",
            cache="no-cache, no-store",
        )  # fmt: skip
        attempt = done.attempts[-1]
        self.version = attempt.model_version
        if attempt.usage is None or attempt.usage.source != "provider":
            raise click.ClickException(f"{self._model} reports no usage, so nobody knows how it counts")
        return int(attempt.usage.input_tokens)


def _last(path: Path, model: str) -> Reading | None:
    from router.spend.drift import Reading

    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    rows = [row for row in map(json.loads, lines) if row["model"] == model]
    return Reading(tokens=rows[-1]["tokens"]) if rows else None


def _keep(path: Path, model: str, version: str | None, reading: Reading) -> None:
    row = {"at": datetime.now(UTC).isoformat(), "model": model, "version": version, "tokens": dict(reading.tokens)}
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(row) + "\n")


def _policy(path: Path | None) -> Policy | None:
    from router.errors import ConfigurationError
    from router.policy import find_policy, load_policy

    try:
        return load_policy(find_policy(path))
    except ConfigurationError:
        if path is not None:
            raise
        return None  # without a policy there are no prices, but still tokens


def _usd(loaded: Policy | None, model: str, tokens: float) -> Decimal | None:
    """Effective price of 1,000 characters of input today; None: unknown."""
    from router.spend.drift import usd_per_1000_characters
    from router.spend.prices import price_on

    price = price_on(loaded.prices.get(model, ()), datetime.now(UTC).date()) if loaded else None
    return usd_per_1000_characters(tokens, price.input) if price else None


def _moved(tokens: float, share: float | None) -> str:
    return f"{tokens:.0f}" if share is None else f"{tokens:.0f} ({100 * share:+.1f} %)"


def _range(*amounts: Decimal | None) -> str:
    return "unknown" if None in amounts else " -> ".join(f"{amount:.3g}" for amount in amounts)


def _us(moment: datetime) -> int:
    return int(moment.timestamp() * 1e6)


def _print(names: tuple[str, ...], rows: list[tuple[Any, ...]]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(*names)
    for row in rows:
        table.add_row(*map(str, row))
    Console().print(table)
