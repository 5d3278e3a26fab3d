"""A difference between two policies, and how it is told."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

Effect = Literal["loosens", "tightens"]
Told = Iterator[tuple[str, Effect | None]]
"""What changes in one thing, a sentence each, and whether that loosens or tightens a protection."""
SECTIONS = (
    "rules", "tasks", "evidence", "models", "budgets", "data", "learning", "breaker", "alerts", "tests", "other",
    "environments",
)  # fmt: skip
"""In the order in which they are told."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One thing that is not as it was."""

    section: str
    """One of `SECTIONS`."""
    about: str
    """What it is about, such as `rule 'chat'`; empty: the section as a whole."""
    text: str
    effect: Effect | None = None
    """Whether it loosens or tightens a protection: a bar, a budget, a rule for data, a limit, a test."""

    @property
    def sentence(self) -> str:
        """By itself."""
        return f"{self.about or self.section}: {self.text}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """What is not as it was, in words."""

    before: str
    after: str
    """Of which files, as they were named."""
    changes: tuple[Change, ...]

    @property
    def is_none(self) -> bool:
        """Whether both mean the same."""
        return not self.changes

    @property
    def loosening(self) -> tuple[Change, ...]:
        """What loosens a protection."""
        return tuple(change for change in self.changes if change.effect == "loosens")

    def in_sections(self) -> Iterator[tuple[str, dict[str, list[Change]]]]:
        """What does not loosen, by section and by what it is about."""
        for section in SECTIONS:
            grouped: dict[str, list[Change]] = {}
            for change in self.changes:
                if change.section == section and change.effect != "loosens":
                    grouped.setdefault(change.about, []).append(change)
            if grouped:
                yield section, grouped

    def headline(self) -> str:
        """How much it is."""
        if self.is_none:
            return "no difference in meaning"
        loosens = len(self.loosening)
        tightens = sum(change.effect == "tightens" for change in self.changes)
        told = [_count(len(self.changes), "change")]
        told += [f"{loosens} loosen{'s' if loosens == 1 else ''} a protection"] if loosens else []
        told += [f"{tightens} tighten{'s' if tightens == 1 else ''} one"] if tightens else []
        return ", ".join(told)


def with_environments(found: Difference, by_name: Mapping[str, Difference]) -> Difference:
    """A difference, and what else changes in some environments alone.

    Args:
        found: of the files as they stand.
        by_name: the same, of each environment.
    """
    everywhere = set(found.changes)
    more: dict[Change, list[str]] = {}
    for name, difference in by_name.items():
        for change in difference.changes:
            if change not in everywhere:
                more.setdefault(change, []).append(name)
    told = (
        replace(change, section="environments", about=f"in {' and '.join(names)}", text=change.sentence)
        for change, names in more.items()
    )
    return replace(found, changes=(*found.changes, *told))


def as_text(difference: Difference) -> str:
    """For a terminal, line by line; what loosens a protection stands first."""
    lines = [f"{difference.before} -> {difference.after}: {difference.headline()}"]
    if difference.loosening:
        lines += ["", "Loosens a protection", *(f"  ! {change.sentence}" for change in difference.loosening)]
    for section, grouped in difference.in_sections():
        lines += ["", section.capitalize()]
        for about, changes in grouped.items():
            texts = [f"{change.text}{_marked(change)}" for change in changes]
            if about and len(texts) > 1:
                lines += [f"  {about}:", *(f"    - {text}" for text in texts)]
            else:
                lines += [f"  {about}: {text}" if about else f"  {text}" for text in texts]
    return "\n".join(map(_printable, lines)) + "\n"


def as_markdown(difference: Difference, *, level: int = 3) -> str:
    """For a pull request's comment.

    Args:
        difference: what to tell.
        level: of the headings in it.
    """
    head = "#" * level
    lines = [
        f"{head} Policy: {difference.headline()}",
        "",
        f"`{_code(difference.before)}` → `{_code(difference.after)}`",
    ]
    if difference.loosening:
        lines += ["", f"{head}# ⚠️ Loosens a protection", ""]
        lines += [
            f"- **{_escaped(change.about or change.section)}**: {_escaped(change.text)}"
            for change in difference.loosening
        ]
    for section, grouped in difference.in_sections():
        lines += ["", f"{head}# {section.capitalize()}", ""]
        for about, changes in grouped.items():
            texts = [f"{_escaped(change.text)}{_marked(change)}" for change in changes]
            if about and len(texts) > 1:
                lines += [f"- **{_escaped(about)}**", *(f"  - {text}" for text in texts)]
            else:
                lines += [f"- **{_escaped(about)}**: {text}" if about else f"- {text}" for text in texts]
    return "\n".join(map(_printable, lines)) + "\n"


def as_json(difference: Difference) -> dict[str, Any]:
    """For programs."""
    return {
        "before": difference.before,
        "after": difference.after,
        "same": difference.is_none,
        "headline": difference.headline(),
        "loosens": len(difference.loosening),
        "changes": [asdict(change) for change in difference.changes],
    }


def _marked(change: Change) -> str:
    return f" ({change.effect})" if change.effect else ""


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _printable(line: str) -> str:
    # Names come out of files that others wrote; none may move a terminal's cursor or begin a line of its own.
    return "".join(ch if ch.isprintable() else "�" for ch in line)


def _code(text: str) -> str:
    return text.replace("`", "'")


def _escaped(text: str) -> str:
    """Text that stands for itself in Markdown, and calls nobody by name."""
    return re.sub(r"([\\`*_\[\]<>|#~])", r"\\\1", text).replace("@", "@<!-- -->")
