"""A run as one HTML page that needs nothing else: no server, no network, no other file.

Model answers, prompts and names are untrusted. They reach the page in two ways only: escaped by `markup`, or as
JSON in a data block that the script reads back with `JSON.parse` and writes with `textContent`. A content security
policy names the two inline blocks of ours by their hash, so anything else that tries to run, load or send is refused.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from importlib.resources import files
from pathlib import Path
from typing import Any

from evals.html import grids, tables
from evals.html.charts import frontier
from evals.html.data import Page, payload, read_page
from evals.html.markup import Markup, join, tag
from evals.store import Run, replace_file
from evals.types import EvalError

_JSON_ESCAPES = str.maketrans({character: f"\\u{ord(character):04x}" for character in "<>&\u2028\u2029"})
"""In JSON these stand in strings only, so `</script>` or `<!--` cannot leave its data block."""


def write_page(run: Run, path: str | Path) -> int:
    """Write a run's page; returns its size in bytes.

    Raises:
        EvalError: the run has no scored answer yet, or the file cannot be written.
    """
    text = render(run)
    try:
        replace_file(Path(path), text)
    except OSError as error:
        raise EvalError(f"{path}: the page cannot be written ({error.strerror}); give another --html") from error
    return len(text.encode())


def render(run: Run) -> str:
    """The whole page of a run, without any reference to another file or host.

    Raises:
        EvalError: the run is broken, or has no scored answer yet.
    """
    page = read_page(run)
    style, script = _asset("page.css"), _asset("page.js")
    filled = {
        "title": tag("title", f"{page.manifest.suite}: Clearbar eval report"),
        "policy": join(_security_policy(style, script)),
        "style": Markup(style),
        "script": Markup(script),
        "suite": join(page.manifest.suite),
        "summary": tag("p", _summary(page), class_="summary"),
        "facts": tables.facts(page),
        "decision": tables.decision(page),
        "verdicts": tables.verdicts(page),
        "frontiers": join(*_figures(page)),
        "heat": grids.heat_map(page),
        "lightest": join(f"{grids.lightest(page):.2f}"),
        "distributions": grids.distributions(page),
        "data": Markup(embed(payload(page))),
    }
    # One pass, so that text which looks like a slot stays text.
    text = re.sub(r"\{\{(\w+)\}\}", lambda slot: filled[slot[1]], _asset("page.html"))
    # JSON may carry half of a surrogate pair, which no file can hold.
    return text.encode("utf-8", "replace").decode("utf-8")


def embed(value: Any) -> str:
    r"""JSON that is safe inside a `<script type="application/json">` block, and reads back unchanged.

    >>> embed({"answer": "</script>"})
    '{"answer":"\\u003c/script\\u003e"}'
    """
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return text.translate(_JSON_ESCAPES)


def _figures(page: Page) -> list[Markup]:
    return [
        tag("figure", tag("figcaption", tag("h3", task), *_unpriced(page, task)), frontier(task, entries))
        for task, entries in page.entries.items()
    ]


def _unpriced(page: Page, task: str) -> list[Markup]:
    names = [entry.standing.candidate for entry in page.entries[task] if entry.list_usd is None]
    return [tag("p", f"Not plotted, price unknown: {', '.join(names)}", class_="note")] if names else []


def _summary(page: Page) -> str:
    with_bar = [entries for entries in page.entries.values() if entries[0].standing.bar is not None]
    if not with_bar:
        return "This suite asks for no bar: the numbers below inform, they decide nothing."
    held = sum(any(entry.standing.verdict == "held" for entry in entries) for entries in with_bar)
    open_ = sum(
        all(entry.standing.verdict != "held" for entry in entries)
        and any(entry.standing.verdict == "not enough evidence" for entry in entries)
        for entries in with_bar
    )
    said = f"{held} of {len(with_bar)} bars are held by at least one candidate."
    if open_:
        said += f" {open_} {'needs' if open_ == 1 else 'need'} more samples."
    missed = len(with_bar) - held - open_
    if missed:
        said += f" {missed} {'is' if missed == 1 else 'are'} out of reach of every candidate."
    return said


def _security_policy(style: str, script: str) -> str:
    return (
        f"default-src 'none'; style-src {_source(style)}; script-src {_source(script)}; "
        "img-src 'none'; connect-src 'none'; base-uri 'none'; form-action 'none'"
    )


def _source(block: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(block.encode()).digest()).decode()}'"


def _asset(name: str) -> str:
    return (files("evals.html") / "assets" / name).read_text(encoding="utf-8")
