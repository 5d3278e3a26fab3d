"""The page of a run: complete, self-contained, and deaf to what models write into it."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from dataclasses import replace
from html.parser import HTMLParser
from itertools import combinations
from pathlib import Path
from random import Random
from typing import Any

import pytest
from click.testing import CliRunner

from evals.cli import eval_group
from evals.frontier import frontier
from evals.html.charts import short_names
from evals.html.data import LONGEST_TEXT, read_page, still_missing
from evals.html.labels import LETTER, Box, place
from evals.html.page import embed, render, write_page
from evals.stats import clopper_pearson_lower
from evals.store import Manifest, Run
from evals.types import Cell, EvalError, Failed, Result, Sample, Score, Scored, Unscored, make_sample

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
HOSTILE = [
    "</script><script>document.title = 'owned'</script>",
    "<img src=x onerror=\"document.title = 'owned'\">",
    "<!-- <script> -->",
    "{{data}} {{script}}",
    "\u202eright to left \u2028 and a line",
    '"><svg onload=alert(1)><img src=http://probe.invalid/answer>',
]
SHA = "ab" * 32
PRICED = ("small", "large", "huge")


def make_run(
    folder: Path,
    *,
    tasks: tuple[str, ...] = ("sums", "words"),
    n: int = 40,
    candidates: tuple[str, ...] = ("small", "large"),
    suite: str = "demo",
    dearest: str | None = None,
    **manifest: Any,
) -> Run:
    """A run in which `small` is right half the time and all others always; every tenth answer is hostile."""
    run = Run(folder)
    folder.mkdir(parents=True, exist_ok=True)
    samples = [
        make_sample(
            task, ({"role": "user", "content": f"{task} question {number}: {HOSTILE[number % 6]}"},), str(number)
        )
        for number in range(n)
        for task in tasks
    ]
    values: dict[str, Any] = {
        "run_id": "run-1",
        "suite": suite,
        "suite_sha256": SHA,
        "candidates": candidates,
        "repeats": 1,
        "created": "2026-11-20T10:00:00+00:00",
        "scorers": dict.fromkeys(tasks, "exact"),
        "bars": {task: {"min": 0.8, "confidence": 0.95} for task in tasks},
        "prices": {
            name: {"input": str(10**place_), "output": str(2 * 10**place_)} for place_, name in enumerate(candidates)
        },
    }
    run.plan(Manifest(**{**values, **manifest}), samples)
    with run.writing():
        for number, sample in enumerate(samples):
            for candidate in candidates:
                done = answer(sample, candidate, number, is_right=candidate != "small" or number % 4 < 2)
                run.append(replace(done, list_cost_usd=0.5) if candidate == dearest else done)
    return run


def answer(sample: Sample, candidate: str, number: int, *, is_right: bool) -> Result:
    score: Score = Scored(float(is_right), f"read {number}")
    if number == 3:
        score = Failed("RateLimitedError: <b>slow down</b>")
    if number == 4:
        score = Unscored("no reference")
    text = HOSTILE[number // 10 % 6] if number % 10 == 0 else f"answer {number} of {candidate}"
    return Result(
        cell=Cell(suite_sha256=SHA, sample=sample.id, candidate=candidate),
        score=score,
        response=text,
        input_tokens=100,
        output_tokens=10,
        cost_usd=0.0 if candidate in PRICED else None,
        list_cost_usd=0.00012 * 10 ** PRICED.index(candidate) if candidate in PRICED else None,
        latency_s=0.1 + number / 100,
        model_version=f"{candidate}-v1",
    )


class Reader(HTMLParser):
    """Collects elements and checks that they nest."""

    VOID = ("meta", "input", "br", "wbr", "link", "img")

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.blocks: list[str] = []
        self.text = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data
        if self.open and self.open[-1] == "script":
            self.blocks.append(data)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return make_run(tmp_path / "run")


def test_the_page_nests_and_has_all_its_parts(run: Run) -> None:
    page = Reader(render(run))
    assert page.open == []
    identifiers = [str(attributes["id"]) for _, attributes in page.elements if "id" in attributes]
    assert len(identifiers) == len(set(identifiers))
    assert {"verdicts", "frontier", "heat", "distributions", "answers", "data"} <= set(identifiers)
    assert len([svg for svg in page.all("svg") if svg.get("class") == "frontier"]) == 2


def test_the_page_refers_to_nothing_outside_itself(run: Run) -> None:
    page = Reader(render(run))
    assert not [name for name, _ in page.elements if name in ("link", "img", "iframe", "object", "base", "embed")]
    for _, attributes in page.elements:
        assert not {"src", "srcset", "action", "style"} & set(attributes)
        assert not [name for name in attributes if name.startswith("on")]
        assert str(attributes.get("href", "#")).startswith("#")
    text = Path("evals/html/assets/page.css").read_text(encoding="utf-8") if Path("evals").is_dir() else ""
    assert "url(" not in text and "@import" not in text


def test_the_security_policy_allows_our_two_blocks_and_nothing_else(run: Run) -> None:
    import base64
    import hashlib

    text = render(run)
    policy = next(str(m["content"]) for m in Reader(text).all("meta") if m.get("http-equiv"))
    assert policy.startswith("default-src 'none'") and "unsafe" not in policy
    for name, block in (("style-src", r"<style>(.*?)</style>"), ("script-src", r"<script>(.*?)</script>\n</body>")):
        found = re.search(block, text, re.DOTALL)
        assert found
        digest = base64.b64encode(hashlib.sha256(found[1].encode()).digest()).decode()
        assert f"{name} 'sha256-{digest}'" in policy


def test_hostile_text_stays_text_wherever_it_stands(tmp_path: Path) -> None:
    evil = "<b onclick=x>&\"'</script>"
    run = make_run(tmp_path / "run", tasks=(evil,), candidates=("small", evil), suite=evil)
    page = Reader(render(run))
    assert page.open == []
    assert len(page.all("script")) == 2
    assert not [attributes for _, attributes in page.elements if "onclick" in attributes]
    data = json.loads(page.blocks[0])
    assert data["tasks"] == [evil] and data["candidates"] == ["small", evil]


def test_embedded_json_holds_nothing_that_html_could_read_and_loads_unchanged() -> None:
    value = {"texts": [*HOSTILE, "&lt;", "plain"]}
    text = embed(value)
    assert not set("<>&\u2028\u2029") & set(text)
    assert json.loads(text) == value


def test_half_a_surrogate_pair_does_not_keep_the_page_from_being_written(run: Run, tmp_path: Path) -> None:
    row = json.loads((run.directory / "cells.jsonl").read_text(encoding="utf-8").splitlines()[0])
    with (run.directory / "cells.jsonl").open("a", encoding="ascii") as file:
        file.write(json.dumps({**row, "response": "half \ud800 a pair"}) + "\n")
    size = write_page(run, tmp_path / "report.html")
    assert (tmp_path / "report.html").stat().st_size == size
    assert "half ? a pair" in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_every_answer_is_in_the_page_in_order(run: Run) -> None:
    data = json.loads(Reader(render(run)).blocks[0])
    assert len(data["samples"]) == 80
    _, task, _, messages, reference, answers = data["samples"][5]
    assert (data["tasks"][task], reference) == ("words", "2")
    assert messages[0][0] == "user"
    assert answers[1][0][:4] == [1.0, "scored", "read 5", "answer 5 of large"]
    assert data["samples"][3][5][0][0][:2] == [0.0, "failed"]
    assert data["samples"][4][5][0][0][:2] == [None, "unscored"]


def test_the_verdict_table_names_the_cheapest_candidate_that_holds(run: Run) -> None:
    page = read_page(run)
    assert [entry.standing.candidate for entry in page.entries["sums"] if entry.is_choice] == ["large"]
    text = render(run)
    assert "2 of 2 bars are held by at least one candidate." in text
    assert "cheapest that holds" in text and "even its upper bound is below the bar" in text


def test_list_cost_is_shown_also_of_answers_that_a_cache_gave_for_nothing(run: Run) -> None:
    page = read_page(run)
    assert page.billed_usd == 0
    assert page.list_usd == pytest.approx(79 * 0.00012 + 79 * 0.0012)  # the failed call has no answer to price
    assert [entry.list_usd for entry in page.entries["words"]] == pytest.approx([0.00012, 0.0012])


def test_a_candidate_without_a_price_is_named_and_not_plotted(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", candidates=("small", "mystery"), prices={"small": None, "mystery": None})
    assert "Not plotted, price unknown: mystery" in render(run) and "80 calls of unknown price" in render(run)


def test_a_dominated_candidate_is_marked(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", candidates=("large", "huge", "small"), n=60, bars={}, dearest="small")
    marks = {entry.standing.candidate: entry.dominated_by for entry in read_page(run).entries["sums"]}
    assert marks == {"large": (), "huge": (), "small": ("large", "huge")}  # `huge` is as good as `large`: not proved
    text = render(run)
    assert "dominated by large, huge" in text and "no bar to hold" in text


def test_the_page_calls_dominated_whom_the_frontier_does(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", candidates=("small", "large", "huge"), n=12)
    page, points = read_page(run), frontier(run)
    assert {
        (task, entry.standing.candidate): (entry.dominated_by, entry.list_usd, entry.latency_p95_s)
        for task, entries in page.entries.items()
        for entry in entries
    } == {
        (task, point.standing.candidate): (point.dominated_by, point.cost_usd, point.latency_p95_s)
        for task, found in points.items()
        for point in found
    }


def test_points_and_rows_carry_the_95th_percentile_of_latency(run: Run) -> None:
    # The 40 answers to `sums` took 0.10, 0.12, ... 0.88 s: 38 of them came within 0.84 s.
    assert [entry.latency_p95_s for entry in read_page(run).entries["sums"]] == pytest.approx([0.84, 0.84])
    text = render(run)
    assert "95 % within 840 ms" in text and "large, 840 ms" in text and 'data-label="p95 latency"' in text


def test_samples_still_missing_are_enough_and_not_many_more(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", tasks=("sums",), n=10, candidates=("large",))
    standing = read_page(run).entries["sums"][0].standing
    assert standing.verdict == "not enough evidence"
    missing = still_missing(standing)
    assert missing is not None
    n, rate = standing.n + missing, standing.interval.value
    assert clopper_pearson_lower(int(rate * n + 1e-9), n) >= 0.8
    assert clopper_pearson_lower(int(rate * n * 0.85), int(n * 0.85)) < 0.8
    assert f"about {missing:,} more samples would prove it at this rate" in render(run)


def test_very_long_answers_are_cut_and_say_so(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", tasks=("sums",), n=2, candidates=("large",))
    sample = run.samples()[0]
    long = Result(
        cell=Cell(suite_sha256=SHA, sample=sample.id, candidate="large"), score=Scored(1.0), response="y" * 50_000
    )
    with run.writing():
        run.append(long)
    data = json.loads(Reader(render(run)).blocks[0])
    text = data["samples"][0][5][0][0][3]
    assert len(text) < LONGEST_TEXT + 100 and "30,000 more characters" in text


def test_names_on_a_plot_do_not_overlap() -> None:
    random = Random(7)
    for count in range(2, 13):
        points = [
            (random.uniform(60, 390), random.uniform(20, 240), f"model-{number}-of-{count}") for number in range(count)
        ]
        labels = place(points, [(Box(x - 6, y - 6, x + 6, y + 6), 3.0) for x, y, _ in points], Box(0, 0, 420, 250))
        assert [label.text for label in labels] == [name for *_, name in points]
        assert all(one.box.overlap(other.box) < LETTER for one, other in combinations(labels, 2))


@pytest.mark.parametrize(
    ("names", "short"),
    [
        (["openai/a", "mistral/b"], ["a", "b"]),
        (["openai/a", "azure/a"], ["openai/a", "azure/a"]),
        (["x" * 20 + "-2025-09-30"], ["x" * 12 + "…" + "x-2025-09-30"[-11:]]),
    ],
)
def test_names_on_a_plot_are_short_but_tell_apart(names: list[str], short: list[str]) -> None:
    assert list(short_names(names).values()) == short


def test_contamination_notes_are_shown_once_for_tasks_that_share_one(tmp_path: Path) -> None:
    noted = make_run(tmp_path / "noted", contamination={"sums": "public since <2021>", "words": "public since <2021>"})
    assert render(noted).count("public since &lt;2021&gt;") == 1


def test_the_command_writes_the_page_and_keeps_its_table_and_exit_code(run: Run, tmp_path: Path) -> None:
    out = tmp_path / "report.html"
    arguments = ["report", str(run.directory), "--json"]
    plain = CliRunner().invoke(eval_group, arguments, standalone_mode=False)
    result = CliRunner().invoke(eval_group, [*arguments, "--html", str(out)], standalone_mode=False)
    assert (result.stdout, result.return_value) == (plain.stdout, plain.return_value)
    assert out.read_text(encoding="utf-8").startswith("<!doctype html>") and str(out) in result.stderr


def test_a_page_that_cannot_be_written_is_an_error_with_its_path(run: Run, tmp_path: Path) -> None:
    with pytest.raises(EvalError, match=r"absent/report\.html: the page cannot be written"):
        write_page(run, tmp_path / "absent" / "report.html")


def test_a_run_without_answers_has_no_page(tmp_path: Path) -> None:
    with pytest.raises(EvalError, match="no scored answer yet"):
        render(make_run(tmp_path / "run", n=0))


browser = pytest.mark.skipif(CHROMIUM is None, reason="needs chromium: apt-get install chromium")


def dom(page: Path, fragment: str, folder: Path) -> Reader:
    """The page's elements after its script has run in a real browser that reaches no network."""
    arguments = [
        str(CHROMIUM), "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
        "--disable-background-networking", "--disable-component-update", "--disable-sync",
        "--proxy-server=127.0.0.1:9", f"--user-data-dir={folder / 'profile'}", "--virtual-time-budget=2000",
        f"--log-net-log={folder / 'requests.json'}", "--dump-dom", f"{page.as_uri()}#{fragment}",
    ]  # fmt: skip
    done = subprocess.run(
        arguments, capture_output=True, timeout=120, check=True, env={**os.environ, "HOME": str(folder)}
    )
    return Reader(done.stdout.decode("utf-8"))


@browser
def test_in_a_browser_filters_of_the_fragment_work_and_hostile_answers_do_nothing(run: Run, tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    write_page(run, page)
    everything = dom(page, "candidate=large&show=right", tmp_path)
    assert len([b for b in everything.all("button") if b.get("class") == "row"]) == 25  # a page of them
    assert len(everything.all("script")) == 2
    assert not everything.all("img")
    # The browser's own chatter is in this log, too; what the page could have asked for is known by its host.
    assert "probe.invalid" not in (tmp_path / "requests.json").read_text(encoding="utf-8", errors="replace")

    wrong = dom(page, "task=sums&candidate=small&show=wrong&q=question", tmp_path)
    shown = [str(b["data-id"]) for b in wrong.all("button") if b.get("class") == "row"]
    page_data = read_page(run)
    expected = [
        sample.id
        for number, sample in enumerate(page_data.samples)
        if sample.task == "sums" and (number % 4 >= 2 or number == 3) and number != 4
    ]
    assert shown == expected[:25]
    assert len([b for b in wrong.all("button") if b.get("aria-current") == "true"]) == 1
    assert len([s for s in wrong.all("section") if "candidate" in str(s.get("class")).split()]) == 2


@browser
def test_the_log_of_requests_would_show_one(tmp_path: Path) -> None:
    page = tmp_path / "careless.html"
    page.write_text("<!doctype html><img src=http://probe.invalid/answer>", encoding="utf-8")
    dom(page, "", tmp_path)
    assert "probe.invalid" in (tmp_path / "requests.json").read_text(encoding="utf-8", errors="replace")


@browser
def test_in_a_browser_a_search_can_find_nothing_and_says_so(run: Run, tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    write_page(run, page)
    found = dom(page, "q=nowhere-to-be-found", tmp_path)
    assert not [b for b in found.all("button") if b.get("class") == "row"]
    assert f"0 of {len(read_page(run).samples)} samples" in found.text
