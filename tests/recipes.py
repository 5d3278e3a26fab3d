"""A reader of the recipes in policies/README.md: writes its files, runs its commands, and uses the app it shows."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from loopback import Provider

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "policies/README.md"
RECIPES = ROOT / "policies/recipes"


def section(name: str) -> str:
    """The part of the page that has the recipe of this name, as the list at its beginning says."""
    text = PAGE.read_text(encoding="utf-8")
    ((anchor,),) = (re.findall(rf"^\| \[{name}\]\(#([\w-]+)\)", text, flags=re.MULTILINE),)
    parts = re.split(r"^### ", text, flags=re.MULTILINE)
    (found,) = [part for part in parts if part.partition("\n")[0].lower().replace(" ", "-") == anchor]
    return found


def blocks(text: str, language: str) -> Iterator[str]:
    """The fenced blocks of one language."""
    yield from re.findall(rf"^```{language}\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)


class Reader:
    """Somebody in a fresh folder, whose hosted provider and whose server at home are loopbacks.

    Args:
        name: of the recipe.
        folder: fresh.
        hosted: what answers for the hosted provider.
        home: what answers at the address of the server at home.
    """

    def __init__(self, name: str, folder: Path, hosted: Provider, home: Provider | None = None) -> None:
        self.folder, self._home, self.said = folder, home, ""
        command = folder / "bin" / "clearbar"
        command.parent.mkdir()
        command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m router.cli "$@"\n', encoding="utf-8")
        command.chmod(0o755)
        self._environ = {
            **{name: value for name, value in os.environ.items() if name != "CLEARBAR_STATE"},
            "PATH": f"{command.parent}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": os.pathsep.join([str(folder), *sys.path]),
            "OPENAI_API_KEY": "test-key",
            "OPENAI_BASE_URL": hosted.url,
            "COLUMNS": "160",
        }
        text = section(name)
        self._commands = [block.splitlines() for block in blocks(text, "bash")]
        for language in ("yaml", "python"):
            for block in blocks(text, language):
                if named := re.match(r"# ([\w./]+\.\w+)\n", block):
                    (folder / named[1]).parent.mkdir(parents=True, exist_ok=True)
                    (folder / named[1]).write_text(block, encoding="utf-8")
        self._rules = [block for block in blocks(text, "yaml") if block.startswith("# in place of ")]

    @property
    def policy(self) -> Path:
        """Where the commands look for the policy."""
        return self.folder / "policies/default.yaml"

    def follow(self) -> str:
        """Run the next block of commands, each of which ends as the page says; returns what they said."""
        said = ""
        for line in self._commands.pop(0):
            said += self.run(line)
        return said

    def edit(self) -> None:
        """Put the page's next rule in the place of the one that it names."""
        first, _, rule = self._rules.pop(0).partition("\n")
        name = first.removeprefix("# in place of ")
        text = self.policy.read_text(encoding="utf-8")
        text, count = re.subn(rf"^  - name: {re.escape(name)}\n(    .*\n)*", rule, text, flags=re.MULTILINE)
        assert count == 1
        self.policy.write_text(text, encoding="utf-8")

    def run(self, line: str, code: int = 0) -> str:
        """Run a line of the page, which ends with this exit code or the one that its comment names."""
        told = re.search(r"# exit code (\d): ", line)
        done = subprocess.run(
            ["sh", "-c", line], cwd=self.folder, env=self._environ, capture_output=True, text=True, check=False,
            stdin=subprocess.DEVNULL,
        )  # fmt: skip
        assert done.returncode == (int(told[1]) if told else code), f"{line}\n{done.stdout}\n{done.stderr}"
        self._move_home()
        return done.stdout + done.stderr

    def _move_home(self) -> None:
        """Put the address of their own server in the place of the page's."""
        for path in self.policy.parent.glob("*.yaml") if self._home is not None else ():
            text = path.read_text(encoding="utf-8")
            path.write_text(text.replace("http://127.0.0.1:11434/v1", self._home.url), encoding="utf-8")

    def codes(self, lines: list[str], **environ: str) -> list[int]:
        """Run lines with more in the environment, whatever they end with; returns their exit codes."""
        return [
            subprocess.run(
                ["sh", "-c", line], cwd=self.folder, env={**self._environ, **environ}, check=False
            ).returncode
            for line in lines
        ]

    def use(self, code: str, **environ: str) -> str:
        """Run the app of the page; returns what it printed."""
        done = subprocess.run(
            [sys.executable, "-c", code], cwd=self.folder, env={**self._environ, **environ}, capture_output=True,
            text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout
