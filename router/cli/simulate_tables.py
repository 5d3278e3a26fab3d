"""How a simulation looks: in a terminal, and as a comment on a pull request."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from router.cli.inventory_cells import markdown_cell
from router.cli.values import on_screen

if TYPE_CHECKING:
    from router.simulate import Comparison, Gate, Group, Interval

MOST_ROWS = 30
"""Groups shown; all are in --json."""
_FIGURES = (("cost", "{:+.1%}"), ("quality", "{:+.4f}"), ("latency", "{:+.1%}"), ("denied", "{:+.2%}"))


def as_text(path: str, against: str, found: Comparison, gates: Sequence[Gate]) -> str:
    """For a terminal."""
    total = found.total
    lines = [
        f"{path} instead of {against}, on {total.requests:,} requests; intervals hold {found.new_requests:,} new ones "
        "like these, 95 of 100 times",
        f"other models for {total.changed:.1%} of the requests; extrapolated {total.extrapolated:.1%}",
        "",
        *_table(found),
        "",
        *(f"{gate.verdict}: {gate.name} at most {_limit(gate)} ({gate.why})" for gate in gates),
        *_told(found),
    ]
    return "\n".join(map(on_screen, lines))


def as_markdown(path: str, against: str, found: Comparison, gates: Sequence[Gate]) -> str:
    """For a pull request."""
    total = found.total
    head = f"**{_headline(total)}** over the next {found.new_requests:,} requests like these"
    lines = [
        f"### `{path}` instead of `{against}`",
        "",
        f"{head} (simulated on {total.requests:,}; intervals of 95 %; {total.changed:.1%} of them go elsewhere).",
        "",
        *_rows(found),
        "",
    ]
    if gates:
        lines += ["| gate | at most | verdict | |", "|---|---|---|---|"]
        lines += [f"| {gate.name} | {_limit(gate)} | **{gate.verdict}** | {gate.why} |" for gate in gates]
        lines.append("")
    lines.append(f"- extrapolated: {total.extrapolated:.1%} of the requests")
    lines += [f"- {markdown_cell(line)}" for line in _told(found)]
    return "\n".join(lines)


def _headline(total: Group) -> str:
    parts = [f"{name} {_shown(getattr(total, name), form)}" for name, form in _FIGURES[:2]]
    if total.latency.value is not None:
        parts.append(f"latency {_shown(total.latency, '{:+.1%}')}")
    parts.append(f"without an answer {_shown(total.after.denied, '{:.2%}')}")
    return ", ".join(parts)


def _columns(found: Comparison) -> list[tuple[str, str]]:
    return [(name, form) for name, form in _FIGURES if name != "latency" or found.total.latency.value is not None]


def _cells(found: Comparison) -> Iterator[list[str]]:
    columns = _columns(found)
    yield [
        "",
        "requests",
        "changed",
        *(f"{name}, before and after" if name != "denied" else name for name, _ in columns),
    ]
    for group in [found.total, *found.groups[:MOST_ROWS]]:
        name = " ".join(", ".join(f"{key}={value or '-'}" for key, value in group.scope.items()).split()) or "all"
        yield [name, f"{group.requests:,}", f"{group.changed:.1%}", *(_cell(group, *one) for one in columns)]


def _cell(group: Group, name: str, form: str) -> str:
    change = getattr(group, name)
    if change.value is None:
        return "unknown"
    levels = {
        "cost": (group.before.cost_usd, group.after.cost_usd, "${:.6f}"),
        "quality": (group.before.quality, group.after.quality, "{:.3f}"),
        "latency": (group.before.latency_s, group.after.latency_s, "{:.2f} s"),
        "denied": (group.before.denied.value, group.after.denied.value, "{:.2%}"),
    }
    before, after, shape = levels[name]
    told = f"{shape.format(before)} > {shape.format(after)}: " if before is not None and after is not None else ""
    missing = group.unknown.get(name)
    return told + _shown(change, form) + (f"; unknown of {missing:,}" if missing else "")


def _table(found: Comparison) -> list[str]:
    cells = list(_cells(found))
    widths = [max(len(row[place]) for row in cells) for place in range(len(cells[0]))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells]


def _rows(found: Comparison) -> list[str]:
    head, *rows = list(_cells(found))
    told = [" | ".join([markdown_cell(name), *figures]) for name, *figures in rows]
    return [f"| {' | '.join(head)} |", "|" + "---|" * len(head), *(f"| {row} |" for row in told)]


def _shown(one: Interval, form: str) -> str:
    if one.value is None:
        return "unknown"
    if one.ends is None:
        return f"{form.format(one.value)} (too few for an interval)"
    low, high = one.ends
    return (
        form.format(one.value) if low == high else f"{form.format(one.value)} [{form.format(low)}, {form.format(high)}]"
    )


def _limit(gate: Gate) -> str:
    return f"{gate.limit:g}" if gate.name == "quality drop" else f"{gate.limit:.4g}" if gate.limit == 0 else (
        f"{gate.limit * 100:g}%"
    )  # fmt: skip


def _told(found: Comparison) -> list[str]:
    told = []
    if found.effective_n is not None:
        told.append(f"quality rests on {found.effective_n:.0f} effective scored answers")
    for name, form in _FIGURES[:2]:
        one: Interval = getattr(found.total, name)
        if one.low is not None and one.high is not None and one.ends != (one.low, one.high):
            told.append(
                f"if what is extrapolated comes as expected: {name} {form.format(one.low)} to {form.format(one.high)}"
            )
    models = {when: ", ".join(f"{name} {n / found.total.requests:.0%}" for name, n in list(counts.items())[:5])
              for when, counts in found.models.items()}  # fmt: skip
    told += [f"asked before: {models['before']}", f"asked after: {models['after']}"]
    told += [f"no answer: {count:,} ({why})" for why, count in list(found.denials.items())[:5]]
    if len(found.groups) > MOST_ROWS:
        told.append(f"{len(found.groups) - MOST_ROWS:,} more groups: --json has them all")
    told += [f"left out: {count:,} ({why})" for why, count in found.left.items()]
    return [*told, *found.notes]
