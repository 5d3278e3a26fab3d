"""`clearbar policy value`: what another policy would have earned on requests that were scored."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from router.cli.state import STATE, folder_of, open_ledger
from router.types import to_json

if TYPE_CHECKING:
    from router.hindsight import Hindsight
    from router.predict.value import Estimate, Value

NOT_ENOUGH_EVIDENCE = 2


@click.command()
@click.argument("path", type=click.Path(path_type=Path))
@click.option("--artifact", type=click.Path(path_type=Path), help="Artifact to decide by, instead of the policy's.")
@STATE
@click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output.")
@click.pass_context
def value(ctx: click.Context, path: Path, artifact: Path | None, state: Path | None, as_json: bool) -> None:
    """Estimate what a policy would have earned on the ledger's scored requests: 0 done, 2 too little was seen."""
    from datetime import UTC, datetime

    from router.hindsight import look_back
    from router.policy import load_policy
    from router.predict import Predictor
    from router.predict.value import value as estimate

    folder = folder_of(state)
    policy = load_policy(path)
    if artifact is not None:
        policy = replace(policy, artifact=artifact)
    predictor = Predictor.load(policy.artifact) if policy.artifact is not None else None
    with open_ledger(folder) as ledger:
        seen = look_back(ledger, policy, predictor, datetime.now(UTC), folder)
    found = estimate(seen.records) if seen.records else None
    if as_json:
        click.echo(to_json({
            "requests": len(seen.records), "without_text": seen.without_text, "unserved": seen.unserved,
            "suffices": found is not None and found.suffices, "value": found,
        }))  # fmt: skip
    else:
        for line in _lines(path, seen, found):
            click.echo(line)
    ctx.exit(0 if found is not None and found.suffices else NOT_ENOUGH_EVIDENCE)


def _lines(path: Path, seen: Hindsight, found: Value | None) -> list[str]:
    from router.predict.value import LEAST_EFFECTIVE

    lines = [f"{path}: {len(seen.records)} scored requests"]
    if seen.without_text:
        lines.append(f"left out: {seen.without_text} whose text is not stored")
    if seen.unserved:
        lines.append(f"left out: {seen.unserved} that no model of this policy may serve")
    if found is None:
        return [*lines, "not enough: no scored request to judge by; call router.record_feedback(decision_id, score)"]
    lines.append(
        f"effective answers {found.effective_n:.0f}; never seen (extrapolated) {found.extrapolated:.0%} of the requests"
    )
    if not found.suffices:
        return [
            *lines,
            f"not enough: below {LEAST_EFFECTIVE:.0f} effective answers there is no estimate worth reading; "
            "serve with `learning: {from_feedback: true, explore: 0.05}` for a while",
        ]
    lines += [
        f"served so far         {_shown(found.recorded)}{_cost(found.recorded_cost_usd)}",
        f"this policy           {_shown(found.doubly_robust)}{_cost(found.cost_usd)}   doubly robust",
        f"difference            {_shown(found.difference, '+')}",
        f"where both overlap    {_shown(found.inverse_propensity)}   inverse propensity, no model",
    ]
    if found.extrapolated:
        lines.append(
            f"whatever the unseen {found.extrapolated:.0%} is worth: {found.worst:.3f} to {found.best:.3f}; "
            "the intervals above trust the expectations there"
        )
    return lines


def _shown(one: Estimate, sign: str = "") -> str:
    return f"{one.mean:{sign}.3f}  [{one.low:{sign}.3f}, {one.high:{sign}.3f}]"


def _cost(usd: float | None) -> str:
    return "   cost unknown" if usd is None else f"   ${usd:.6f} a request"
