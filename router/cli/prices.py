"""`clearbar prices`: what calls are billed at, what changed, and what past calls would have cost."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from router.cli.state import STATE, folder_of, open_ledger
from router.types import to_json

if TYPE_CHECKING:
    from router.policy import Policy
    from router.spend.prices import Price
    from router.spend.prices.book import Book, Entries, Find
    from router.spend.prices.rerate import PriceAt

POLICY = click.option("--policy", "policy_path", type=click.Path(path_type=Path), help="Default as for the library.")
JSON = click.option("--json", "as_json", is_flag=True, help="JSON on standard output.")
SOURCE = click.option(
    "--from", "source", type=click.Path(exists=True, dir_okay=False, path_type=Path), metavar="FILE",
    help="A price book; default: what the installed packages know (genai-prices where it is installed, litellm).",
)  # fmt: skip


@click.group()
def prices() -> None:
    """What calls are billed at: the policy's prices, else the newest price book's, else litellm's bundled map."""


@prices.command()
@POLICY
@JSON
def show(policy_path: Path | None, as_json: bool) -> None:
    """Show the price that holds today for every model of the policy, and who says so."""
    from router.spend.prices import price_on

    loaded = _policy(policy_path)
    book = _book(loaded)
    rows: list[dict[str, Any]] = []
    for name, model in loaded.models.items():
        price = price_on(loaded.prices[name], _today())
        rows.append({"model": name, "call": model.call, "source": _source(loaded, book, name, price),
                     **(_told(price) if price else {"id": None})})  # fmt: skip
    if as_json:
        click.echo(to_json(rows))
        return
    _print(
        ("model", "call", "input $/M", "output $/M", "cached $/M", "also priced", "since", "source", "price id"),
        [(row["model"], row["call"], *(_shown(row.get(rate)) for rate in ("input", "output", "cached_input")),
          ", ".join(row.get("also", ())), row.get("effective") or "", row["source"], row["id"] or "unknown")
         for row in rows],
    )  # fmt: skip


@prices.command()
@SOURCE
@POLICY
@JSON
def diff(source: Path | None, policy_path: Path | None, as_json: bool) -> None:
    """Show every rate that a source states otherwise than the router bills today. Nothing is written."""
    from router.spend.prices import price_on
    from router.spend.prices.changes import changes

    loaded, find = _policy(policy_path), _find(source)
    found = []
    for name, model in loaded.models.items():
        told = find(model.call)
        after = price_on((entry.price() for entry in told[0]), _today()) if told else None
        if after is not None:  # a source that does not know a model says nothing about it
            found += changes(model.call, price_on(loaded.prices[name], _today()), after)
    _print_changes(found, as_json)


@prices.command()
@SOURCE
@click.argument("calls", nargs=-1)
@POLICY
@JSON
def update(source: Path | None, calls: tuple[str, ...], policy_path: Path | None, as_json: bool) -> None:
    """Write a new price book for the policy's models (and CALLS) beside the policy; older books stay as they are."""
    from router.spend.prices.book import with_news, write_book
    from router.spend.prices.changes import changes

    loaded, find = _policy(policy_path), _find(source)
    now, old = datetime.now(UTC), _book(loaded)
    before: dict[str, Entries] = dict(old.entries) if old else {}
    asked = {model.call for model in loaded.models.values() if not model.price} | set(calls) | set(before)
    after = with_news(before, sorted(asked), find, now.date())
    billed = {model.call: _on(loaded.prices[name], now) for name, model in loaded.models.items() if not model.price}
    found = [
        change
        for call, entries in after.items()
        for change in changes(call, billed.get(call) or _held(before.get(call, ()), now), _held(entries, now))
    ]
    if after == before:
        click.echo(f"{loaded.price_books}: nothing new", err=True)
    else:
        path = write_book(loaded.price_books, after, str(source) if source else _packages(after, find), now)
        click.echo(f"{path}: {len(after)} models", err=True)
    if unknown := sorted(asked - after.keys()):
        click.echo(f"no price is known for {', '.join(unknown)}; state it in the policy or a price book", err=True)
    _print_changes(found, as_json)


@prices.command()
@click.option("--from", "start", required=True, metavar="DAY", help="First day (UTC), such as 2026-07-01.")
@click.option("--to", "end", metavar="DAY", help="Last day, included; default: today.")
@click.option(
    "--book", "named", metavar="FILE|DAY|installed",
    help="A price book, the book that was known at the end of a day, or the installed packages; default: the policy's "
    "prices of today's knowledge.",
)  # fmt: skip
@POLICY
@STATE
@JSON
def rerate(
    start: str, end: str | None, named: str | None, policy_path: Path | None, state: Path | None, as_json: bool
) -> None:
    """Show what the calls of a period would have cost at other prices. The ledger stays as it is."""
    from router.spend.prices.rerate import attempts_between, rerated

    first, last = _day(start, "--from"), _day(end, "--to") if end else _today()
    price_at = _price_at(named, policy_path)
    with open_ledger(folder_of(state)) as ledger:
        rows = attempts_between(ledger.rows, _us(first), _us(last + timedelta(days=1)))
        found = rerated(rows, price_at)
    if as_json:
        click.echo(to_json([{**_plain(one), "difference_usd": one.difference_usd} for one in found]))
        return
    _print(
        ("model", "calls", "compared", "billed $", "at the other prices $", "difference $", "newly priced", "unknown"),
        [(one.model, one.calls, one.compared, f"{one.billed_usd:f}", f"{one.rerated_usd:f}", f"{one.difference_usd:+f}",
          f"{one.newly_known} (${one.newly_usd:f})" if one.newly_known else "", one.unknown or "") for one in found],
    )  # fmt: skip


def _price_at(named: str | None, policy_path: Path | None) -> PriceAt:
    """The prices that a period is looked at with."""
    from router.spend.prices import price_on
    from router.spend.prices.book import book_as_of, read_book

    if named is None:
        loaded = _policy(policy_path)
        return lambda model, _, day: price_on(loaded.prices.get(model, ()), day)
    if named == "installed":
        find, kept = _find(None), {}

        def installed(_: str, call: str, day: date) -> Price | None:
            if call not in kept:
                told = find(call)
                kept[call] = tuple(entry.price() for entry in told[0]) if told else ()
            return price_on(kept[call], day)

        return installed
    if Path(named).is_file():
        book = read_book(Path(named))
    else:
        loaded, moment = _policy(policy_path), _day(named, "--book") + timedelta(days=1)
        known = book_as_of(loaded.price_books, datetime.combine(moment, datetime.min.time(), UTC))
        if known is None:
            raise click.BadParameter(
                f"{loaded.price_books} holds no book that was known on {named}", param_hint="--book"
            )
        book = known
    by_call = {call: book.prices(call) for call in book.entries}
    return lambda _, call, day: price_on(by_call.get(call, ()), day)


def _find(source: Path | None) -> Find:
    from router.spend.prices.book import read_book
    from router.spend.prices.installed import installed_prices

    if source is None:
        return installed_prices
    book = read_book(source)
    return lambda call: (book.entries[call], str(source)) if call in book.entries else None


def _policy(path: Path | None) -> Policy:
    from router.policy import find_policy, load_policy

    return load_policy(find_policy(path))


def _book(loaded: Policy) -> Book | None:
    from router.spend.prices.book import book_as_of

    return book_as_of(loaded.price_books)


def _source(loaded: Policy, book: Book | None, name: str, price: Price | None) -> str:
    model = loaded.models[name]
    if price is None:
        return "unknown"
    if model.price:
        return "policy"
    return f"book {book.path.name}" if book and book.path and model.call in book.entries else "litellm"


def _packages(entries: dict[str, Entries], find: Find) -> str:
    return ", ".join(sorted({told[1] for call in entries if (told := find(call))}))


def _held(entries: Entries, now: datetime) -> Price | None:
    return _on([entry.price() for entry in entries], now)


def _on(known: Sequence[Price], now: datetime) -> Price | None:
    from router.spend.prices import price_on

    return price_on(known, now.date())


def _told(price: Price) -> dict[str, Any]:
    also = sorted({one.tier for one in price.variants} - {"standard"})
    also += [f"above {one.above:,}" for one in price.variants if one.tier == "standard"]
    return {**price.known(), "also": also, "effective": price.effective.isoformat() if price.effective else None,
            "id": price.id}  # fmt: skip


def _print_changes(found: list[Any], as_json: bool) -> None:
    if as_json:
        click.echo(to_json([{**_plain(one), "share": one.share} for one in found]))
        return
    _print(
        ("call", "rate", "before $/M", "after $/M", "change"),
        [(one.call, one.rate, _shown(one.before), _shown(one.after),
          "" if one.share is None else f"{100 * one.share:+.1f} %") for one in found],
    )  # fmt: skip


def _plain(value: Any) -> dict[str, Any]:
    return {name: getattr(value, name) for name in value.__dataclass_fields__}


def _shown(rate: Decimal | None) -> str:
    return "unknown" if rate is None else f"{rate.normalize():f}"


def _print(names: tuple[str, ...], rows: list[tuple[Any, ...]]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(*names)
    for row in rows:
        table.add_row(*map(str, row))
    Console().print(table)


def _today() -> date:
    return datetime.now(UTC).date()


def _day(text: str, option: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise click.BadParameter(f"{text!r} is no day such as 2026-07-01", param_hint=option) from None


def _us(day: date) -> int:
    return int(datetime.combine(day, datetime.min.time(), UTC).timestamp()) * 1_000_000
