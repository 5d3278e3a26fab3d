"""`clearbar spend estimate`: what traffic will cost, from sample prompts, or from the ledger under another policy."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from router.cli.state import STATE, folder_of, open_ledger, say_what_is_archived
from router.cli.values import Moment
from router.types import to_json

if TYPE_CHECKING:
    from router.estimate import Estimate
    from router.spend.ratios import Ratio
    from router.types import Request

NOT_ENOUGH_EVIDENCE = 2
FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
OWN = ("prompt", "messages", "task", "output_tokens", "max_tokens")
_LEFT = (
    ("unserved", "no model may serve"), ("unpriced", "whose model has no known price"),
    ("without_length", "nobody knows how long answers are: give output_tokens in the file"),
    ("without_text", "whose text is not stored"),
)  # fmt: skip


@click.command()
@click.argument("prompts", required=False, type=FILE)
@click.option("--requests-per-day", type=click.IntRange(1), help="Volume of requests like those in PROMPTS.")
@click.option("--days", default=30, show_default=True, type=click.IntRange(1), help="Of the volume.")
@click.option("--replay", "is_replay", is_flag=True, help="Past requests of the ledger instead, under this policy.")
@click.option("--since", "since_us", type=Moment(), help="With --replay: from then on (UTC); default 30 days ago.")
@click.option("--until", "until_us", type=Moment(), help="With --replay: before then (UTC).")
@click.option("--policy", "path", type=click.Path(path_type=Path), help="Decides and prices; default as for the "
                                                                       "library.")  # fmt: skip
@STATE
@click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output.")
@click.pass_context
def estimate(
    ctx: click.Context, prompts: Path | None, requests_per_day: int | None, days: int, is_replay: bool,
    since_us: int | None, until_us: int | None, path: Path | None, state: Path | None, as_json: bool,
) -> None:  # fmt: skip
    """Estimate what PROMPTS (JSONL: prompt or messages, and task, output_tokens, max_tokens) cost at a volume.

    With --replay: what the ledger's requests would have cost under this policy. 2 where nothing could be estimated.
    """
    from router.estimate import again, from_prompts
    from router.policy import find_policy, load_policy
    from router.predict import Predictor
    from router.spend.lengths import Lengths

    if is_replay == (prompts is not None):
        raise click.UsageError("give PROMPTS or --replay, one of them")
    if prompts is not None and requests_per_day is None:
        raise click.UsageError("PROMPTS need --requests-per-day")
    policy = load_policy(find_policy(path))
    predictor = Predictor.load(policy.artifact) if policy.artifact is not None else None
    folder, now = folder_of(state), datetime.now(UTC)
    if prompts is None:
        if since_us is None:
            since_us = int((now - timedelta(days=30)).timestamp() * 1e6)
        with open_ledger(folder) as ledger:
            say_what_is_archived(ledger, since_us, until_us)
            found = again(ledger, policy, predictor, now, folder, since_us=since_us, until_us=until_us)
    else:
        samples, count = list(_samples(prompts)), (requests_per_day or 0) * days
        if (folder / "ledger.sqlite3").is_file():
            with open_ledger(folder) as ledger:
                lengths = Lengths(ledger.rows)
        else:
            lengths = Lengths(None)
        found = from_prompts(samples, policy, predictor, lengths, now, count)
    if as_json:
        click.echo(to_json(found))
    else:
        _print(found, None if prompts is None else f"{requests_per_day:,} requests a day for {days} days")
    ctx.exit(0 if found.requests else NOT_ENOUGH_EVIDENCE)


def _samples(path: Path) -> Iterator[tuple[Request, float | None]]:
    from router._request import chat_request
    from router.errors import InvalidRequestError

    for number, line in enumerate(path.read_bytes().splitlines(), start=1):
        if not line.strip():
            continue
        try:
            row: dict[str, Any] = json.loads(line)
            if unknown := sorted(set(row) - set(OWN)):
                raise ValueError(f"unknown {', '.join(unknown)}; known are {', '.join(OWN)}")
            messages = row.get("messages") or [{"role": "user", "content": row["prompt"]}]
            capped = {"max_tokens": row["max_tokens"]} if row.get("max_tokens") else {}
            expected = None if row.get("output_tokens") is None else float(row["output_tokens"])
            yield chat_request(messages, task=row.get("task"), **capped), expected
        except (ValueError, KeyError, TypeError, AttributeError, InvalidRequestError) as error:
            told = f"needs prompt or messages ({error})" if isinstance(error, KeyError) else str(error)
            raise click.BadParameter(f"{path}:{number}: {told}") from None


def _print(found: Estimate, volume: str | None) -> None:
    if found.requests:
        click.echo(f"one request: half cost at most ${found.p50_usd:.6g}, 95 of 100 at most ${found.p95_usd:.6g}; "
                   f"mean ${found.mean_usd:.6g}")  # fmt: skip
        of = volume or f"{found.requests:,} requests, of {found.drawn_from:,} in the ledger"
        click.echo(f"{of}: ${found.total.value:.6g}{_between(found.total)}")
        click.echo("asked first: " + ", ".join(f"{name} {n / found.requests:.0%}" for name, n in found.models.items()))
    if found.recorded_usd is not None and found.change is not None and found.change.value is not None:
        click.echo(f"the same requests did cost ${found.recorded_usd:.6g}: {found.change.value - 1:+.1%}"
                   f"{_between(found.change, as_change=True)}, quality not looked at: "
                   "clearbar policy value tells it where answers were scored")  # fmt: skip
    if found.sources:
        click.echo("lengths of answers: " + ", ".join(f"{name} {n:,}" for name, n in found.sources.items()))
    if found.left.climbing:
        click.echo(f"{found.left.climbing:,} go to a cascade, of which the first call alone is counted")
    if found.left.shadowed:
        click.echo(f"{found.left.shadowed:,} have a model in the shadow, whose cost is not counted")
    for name, told in _LEFT:
        if count := getattr(found.left, name):
            click.echo(f"left out: {count:,} ({told})")
    if not found.requests:
        click.echo("nothing could be estimated")


def _between(one: Ratio, *, as_change: bool = False) -> str:
    if one.low is None or one.high is None:
        return " (too few for an interval)"
    if as_change:
        return f" ({one.low - 1:+.1%} to {one.high - 1:+.1%})"
    return f" (90 % of the outcomes: ${one.low:.6g} to ${one.high:.6g})"
