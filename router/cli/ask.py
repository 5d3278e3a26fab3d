"""`clearbar ask`: one request from the terminal."""

from __future__ import annotations

from pathlib import Path

import click

from router import Router
from router.types import to_json


@click.command()
@click.argument("text")
@click.option("--policy", type=click.Path(path_type=Path), help="Policy file; default as for the library.")
@click.option("--task", help="Label of the kind of work.")
@click.option("--model", help="Pin a model of the policy.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output.")
@click.option("--max-cost-usd", help="Upper bound of what the answer may cost.")
def ask(
    text: str, policy: Path | None, task: str | None, model: str | None, as_json: bool, max_cost_usd: str | None
) -> None:
    """Answer TEXT and say which model did, why, and for how much."""
    with Router(policy) as router:
        done = router.complete(
            [{"role": "user", "content": text}], task=task, model=model, max_cost_usd=max_cost_usd, workflow="cli"
        )
    if as_json:
        click.echo(to_json({"answer": done.text, "model": done.model, "cost_usd": done.cost_usd,
                            "cache": done.cache, "decision": done.decision}))  # fmt: skip
        return
    click.echo(done.text)
    cost = "unknown cost" if done.cost_usd is None else f"${done.cost_usd:f}"
    click.echo(f"\n{done.model}, {cost}, {done.latency_s:.1f} s, cache {done.cache}", err=True)
    click.echo(done.decision.explain(), err=True)
