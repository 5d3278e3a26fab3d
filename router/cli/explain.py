"""`clearbar explain`: where a request would go, where a past one went, and whether it would go there again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import click

from router.cli.state import STATE, folder_of, open_ledger
from router.types import to_json

if TYPE_CHECKING:
    from router.reproduce import Reproduced

DIFFERENT = 1
CANNOT_TELL = 2


@click.command()
@click.argument("text", required=False)
@click.option(
    "--messages", type=click.File("rb"), help="Instead of TEXT: a JSON list of messages, or a request's body."
)
@click.option("--id", "past", metavar="ID", help="A past request instead of TEXT: `completion.id`.")
@click.option("--reproduce", metavar="ID", help="Decide about a past request again: 0 the same, 1 not, 2 cannot tell.")
@click.option("--task", help="Label of the kind of work.")
@click.option("--tag", "tags", multiple=True, metavar="NAME=VALUE", help="A tag, named or free-form; repeatable.")
@click.option("--model", help="Pin a model of the policy.")
@click.option("--tools", is_flag=True, help="As if it offered tools to call.")
@click.option("--at", metavar="MOMENT", help="Decide as at that day or moment: 2026-12-24T18:00+01:00.")
@click.option("--used", multiple=True, metavar="BUDGET=SHARE", help="As if so much of a budget were used: teams=85%.")
@click.option("--policy", type=click.Path(path_type=Path), help="Policy file; default as for the library.")
@STATE
@click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output.")
@click.pass_context
def explain(
    ctx: click.Context, /, text: str | None, messages: IO[bytes] | None, past: str | None, reproduce: str | None,
    policy: Path | None, state: Path | None, as_json: bool, **told: Any,
) -> None:  # fmt: skip
    """Say where TEXT would go, and why, without sending it; or explain a past request by its id."""
    if [text, messages, past, reproduce].count(None) != 3:
        raise click.UsageError("give one of TEXT, --messages FILE, --id ID, --reproduce ID")
    if text is None and messages is None and any(told.values()):
        raise click.UsageError(
            "--task, --tag, --model, --tools, --at and --used belong to TEXT; a past request has its own"
        )
    folder = folder_of(state)
    if past is not None:
        facts = _past(past, folder)
        _show(facts["decision"], facts, as_json=as_json)
    elif reproduce is not None:
        ctx.exit(_reproduced(reproduce, folder, policy, as_json=as_json))
    else:
        from router.cli.explain_way import explained

        decision, way = explained(text, messages, policy, folder, **told)
        _show({**json.loads(to_json(decision)), "way": json.loads(to_json(way))}, None, as_json=as_json)


def _show(decision: Any, past: dict[str, Any] | None, *, as_json: bool) -> None:
    if as_json:
        click.echo(to_json(past if past is not None else decision))
        return
    from router.cli.decision_tables import show

    show(decision, past)


def _past(request_id: str, folder: Path) -> dict[str, Any]:
    """A past request as the ledger has it: its end, its decision, its attempts."""
    from router.spend.money import from_pico

    with open_ledger(folder) as ledger:
        row, attempts = ledger.request(request_id), ledger.attempts(request_id)
    if row is None:
        raise click.ClickException(f"no request has the id {request_id!r} in {folder}; it is `completion.id`")
    kept = ("outcome", "error", "cache", "model_served", "latency_s")
    return {
        "id": request_id,
        **{name: row[name] for name in kept},
        "cost_usd": from_pico(row["cost_pusd"]),
        "decision": json.loads(row["decision"]) if row["decision"] else None,
        "attempts": [
            {
                **{name: one[name] for name in (
                    "number", "model", "call", "outcome", "error", "model_version", "latency_s", "input_tokens",
                    "cached_input_tokens", "output_tokens", "reasoning_tokens", "usage_source", "role",
                )},
                "cost_usd": from_pico(one["cost_pusd"]),
            }
            for one in attempts
        ],
    }  # fmt: skip


def _reproduced(request_id: str, folder: Path, policy: Path | None, *, as_json: bool) -> int:
    from router.reproduce import reproduce

    with open_ledger(folder) as ledger:
        found = reproduce(request_id, ledger, folder, policy)
    if as_json:
        click.echo(to_json(found))
    else:
        click.echo(_in_words(found))
    return CANNOT_TELL if found.is_same is None else 0 if found.is_same else DIFFERENT


def _in_words(found: Reproduced) -> str:
    head = "the same decision" if found.is_same else "another decision"
    if found.is_same is None:
        head = f"cannot tell: {found.why}"
    return "\n".join([f"{found.id}: {head}", *(f"  {one}" for one in found.differences)])
