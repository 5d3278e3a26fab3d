"""`clearbar eval verify`: what a verifier says of recorded answers."""

from __future__ import annotations

import json

import click


@click.command()
@click.option("--outcomes", "table", required=True, type=click.Path(dir_okay=False), help="Outcome table.")
@click.option("--verifier", "model", required=True, help="Policy id of the model that is asked.")
@click.option("--out", required=True, type=click.Path(dir_okay=False), help="Parquet, .jsonl or .csv file.")
@click.option("--policy", help="Policy that lists the verifier; default as for every command.")
@click.option("--max-cost-usd", type=str, help="Send nothing that could take the verdicts above this.")
@click.option("--yes", is_flag=True, help="Do not ask before calling the verifier.")
@click.option("--json", "as_json", is_flag=True, help="Result as JSON.")
def verify(
    table: str, model: str, out: str, policy: str | None, max_cost_usd: str | None, yes: bool, as_json: bool
) -> int:
    """Ask a cheap model whether recorded answers are right, for cascades whose rule has `verifier: MODEL`.

    Adds the columns `verified`, `verifier` and `verified_usd`; every row stays. Given its own --out as --outcomes, it
    asks only about what is missing. Exits with 2 when the cap stopped it, 3 when more than 5 % of the calls failed.
    """
    from pyarrow import Table

    from evals.cli.shared import BROKEN, TOO_LITTLE, amount, confirmed
    from evals.judges.session import calls_at_once
    from evals.rescore import write_table
    from evals.summary import MAX_FAILED
    from evals.verify import Verifying, rows_to_verify, worst_usd
    from evals.verify import verify as ask
    from router import Router
    from router.outcomes import read_outcomes

    cap = amount(max_cost_usd)
    with Router(policy) as router:
        rows, unsaid = rows_to_verify(router, model, read_outcomes(table, needs_quality=False, hides_grades=False))
        longest = max(unsaid, key=lambda row: len(row["prompt"]) + len(row["response"]), default=None)
        most = worst_usd(router, model, longest) * len(unsaid) if longest else 0
        click.echo(f"{model}: {len(unsaid):,} answers, at most ${most:.4f} at list price", err=True)
        if unsaid and not yes and not confirmed("Call the verifier now?"):
            raise click.Abort()
        for row in rows:  # the first row names the columns
            row |= {name: row.get(name) for name in ("verified", "verifier", "verified_usd")}
        write_table(Table.from_pylist(rows), out)  # a file that cannot be written is told before anything is paid
        progress = Verifying(total=len(unsaid))
        try:
            progress = ask(router, model, unsaid, at_once=calls_at_once(router, [model]), max_cost_usd=cap)
        finally:
            write_table(Table.from_pylist(rows), out)
    if as_json:
        said = {"out": out, "said": progress.said, "unread": progress.unread, "failed": progress.failed,
                "spent_usd": float(progress.spent_usd), "stopped_by_cap": progress.is_stopped_by_cap}  # fmt: skip
        click.echo(json.dumps(said))
    else:
        click.echo(
            f"{out}: {progress.said:,} verdicts, {progress.unread:,} unreadable, {progress.failed:,} failed, "
            f"${progress.spent_usd:.4f}"
        )
    if progress.failed > MAX_FAILED * max(1, progress.total):
        return BROKEN
    return TOO_LITTLE if progress.is_stopped_by_cap else 0
