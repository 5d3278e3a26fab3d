"""`clearbar cache stats|audit|explain`: what the caches did, how often they were wrong, what they would say."""

from __future__ import annotations

import json
import time
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from router.cli.cache_files import FILE
from router.cli.state import STATE, folder_of, open_ledger
from router.cli.values import named_values
from router.types import to_json

if TYPE_CHECKING:
    from router.cache.savings import Rate, Saved
    from router.cache.shelf import Judged

JSON = click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output.")


@click.command()
@STATE
@JSON
def stats(state: Path | None, as_json: bool) -> None:
    """Show by task what the caches served and saved, would have served in shadow, and hold."""
    from router.cache.savings import rates, savings

    folder = folder_of(state)
    with open_ledger(folder) as ledger:
        served = ledger.rows(
            "SELECT cache, COUNT(*) AS requests FROM requests WHERE strategy IS NOT 'shadow' "
            "GROUP BY cache ORDER BY cache"
        )
        saved = savings(ledger.rows)
    labels, holds = _shelf(folder)
    wrong = rates(labels)
    if as_json:
        requests = {row["cache"]: row["requests"] for row in served}
        click.echo(to_json({"requests": requests, "tasks": saved, "wrong": wrong, "holds": holds}))
        return
    click.echo("requests: " + (", ".join(f"{row['cache']} {row['requests']:,}" for row in served) or "none"))
    for one in saved:
        _tell(one, [rate for rate in wrong if rate.task == one.task])
    for name, count in holds.items():
        click.echo(f"holds {count:,} {name}")


def _tell(one: Saved, wrong: list[Rate]) -> None:
    n = one.requests
    click.echo(f"\ntask {one.task or 'unknown'}: {n:,} requests, exact hits {one.exact:,} ({one.exact / n:.1%}), "
               f"semantic hits {one.semantic:,} ({one.semantic / n:.1%}), audits {one.audits:,}, "
               f"refused {one.refused:,}")  # fmt: skip
    unknown = f", and what {one.unpriced:,} hits saved is not known" if one.unpriced else ""
    tokens = f"{one.saved_input_tokens:,} input and {one.saved_output_tokens:,} output tokens"
    click.echo(f"  saved {one.saved_usd:f} USD, {tokens}{unknown}; audits cost {one.audits_cost_usd:f} USD")
    if one.would:
        click.echo(f"  shadow would have served {one.would:,} and saved {one.would_save_usd:f} USD")
    if one.rejected:
        click.echo(f"  {one.rejected:,} hits were rejected")
    for rate in wrong:
        click.echo(f"  promised {rate.max_error}: {_rate(rate)}")
        hits = one.semantic or one.would
        if rate.wrong_of_hits is not None and hits:
            share = hits / n
            click.echo(f"    wrong / requests {rate.wrong_of_hits * share:.3%} "
                       f"({rate.low * share:.3%} to {rate.high * share:.3%})")  # fmt: skip


def _rate(rate: Rate) -> str:
    told = f"{rate.labels_wrong:,} of {rate.labels:,} proposals were wrong, most of them not served"
    if rate.wrong_of_hits is None:
        return f"no audit yet; {told}"
    return (
        f"wrong / hits {rate.wrong_of_hits:.2%} ({rate.low:.2%} to {rate.high:.2%} at 95 %, by "
        f"{rate.audits_wrong:,} of {rate.audits:,} audits); {told}"
    )


@click.command()
@click.option("--most", default=20, show_default=True, help="Wrong ones to list, the latest first.")
@STATE
@JSON
def audit(most: int, state: Path | None, as_json: bool) -> None:
    """List what the semantic cache got wrong: audited or rejected hits and wrong proposals, with intervals.

    No text is shown; `clearbar explain --id ID` tells more about a request.
    """
    from router.cache.savings import rates

    folder = folder_of(state)
    labels, _ = _shelf(folder)
    wrong = [label for label in reversed(labels) if label.wrong][:most]
    with open_ledger(folder) as ledger:
        listed = [_listed(label, ledger.request(label.request_id or "")) for label in wrong]
    if as_json:
        click.echo(to_json({"rates": rates(labels), "wrong": listed}))
        return
    for rate in rates(labels):
        click.echo(f"task {rate.task or 'unknown'}, promised {rate.max_error}: {_rate(rate)}")
    for one in listed:
        alike = "" if one["similarity"] is None else f", similarity {one['similarity']:.3f}"
        entry = one["entry"] or "an entry that the ledger does not name"
        click.echo(f"{one['at']} {one['kind']}: {one['request'] or 'unknown'} was offered the answer of {entry}, "
                   f"p wrong {one['p_wrong']:.4f}{alike}")  # fmt: skip


def _listed(label: Judged, row: dict[str, Any] | None) -> dict[str, Any]:
    said = (json.loads(row["decision"]).get("semantic") or {}) if row and row["decision"] else {}
    was_hit = row is not None and row["cache"] in ("exact", "semantic")
    return {
        "at": datetime.fromtimestamp(label.at_s, UTC).isoformat(timespec="seconds"),
        "kind": "rejected hit" if was_hit else "audited hit" if label.audit else "proposal, not served",
        "task": label.task,
        "max_error": label.max_error,
        "request": label.request_id,
        "entry": said.get("entry"),
        "similarity": said.get("similarity"),
        "p_wrong": label.p_wrong,
    }


@click.command()
@click.argument("text")
@click.option("--task", help="Label of the kind of work.")
@click.option("--tag", "tags", multiple=True, metavar="NAME=VALUE", help="A tag, named or free-form; repeatable.")
@click.option("--system", help="System prompt of the request.")
@click.option("--policy", type=FILE, help="Policy file; default as for the library.")
@STATE
@JSON
def explain(
    text: str, task: str | None, tags: tuple[str, ...], system: str | None, policy: Path | None, state: Path | None,
    as_json: bool,
) -> None:  # fmt: skip
    """Say what the semantic cache would do with TEXT, and why: nearest entries, vetoes, score, threshold.

    Nothing is sent or noted. Stored questions are shown where the policy has texts stored (`data: {store_text}`).
    """
    from router import Router
    from router._request import chat_request
    from router.cache.seen import see

    before = [] if system is None else [{"role": "system", "content": system}]
    request = chat_request([*before, {"role": "user", "content": text}], task=task, tags=named_values(tags, "--tag"))
    with Router(policy, state) as one:
        ruling = one._kit.decide(request)
        if one._kit.caches.alike is None or not ruling.caching.looks_alike:
            raise click.ClickException(f"{ruling.decision.rule} asks no semantic cache; it needs cache: shadow or true")
        seen = see(
            one._kit.caches.alike, request, ruling.caching, task=ruling.decision.task.task, clearing=ruling.clearing,
            shows_text=one.policy.data.store_text != "none",
        )  # fmt: skip
    if as_json:
        click.echo(to_json(seen))
        return
    click.echo(f"{seen.outcome}: {seen.reason}")
    if seen.p_wrong is not None:
        click.echo(f"p wrong {seen.p_wrong:.4f}, threshold {seen.threshold:.4f} by {seen.labels:,} labels "
                   f"(promised {ruling.caching.max_error:g}); a router that runs may stand elsewhere")  # fmt: skip
    for near in seen.nearest:
        against = f", veto {', '.join(near.vetoes)}" if near.vetoes else ""
        shown = "" if near.text is None else f"  {near.text}"
        click.echo(f"  {near.similarity:.3f} answer {near.answer}, of {near.request_id} by {near.model}, "
                   f"{(time.time() - near.created_s) / 3600:.1f} h old{against}{shown}")  # fmt: skip


def _shelf(folder: Path) -> tuple[list[Judged], dict[str, int]]:
    from router.cache.shelf import Shelf

    if not (folder / "semantic.sqlite3").is_file():
        return [], {}
    with closing(Shelf(folder / "semantic.sqlite3")) as shelf:
        return shelf.judged(), shelf.counts()
