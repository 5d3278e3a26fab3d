"""The `clearbar` command: one file a noun, each loaded only when it is called.

Exit codes: 0 done or bar held, 1 bar failed, 2 not enough evidence, 3 broken input, configuration or usage,
130 interrupted.
"""

from __future__ import annotations

import io
import sys
import traceback

import click

from router._version import __version__
from router.cli.lazy import LazyGroup
from router.errors import RouterError

BROKEN = 3
INTERRUPTED = 130

COMMANDS = {
    "alarms": "router.cli.alarms:alarms",
    "anchors": "router.cli.anchors:anchors",
    "ask": "router.cli.ask:ask",
    "batch": "router.cli.batch:batch",
    "budget": "router.cli.budget:budget",
    "cache": "router.cli.cache:cache",
    "explain": "router.cli.explain:explain",
    "init": "router.cli.init:init",
    "inventory": "router.cli.inventory:inventory",
    "models": "router.cli.models:models",
    "policy": "router.cli.policy:policy",
    "prices": "router.cli.prices:prices",
    "replay": "router.cli.replay:replay",
    "spend": "router.cli.spend:spend",
    "texts": "router.cli.texts:texts",
    "tokenizers": "router.cli.tokenizers:tokenizers",
    "train": "router.cli.train:train",
}


@click.group(
    cls=LazyGroup,
    lazy=COMMANDS,
    joined_by="clearbar.commands",
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.version_option(__version__, prog_name="clearbar")
def cli() -> None:
    """Route every request to the cheapest model that clears the quality bar."""


def main() -> None:
    """Run the command; every mistake of a user ends in one clear line and an exit code, not in a traceback."""
    for stream in (sys.stdout, sys.stderr):
        # Tables hold signs that an ASCII terminal lacks; a "?" in their place is better than a traceback.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    try:
        code = cli.main(standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as help_wanted:
        click.echo(help_wanted.format_message())
        code = 0
    except click.ClickException as mistake:
        mistake.show()
        code = BROKEN
    except RouterError as error:
        click.echo(f"clearbar: {error}", err=True)
        code = BROKEN
    except (click.Abort, KeyboardInterrupt):
        click.echo("interrupted", err=True)
        code = INTERRUPTED
    except SystemExit:  # so click and rich end when the reader has gone away (`clearbar ... | head`)
        code = 0
    except OSError as error:
        click.echo(f"clearbar: {error.filename or 'input or output'}: {error.strerror or error}", err=True)
        code = BROKEN
    except Exception:  # noqa: BLE001  our own mistake: Python would end with 1, which means that a bar failed
        traceback.print_exc()
        code = BROKEN
    sys.exit(code if isinstance(code, int) else 0)
