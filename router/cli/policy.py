"""`clearbar policy`: check and show routing tables."""

from __future__ import annotations

import json
from pathlib import Path

import click

from router.cli.canary import canary
from router.cli.policy_test import test
from router.cli.value import NOT_ENOUGH_EVIDENCE, value
from router.errors import ArtifactError
from router.policy import Bar, Policy, Rule, check, find_policy, load_policy, shipped_policies
from router.policy.check import Carries


@click.group()
def policy() -> None:
    """Check and show routing tables."""


def _loaded(path: Path | None, is_shipped: bool) -> Policy:
    return load_policy(shipped_policies() / "default.yaml" if is_shipped else find_policy(path))


@policy.command(name="check")
@click.argument("path", required=False, type=click.Path(path_type=Path))
@click.option("--shipped", "is_shipped", is_flag=True, help="Check the policy that comes with the package.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output.")
@click.pass_context
def check_command(ctx: click.Context, path: Path | None, is_shipped: bool, as_json: bool) -> None:
    """Check a policy file: 0 good, 2 a candidate lacks evidence, 3 broken."""
    loaded = _loaded(path, is_shipped)
    artifact, problems = _artifact(loaded)
    findings = check(loaded, carries=artifact)
    warnings = [finding.text for finding in findings if finding.level == "warning"] + problems
    evidence = [finding.text for finding in findings if finding.level == "evidence"]
    if as_json:
        click.echo(json.dumps({"path": str(loaded.path), "version": loaded.version, "rules": len(loaded.rules),
                               "evidence": evidence, "warnings": warnings}))  # fmt: skip
    else:
        for text in evidence:
            click.echo(f"no evidence  {text}")
        for text in warnings:
            click.echo(f"warning      {text}")
        state = "evidence is missing" if evidence else "holds"
        click.echo(f"{loaded.path}: {len(loaded.rules)} rules, {len(loaded.models)} models: {state}")
    ctx.exit(NOT_ENOUGH_EVIDENCE if evidence else 0)


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


@policy.command()
@click.argument("path", required=False, type=click.Path(path_type=Path))
@click.option("--shipped", "is_shipped", is_flag=True, help="Show the policy that comes with the package.")
@click.option("--resolved", is_flag=True, help="As YAML, with includes, the environment (CLEARBAR_ENV) and defaults.")
def show(path: Path | None, is_shipped: bool, resolved: bool) -> None:
    """Draw the table: who goes where, at what bar and price."""
    if resolved:
        from router.policy.load import show_resolved

        click.echo(show_resolved(_loaded(path, is_shipped).path), nl=False)
        return
    from rich.console import Console
    from rich.table import Table

    from router.spend.prices import price_on

    loaded = _loaded(path, is_shipped)
    rules = Table("rule", "when", "candidates", "bar", "strategy", "fallback", title=str(loaded.path))
    for position, rule in enumerate(loaded.rules):
        tasks: list[str | None] = [*(rule.when.task or ())] or [None]
        bars = sorted({loaded.bar_of(rule, task).shown() for task in tasks})
        rules.add_row(
            loaded.rule_name(position), _when(rule),
            ", ".join(rule.candidates), ", ".join(bars), rule.strategy, ", ".join(rule.fallback),
        )  # fmt: skip
    models = Table("model", "call", "input $/M", "output $/M", "evidence (task: lower bound, n)")
    from datetime import UTC, datetime

    for name, entry in loaded.models.items():
        price = price_on(loaded.prices[name], datetime.now(UTC).date())
        known = [f"{task}: {e.lower:.2f}, {e.n}" for (task, model), e in loaded.evidence.items() if model == name]
        shown = [f"{value.normalize():f}" for value in (price.input, price.output)] if price else ["unknown", "unknown"]
        models.add_row(name, entry.call, *shown, "\n".join(known))
    console = Console()
    console.print(rules)
    console.print(models)


def _when(rule: Rule) -> str:
    """A rule's conditions, one a line."""
    dates = [f"from {rule.from_:%Y-%m-%d}"] if rule.from_ else []
    dates += [f"until {rule.until:%Y-%m-%d %H:%M %Z}"] if rule.until else []
    return "\n".join([*rule.when.shown(), *dates]) or "always"


policy.add_command(value)
policy.add_command(canary)
policy.add_command(test)


@policy.command()
def schema() -> None:
    """Print the JSON schema of policy files, for editors."""
    from router.policy.editors import editor_schema

    click.echo(json.dumps(editor_schema(), indent=2))


@policy.command(name="path")
def path_command() -> None:
    """Print the folder of the policies that come with the package."""
    click.echo(shipped_policies())
