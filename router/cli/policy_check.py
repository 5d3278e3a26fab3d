"""`clearbar policy check`: what is wrong or missing in a routing table."""

from __future__ import annotations

import json
from pathlib import Path

import click

from router.cli.policy import loaded_policy
from router.cli.policy_value import NOT_ENOUGH_EVIDENCE
from router.config import shown
from router.errors import ArtifactError
from router.policy import Bar, Policy, Rule, check, load_policy
from router.policy.check import Carries

FAILED = 1
BROKEN = 3


@click.command(name="check")
@click.argument("path", required=False, type=click.Path(path_type=Path))
@click.option("--shipped", "is_shipped", is_flag=True, help="Check the policy that comes with the package.")
@click.option("--strict", is_flag=True, help="Exit with 1 where there are only warnings.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output.")
@click.pass_context
def check_command(ctx: click.Context, path: Path | None, is_shipped: bool, strict: bool, as_json: bool) -> None:
    """Check a policy file: 0 good, 1 warnings (--strict), 2 a candidate lacks evidence, 3 broken."""
    loaded = loaded_policy(path, is_shipped)
    unapproved = _unapproved(loaded)
    evidence, warnings = _found(loaded)
    if as_json:
        click.echo(json.dumps({"path": str(loaded.path), "version": loaded.version, "rules": len(loaded.rules),
                               "evidence": evidence, "warnings": warnings, "unapproved": unapproved}))  # fmt: skip
    else:
        for text in evidence:
            click.echo(f"no evidence  {text}")
        for text in warnings:
            click.echo(f"warning      {text}")
        if unapproved is not None:
            click.echo(f"not approved {loaded.document.problem(('approvals',), unapproved)}")
        state = "evidence is missing" if evidence else "it warns" if strict and warnings else "holds"
        state = state if unapproved is None else "no router serves it"
        click.echo(f"{loaded.path}: {len(loaded.rules)} rules, {len(loaded.models)} models: {state}")
    if unapproved is not None:
        ctx.exit(BROKEN)
    ctx.exit(NOT_ENOUGH_EVIDENCE if evidence else FAILED if strict and warnings else 0)


def _found(loaded: Policy) -> tuple[list[str], list[str]]:
    """Evidence that is missing, and warnings: of the policy, and what is so only in one of its environments."""
    carries, problems = _artifact(loaded)
    findings = check(loaded, carries=carries)
    evidence = [finding.text for finding in findings if finding.level == "evidence"]
    warnings = [finding.text for finding in findings if finding.level == "warning"] + problems
    # One that was chosen is the only one; else what is right as it stands may still be wrong where it serves.
    for name in loaded.environments if loaded.environment is None else ():
        other = load_policy(loaded.path, environment=name)
        there, strange = (carries, []) if other.artifact == loaded.artifact else _artifact(other)
        where = f" (in the environment {shown(name)})"
        found = check(other, carries=there)
        evidence += [one.text + where for one in found if one.level == "evidence" and one.text not in evidence]
        told = [*(one.text for one in found if one.level == "warning"), *strange]
        warnings += [text + where for text in told if text not in warnings]
    return evidence, warnings


def _unapproved(loaded: Policy) -> str | None:
    """Why the policy's bars are not approved, where it asks for that."""
    if loaded.approvals is None:
        return None
    from router.policy.signing import missing_approval

    return missing_approval(loaded)


def _artifact(loaded: Policy) -> tuple[Carries | None, list[str]]:
    """What the policy's artifact carries, and what is wrong with it."""
    if loaded.artifact is None:
        return None, []
    from router.learned import strategies_of, why_not
    from router.predict import Predictor
    from router.predict.promises import Asked

    try:
        predictor = Predictor.load(loaded.artifact)
    except ArtifactError as error:
        return None, [f"{loaded.path}: {error}"]

    def carries(rule: Rule, task: str, bar: Bar) -> str | None:
        if strange := sorted(set(predictor.models) - set(rule.candidates)):
            return f"the artifact's plan may ask {', '.join(strange)}, no candidate of the rule"
        asked = Asked.of(bar)
        return why_not(predictor, strategies_of(predictor, rule), task, asked)

    unknown = sorted(set(loaded.models) - set(predictor.models))
    return carries, [f"{loaded.path}: the artifact was trained without {', '.join(unknown)}"] if unknown else []
