"""A policy out of a git revision, `REV:PATH`, with the files that it includes and rests on.

Git is asked as it stands on this machine (`rev-parse`, `ls-tree`, `cat-file`); nothing is checked out, no filter runs,
and the files are written to a folder that the caller removes.
"""

from __future__ import annotations

import posixpath
import shutil
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from router.config import read_yaml, shown
from router.errors import ConfigurationError, PolicyError

TIMEOUT_S = 60.0
"""Reading a few files takes none of it; a partial clone that has to fetch them may."""
_FOLDERS = {"evidence": ("evidence", ".json"), "prices": ("prices", ".yaml"), "artifact": (None, "manifest.json")}
"""Folders that a policy names: their default, and the files in them that count here."""


def is_revision(given: str) -> bool:
    """Whether an argument means a file of a revision; a file that is there with this name comes first."""
    return ":" in given and not Path(given).exists()


class Revision:
    """One `REV:PATH`.

    Args:
        given: as git takes it: PATH counts from the repository's root, or from here if it begins with `./` or `../`.

    Raises:
        ConfigurationError: there is no git, no repository, or no such revision.
    """

    def __init__(self, given: str) -> None:
        self.given = given
        self.name, _, path = given.partition(":")
        if not self.name or not path or "\n" in given:
            raise ConfigurationError(f"{shown(given)}: no such file; of git it would be REV:PATH")
        self._commit = self._asked("rev-parse", "--verify", "--quiet", "--end-of-options", f"{self.name}^{{commit}}")
        if not self._commit:
            raise ConfigurationError(
                f"{given}: git knows no revision {shown(self.name)} here; fetch it (git fetch origin {self.name}), "
                "or give a file"
            )
        if path.startswith(("./", "../")):
            path = posixpath.join(self._asked("rev-parse", "--show-prefix"), path)
        self.path = posixpath.normpath(path)
        if not _is_inside(self.path):
            raise ConfigurationError(f"{given}: the path leads out of the repository; give one inside, or a file")

    def write(self, folder: Path) -> Path:
        """Write the policy and what it rests on into a folder, as they lie in the revision; the policy's path.

        Raises:
            ConfigurationError: the policy, or a file that it includes, is not in the revision.
        """
        missing = f"{self.given}: not in that revision; paths count from the root of the repository, or from here "
        self._write(folder, [self.path], f"{missing}as {self.name}:./PATH")
        values = read_yaml(folder / self.path).values
        values = values if isinstance(values, dict) else {}
        here = posixpath.dirname(self.path)
        included = _texts(values.get("include"))
        for name in included:
            inside = posixpath.normpath(posixpath.join(here, name))
            # What is missing, or lies elsewhere, is told by the policy's own reading, with its place.
            if _is_inside(inside) and self._has(inside):
                self._write(folder, [inside], "")
        for wanted, ending in _folders(values):
            inside = posixpath.normpath(posixpath.join(here, wanted))
            if _is_inside(inside):
                self._write(folder, [one for one in self._listed(inside) if one.endswith(ending)], "")
        return folder / self.path

    def in_words(self, text: str, folder: Path) -> str:
        """A text that names files of the folder, with the names that they have in the revision."""
        return text.replace(f"{folder}/", f"{self.name}:")

    def _has(self, path: str) -> bool:
        return self._run("cat-file", "-e", f"{self._commit}:{path}").returncode == 0

    def _listed(self, folder: str) -> list[str]:
        """Files of a folder, without those in folders below."""
        found = self._asked("ls-tree", "-z", "--full-tree", "--name-only", self._commit, "--", f"{folder}/")
        return [name for name in found.split("\0") if name]

    def _write(self, folder: Path, paths: list[str], missing: str) -> None:
        for path, content in self._contents(paths):
            if content is None:
                if missing:
                    raise ConfigurationError(missing)
                continue
            target = folder / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)

    def _contents(self, paths: list[str]) -> Iterator[tuple[str, bytes | None]]:
        """Each path with its file; None: not there, or no file. Links inside the revision are followed."""
        paths = [path for path in paths if "\n" not in path]
        asked = "".join(f"{self._commit}:{path}\n" for path in paths).encode()
        done = self._run("cat-file", "--batch", "--follow-symlinks", given=asked)
        if done.returncode != 0:
            raise ConfigurationError(f"{self.given}: git could not read it ({_first_line(done.stderr)})")
        told, at = done.stdout, 0
        for path in paths:
            end = told.index(b"\n", at)
            header, at = told[at:end].split(b" "), end + 1
            if header[-1] == b"missing":
                yield path, None
                continue
            size = int(header[-1])
            content, at = told[at : at + size], at + size + 1
            yield path, content if header[-2] == b"blob" else None

    def _asked(self, *arguments: str) -> str:
        done = self._run(*arguments)
        if done.returncode not in (0, 1):
            raise ConfigurationError(f"{self.given}: no such file, and git says: {_first_line(done.stderr)}")
        # A prefix may end in white space that belongs to it; only the end of git's line goes.
        return done.stdout.decode("utf-8", "surrogateescape").removesuffix("\n")

    def _run(self, *arguments: str, given: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        git = shutil.which("git")
        if git is None:
            raise ConfigurationError(f"{self.given}: no such file; for one out of a revision, git has to be installed")
        try:
            return subprocess.run(  # noqa: S603  arguments are ours, or come after what ends options
                [git, *arguments], input=given, capture_output=True, timeout=TIMEOUT_S, check=False
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise ConfigurationError(f"{self.given}: git could not be asked ({error})") from error


def _first_line(told: bytes) -> str:
    return told.decode("utf-8", "replace").strip().partition("\n")[0] or "nothing"


def _is_inside(path: str) -> bool:
    return not path.startswith("/") and path.partition("/")[0] not in ("..", ".")


def _texts(value: Any) -> list[str]:
    return [one for one in (value if isinstance(value, list) else [value]) if isinstance(one, str)]


def _folders(values: Mapping[str, Any]) -> Iterable[tuple[str, str]]:
    """The folders that a policy names, itself or in one of its environments, with the ending of their files."""
    environments = values.get("environments")
    changed = environments.values() if isinstance(environments, dict) else ()
    for key, (default, ending) in _FOLDERS.items():
        named = [one.get(key) for one in (values, *changed) if isinstance(one, dict)]
        names = dict.fromkeys([*(one for one in named if isinstance(one, str)), *([default] if default else [])])
        yield from ((name, ending) for name in names)


def told_as(error: PolicyError, revision: Revision, folder: Path) -> PolicyError:
    """An error about files of a revision, with the names that they have there."""
    return PolicyError(*(revision.in_words(line, folder) for line in error.problems))
