"""A policy of two files whose good versions send requests to different models, and many ways to break it."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path

from router.policy import load_policy

MODELS = 50
HALF_S = 0.02
"""Between the two halves of a file that is written in place."""
TAG = {"way": "shared"}
"""Requests with it are sent by the included file's rule, others by the policy's own."""
Change = Callable[["Place"], object]


class Place:
    """The policy on disk, and where each of its good versions sends a request: without the tag, with it."""

    def __init__(self, folder: Path, base_url: str) -> None:
        self.path, self.shared, self.folder = folder / "policy.yaml", folder / "shared.yaml", folder
        self.evidence = folder / "evidence"
        self.evidence.mkdir()
        self._base_url, self.own, self.through = base_url, 0, 0
        self.known: dict[str, tuple[str, str]] = {}
        exchange(self.path, self.text())
        exchange(self.shared, self.shared_text())
        self.learn()

    def text(self) -> str:
        """The policy's own file."""
        models = "".join(
            f"  - {{id: m{i}, call: openai/m{i}, api_base: '{self._base_url}', api_key_env: BENCHMARK_KEY, "
            f"price: {{input: 1, output: 1}}}}\n"
            for i in range(MODELS)
        )
        return f"version: 1\ninclude: [shared.yaml]\nmodels:\n{models}rules:\n" + (
            f"  - {{name: own, candidates: [m{self.own}], strategy: fixed}}\n"
        )

    def shared_text(self) -> str:
        """The file that it includes."""
        return (
            "version: 1\nrules:\n  - {name: shared, when: {tags: {way: shared}}, "
            f"candidates: [m{self.through}], strategy: fixed}}\n"
        )

    def mend(self) -> None:
        """Undo whatever broke it: the last good version is on disk again."""
        for file, text in ((self.path, self.text()), (self.shared, self.shared_text())):
            if not file.is_file() or file.read_bytes() != text.encode():
                exchange(file, text)
        for stray in self.evidence.glob("*"):
            stray.unlink()
        shutil.rmtree(self.folder / "artifact", ignore_errors=True)

    def learn(self) -> None:
        """Note where the version that is on disk sends requests."""
        self.known[load_policy(self.path).version] = f"m{self.own}", f"m{self.through}"

    def good(self, number: int) -> None:
        """The next good version: one file changes, exchanged whole or written in place in two halves."""
        self.mend()
        if number % 2:
            self.own = (self.own + 1) % MODELS
        else:
            self.through = (self.through + 1) % MODELS
        file, text = (self.path, self.text()) if number % 2 else (self.shared, self.shared_text())
        (halves if number % 4 > 1 else exchange)(file, text)
        self.learn()


def exchange(file: Path, text: str) -> None:
    """In one step, as a careful deployment does."""
    fresh = file.with_name(f".{file.name}.new")
    fresh.write_text(text, encoding="utf-8")
    os.replace(fresh, file)


def halves(file: Path, text: str) -> None:
    """In place, as an editor may."""
    with file.open("w", encoding="utf-8") as target:
        target.write(text[: len(text) // 2])
        target.flush()
        time.sleep(HALF_S)
        target.write(text[len(text) // 2 :])


def bombs() -> str:
    """Aliases of aliases."""
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 12)]
    return "\n".join(lines)


BROKEN: dict[str, Change] = {
    "no YAML": lambda here: exchange(here.path, "models: ["),
    "no text": lambda here: here.path.write_bytes(b"\xff\xfe\x00" * 100),
    "empty": lambda here: exchange(here.path, ""),
    "half written": lambda here: here.path.write_text(here.text()[:-20], encoding="utf-8"),
    "an unknown key": lambda here: exchange(here.path, here.text().replace("candidates", "candiates")),
    "an unknown model": lambda here: exchange(here.path, here.text().replace(f"[m{here.own}]", "[nobody]")),
    "an environment that changes what is not there": lambda here: exchange(
        here.path, here.text() + "environments: {prod: {rules: {nobody: {bar: 0}}}}\n"
    ),
    "aliases that explode": lambda here: exchange(here.path, bombs()),
    "too large": lambda here: exchange(here.path, here.text() + "#" * 2_000_000),
    "the file is gone": lambda here: here.path.unlink(),
    "the included file is gone": lambda here: here.shared.unlink(),
    "the included file is half written": lambda here: here.shared.write_text(here.shared_text()[:-20]),
    "evidence is no JSON": lambda here: (here.evidence / "a--m1.json").write_text("{"),
    "the artifact is missing": lambda here: exchange(here.path, here.text() + "artifact: artifact\n"),
    "the artifact is another's": lambda here: _strange_artifact(here),
}


def _strange_artifact(here: Place) -> None:
    (here.folder / "artifact").mkdir(exist_ok=True)
    (here.folder / "artifact" / "artifact.json").write_text('{"format": 99}', encoding="utf-8")
    exchange(here.path, here.text() + "artifact: artifact\n")
