"""What several eval commands share."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import click

from evals.types import CALLS_AT_ONCE, EvalError

BAR_FAILED, TOO_LITTLE, BROKEN = 1, 2, 3
"""Exit codes."""

concurrency_option = click.option(
    "--concurrency",
    type=click.IntRange(min=1),
    default=CALLS_AT_ONCE,
    show_default=True,
    help="Calls at once that a hosted provider gets at most.",
)

allow_code_option = click.option(
    "--allow-code",
    is_flag=True,
    help="Let the scorer `code` run what models write on this machine: behind a fence, not in a sandbox.",
)


@contextmanager
def allowing_code(is_allowed: bool) -> Iterator[None]:
    """Inside, suites and scorers that run code may be made; says what that means."""
    from evals.scorers.code import code_allowed

    if is_allowed:
        click.echo(
            "--allow-code: what models write runs on this machine as you, with limits on time and memory and without "
            "network and foreign files: a fence against accidents, not a sandbox against an attacker. Best in a "
            "container without secrets.",
            err=True,
        )
    with code_allowed(is_allowed):
        yield


def chosen_candidates(given: str | None, known: Any) -> list[str]:
    """The candidates of an option, or all chat models when it was not given."""
    if given is None:
        return [name for name, model in known.items() if "embedding" not in (model.capabilities or ())]
    chosen = list(dict.fromkeys(name.strip() for name in given.split(",") if name.strip()))
    if not chosen:
        raise EvalError("--candidates names no model; give ids of the policy, such as --candidates small,large")
    return chosen


def chosen_sources(given: Sequence[str]) -> dict[str, str]:
    """The files of `--source [TASK=]FILE`, by task; `""` stands for the only task of a suite."""
    sources: dict[str, str] = {}
    for one in given:
        task, equals, path = ("", "", one) if Path(one).is_file() else one.partition("=")
        if not equals:
            task, path = "", one
        if not path or task in sources:
            raise EvalError(f"--source {one!r}: give FILE, or TASK=FILE once for each task")
        sources[task] = path
    return sources


def amount(text: str | None) -> Decimal | None:
    """The dollars of --max-cost-usd; None where it was not given."""
    if text is None:
        return None
    try:
        amount = Decimal(text)
    except ArithmeticError:
        amount = Decimal("NaN")
    if not amount.is_finite() or amount < 0:
        raise EvalError(f"--max-cost-usd {text!r}: give an amount in USD, such as 0.50")
    return amount


def confirmed(question: str) -> bool:
    """Whether a person agrees to the calls.

    Raises:
        EvalError: nobody is there to ask.
    """
    if not sys.stdin.isatty():
        raise EvalError("nobody is here to confirm the calls above; add --yes")
    return click.confirm(question, err=True)
