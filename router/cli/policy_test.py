"""`clearbar policy test`: run the tests that a policy brings along."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from router.cli.policy import loaded_policy
from router.policy import Policy

if TYPE_CHECKING:
    from router.trial_run import Tried

FAILED = 1


@click.command()
@click.argument("path", required=False, type=click.Path(path_type=Path))
@click.option("--shipped", "is_shipped", is_flag=True, help="Test the policy that comes with the package.")
@click.option("--cover", is_flag=True, help="Also fail where a rule is met by no test.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output.")
@click.pass_context
def test(ctx: click.Context, path: Path | None, is_shipped: bool, cover: bool, as_json: bool) -> None:
    """Run a policy's own tests without calling a model: 0 all hold, 1 one fails, 3 a broken file."""
    from router.trial_run import try_policy, unmet

    loaded = loaded_policy(path, is_shipped)
    predictor = None
    if loaded.artifact is not None:
        from router.predict import Predictor

        predictor = Predictor.load(loaded.artifact)
    tried = try_policy(loaded, predictor, datetime.now(UTC))
    missing = unmet(loaded, tried)
    if as_json:
        click.echo(json.dumps(_told(loaded, tried, missing)))
    else:
        _show(loaded, tried, missing)
    ctx.exit(FAILED if any(one.misses for one in tried) or (cover and missing) else 0)


def _show(loaded: Policy, tried: list[Tried], missing: list[int]) -> None:
    for one in tried:
        if not one.misses:
            continue
        click.echo(f"{one.place}: failed: {one.name}")
        for miss in one.misses:
            click.echo(f"  {miss.shown()}")
        for line in one.decision.explain().splitlines():
            click.echo(f"    {line}")
    for position in missing:
        place = f"{loaded.rule_files[position]}:{loaded.rule_lines[position]}"
        click.echo(f"{place}: no test meets {loaded.rule_name(position)!r}")
    held, rules = sum(not one.misses for one in tried), len(loaded.rules)
    click.echo(f"{loaded.path}: {held} of {len(tried)} tests hold, {rules - len(missing)} of {rules} rules are met")


def _told(loaded: Policy, tried: list[Tried], missing: list[int]) -> dict[str, Any]:
    tests = [
        {
            "name": one.name,
            "place": one.place,
            "holds": not one.misses,
            "misses": [{"key": miss.key, "expected": miss.expected, "came": miss.came} for miss in one.misses],
            "rule": one.decision.rule,
            "plan": list(one.decision.plan),
            "candidates": [
                {"model": c.model, "is_in": c.is_in, "reason": c.reason} for c in one.decision.candidates
            ],
        }
        for one in tried
    ]  # fmt: skip
    return {
        "path": str(loaded.path),
        "version": loaded.version,
        "tests": tests,
        "rules": len(loaded.rules),
        "unmet": [loaded.rule_name(position) for position in missing],
    }
