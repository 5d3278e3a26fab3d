"""Where samples come from: Parquet, the hub's library on local files, the ledger, Python files, other sources."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from evals.cli import eval_group
from evals.cli.shared import chosen_sources
from evals.suite import Suite, load_suite
from evals.types import EvalError
from router import Router
from router.transports.fake import FakeTransport

ROWS = [{"prompt": f"question {i}", "reference": f"answer {i}", "page": i // 5} for i in range(40)]


def suite_of(folder: Path, task: str, name: str = "suite.yaml") -> Suite:
    path = folder / name
    path.write_text(f"version: 1\nname: s\ntasks:\n  t: {{scorer: exact, {task}}}\n", encoding="utf-8")
    return load_suite(path)


def parquet(folder: Path, rows: list[dict[str, Any]] = ROWS) -> Path:
    import pyarrow as pa
    from pyarrow import parquet

    parquet.write_table(pa.Table.from_pylist(rows), folder / "rows.parquet")
    return folder / "rows.parquet"


def test_parquet_is_a_source_with_clusters(tmp_path: Path) -> None:
    parquet(tmp_path)
    suite = suite_of(tmp_path, "source: rows.parquet, cluster: page")
    assert len(suite.samples()) == 40
    assert Counter(sample.metadata["cluster"] for sample in suite.samples()) == {str(page): 5 for page in range(8)}
    (tmp_path / "bad.parquet").write_bytes(b"no parquet")
    with pytest.raises(EvalError, match=r"bad\.parquet: not Parquet"):
        suite_of(tmp_path, "source: bad.parquet")


def test_splits_and_limits_choose_samples(tmp_path: Path) -> None:
    parquet(tmp_path)
    by_split = {
        split: {sample.id for sample in suite_of(tmp_path, f"source: rows.parquet, split: {split}").samples()}
        for split in ("train", "test", "all")
    }
    assert by_split["train"] | by_split["test"] == by_split["all"]
    assert not by_split["train"] & by_split["test"]
    few, more = (
        {sample.id for sample in suite_of(tmp_path, f"source: rows.parquet, limit: {n}").samples()} for n in (5, 9)
    )
    assert len(few) == 5 and few < more < by_split["all"]
    with pytest.raises(EvalError, match=r"suite\.yaml:4:.*no sample of task 't' falls into split"):
        (tmp_path / "one.jsonl").write_text('{"prompt": "a", "reference": "b"}\n', encoding="utf-8")
        for split in ("train", "test"):
            suite_of(tmp_path, f"source: one.jsonl, split: {split}")


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    datasets = pytest.importorskip("datasets", reason="pip install 'clearbar[evals]'")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    datasets.disable_progress_bars()
    return tmp_path


def test_local_files_go_through_the_hubs_own_call(hub: Path) -> None:
    parquet(hub)
    suite = suite_of(hub, "hub: {path: parquet, data_files: rows.parquet}")
    assert {sample.reference for sample in suite.samples()} == {row["reference"] for row in ROWS}
    assert {sample.metadata["source"] for sample in suite.samples()} == {f"parquet[train]:{i}" for i in range(1, 41)}


def test_numbers_that_stand_for_labels_become_names(hub: Path) -> None:
    import datasets

    features = datasets.Features({"text": datasets.Value("string"), "label": datasets.ClassLabel(names=["no", "yes"])})
    given = datasets.Dataset.from_dict({"text": ["a", "b"], "label": [1, 0]}, features=features)
    given.to_parquet(hub / "labels.parquet")
    task = "hub: {path: parquet, data_files: [labels.parquet]}, adapter: classification, prompt: '{text}'"
    assert {sample.prompt: sample.reference for sample in suite_of(hub, task).samples()} == {"a": "yes", "b": "no"}


def test_a_hub_out_of_reach_is_one_sentence_with_a_remedy(hub: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets

    def unreachable(*_: object, **__: object) -> None:
        raise ConnectionError("Couldn't reach 'openai/gsm8k' on the Hub\nand more")

    monkeypatch.setattr(datasets, "load_dataset", unreachable)
    with pytest.raises(EvalError, match=r"^hub openai/gsm8k: Couldn't reach .* --source FILE$") as caught:
        load_suite("gsm8k")
    assert "\n" not in str(caught.value)


def test_a_missing_extra_says_what_to_install(tmp_path: Path) -> None:
    code = (
        "import sys; sys.modules['datasets'] = None\n"
        "from evals.suite import load_suite\n"
        "try: load_suite('gsm8k')\n"
        "except Exception as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert "pip install 'clearbar[evals]'" in done.stdout, done.stderr


def test_a_missing_local_file_is_told_before_the_library_is_loaded(tmp_path: Path) -> None:
    with pytest.raises(EvalError, match=r"none\.parquet: no such file"):
        suite_of(tmp_path, "hub: {path: parquet, data_files: none.parquet}")


KEY = "sk-abcdef1234567890abcdef"
LEDGER = "ledger: {state: state, tasks: [mail, chat], per_task: 10}, subtask: task"


def service(folder: Path, store_text: str = "redacted", default: Any = "sent to +44 20 7946 0958") -> Router:
    (folder / "policy.yaml").write_text(
        f"version: 1\nmodels: [{{id: m, call: fake/m, price: {{input: 1, output: 1}}}}]\n"
        f"data: {{store_text: {store_text}}}\nrules: [{{candidates: [m], strategy: fixed}}]\n",
        encoding="utf-8",
    )
    return Router(folder / "policy.yaml", folder / "state", FakeTransport(default=default))


def ask(router: Router, text: str, task: str, **options: Any) -> None:
    router.complete([{"role": "user", "content": text}], task=task, **options)


def serve(router: Router, count: int = 60) -> None:
    for number in range(count):
        text = f"{number}: write to ada{number}@example.org with {KEY}"
        ask(router, text, "mail" if number % 3 else "chat")


def test_what_people_asked_becomes_stratified_capped_redacted_samples(tmp_path: Path) -> None:
    with service(tmp_path) as router:
        serve(router)
        suite = suite_of(tmp_path, LEDGER)  # while the service runs
    assert Counter(sample.subtask for sample in suite.samples()) == {"mail": 10, "chat": 10}
    assert all(sample.prompt.endswith(": write to [email] with [key]") for sample in suite.samples())
    assert {sample.reference for sample in suite.samples()} == {"sent to [number]"}
    assert suite_of(tmp_path, LEDGER).sha256 == suite.sha256
    assert suite_of(tmp_path, "seed: 1, " + LEDGER).sha256 != suite.sha256
    with pytest.raises(EvalError, match=r"no answered request with text of task t; .*store_text: redacted"):
        suite_of(tmp_path, "ledger: {state: state}")


def test_a_plan_can_be_made_for_what_people_asked(tmp_path: Path) -> None:
    with service(tmp_path) as router:
        serve(router)
    (tmp_path / "suite.yaml").write_text(
        f"version: 1\nname: s\ntasks:\n  t: {{scorer: token_f1, bar: 0.8, {LEDGER}}}\n", encoding="utf-8"
    )
    command = ["plan", str(tmp_path / "suite.yaml"), "--policy", str(tmp_path / "policy.yaml"), "--json"]
    done = CliRunner().invoke(eval_group, command, standalone_mode=False)
    assert done.exception is None and done.return_value == 0
    assert json.loads(done.stdout)["calls"] == 20


def test_text_kept_in_full_is_redacted_as_the_suite_says(tmp_path: Path) -> None:
    with service(tmp_path, "full") as router:
        serve(router)
    assert all("[email]" in sample.prompt for sample in suite_of(tmp_path, LEDGER).samples())
    (tmp_path / "own.py").write_text("def hide(text):\n    return text.replace('ada', 'xxx')\n", encoding="utf-8")
    for redact, told in (("own.py:hide", "xxx"), ("none", "ada")):
        suite = suite_of(tmp_path, LEDGER.replace("per_task: 10", f"per_task: 10, redact: '{redact}'"))
        assert all(f"write to {told}" in sample.prompt and KEY in sample.prompt for sample in suite.samples())


def test_the_same_question_counts_once_and_what_evals_ask_not_at_all(tmp_path: Path) -> None:
    with service(tmp_path) as router:
        for number in range(40):
            ask(router, f"question {number % 4}", "mail")
            ask(router, f"sample {number}", "mail", workflow="eval")
        ask(router, "other question", "mail", workflow="support")
    prompts = sorted(sample.prompt for sample in suite_of(tmp_path, LEDGER).samples())
    assert prompts == ["other question", *(f"question {number}" for number in range(4))]


def test_a_ledger_without_text_says_which_key_to_set(tmp_path: Path) -> None:
    with service(tmp_path, "none") as router:
        ask(router, "secret", "t")
        with pytest.raises(EvalError, match=r"holds no text .*`data: {store_text: redacted, .* as `source:`"):
            suite_of(tmp_path, "ledger: {state: state}")
    with pytest.raises(EvalError, match="no ledger there"):
        suite_of(tmp_path, "ledger: {state: elsewhere}")
    (tmp_path / "state" / "texts.sqlite3").write_bytes(b"no database" * 100)
    with pytest.raises(EvalError, match="cannot be read as a ledger with text"):
        suite_of(tmp_path, "ledger: {state: state}")


PYTHON = """\
def suite():
    return {
        "version": 1,
        "name": "squares",
        "tasks": {"squares": {"scorer": {"name": "numeric", "tolerance": 1}, "params": {"max_tokens": 8}, "bar": 0.9}},
    }


def samples():
    for n in range(5):
        yield {"prompt": f"{n} squared?", "reference": n * n}
"""


def test_a_python_suite_is_loaded_by_path(tmp_path: Path) -> None:
    path = tmp_path / "squares.py"
    path.write_text(PYTHON, encoding="utf-8")
    suite = load_suite(path)
    assert (suite.name, suite.params("squares")) == ("squares", {"max_tokens": 8})
    assert {sample.prompt: sample.reference for sample in suite.samples()}["4 squared?"] == "16"
    assert suite.tasks["squares"].bar is not None and suite.tasks["squares"].bar.min == 0.9
    assert load_suite(path).sha256 == suite.sha256
    assert not list(tmp_path.rglob("__pycache__"))


def test_samples_alone_are_scored_by_exact(tmp_path: Path) -> None:
    path = tmp_path / "words.py"
    path.write_text(
        'def samples():\n    return [{"task": t, "prompt": t, "reference": t} for t in ("a", "b")]\n', encoding="utf-8"
    )
    assert {sample.task: sample.reference for sample in load_suite(path).samples()} == {"a": "a", "b": "b"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("def suite():", "def suite(:"), r"squares\.py:1: not valid Python"),
        (('"version": 1,', '"version": 1 / 0,'), r"squares\.py:3: suite\(\) raised ZeroDivisionError"),
        (("for n in range(5)", "for n in rage(5)"), r"squares\.py:10: samples\(\) raised NameError"),
        (('yield {"prompt": f"{n} squared?", "reference": n * n}', "yield n"), r"squares\.py:9: samples\(\) gave int"),
        (('"bar": 0.9', '"bar": 9'), r"squares\.py:1:1: .*9"),
        (('"reference": n * n', '"answer": n'), r"squares\.py:9 row 1: has no column 'reference'"),
        (("def samples():", "def sample():"), r"either `source: FILE`"),
        (("    return {", "    return 3\n    {"), r"squares\.py:1: suite\(\) gave int"),
    ],
)
def test_a_mistake_in_a_python_suite_is_told_with_its_line(
    tmp_path: Path, change: tuple[str, str], message: str
) -> None:
    assert change[0] in PYTHON
    path = tmp_path / "squares.py"
    path.write_text(PYTHON.replace(*change), encoding="utf-8")
    with pytest.raises(EvalError, match=message):
        load_suite(path)


def test_a_file_that_defines_nothing_is_no_suite(tmp_path: Path) -> None:
    (tmp_path / "empty.py").write_text("x = 1\n", encoding="utf-8")
    with pytest.raises(EvalError, match="neither `suite"):
        load_suite(tmp_path / "empty.py")


def test_other_sources_are_named_by_task(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text("", encoding="utf-8")
    assert chosen_sources([str(tmp_path / "a.jsonl")]) == {"": str(tmp_path / "a.jsonl")}
    assert chosen_sources(["t=a.jsonl", "u=b.jsonl"]) == {"t": "a.jsonl", "u": "b.jsonl"}
    with pytest.raises(EvalError, match="once for each task"):
        chosen_sources(["t=a.jsonl", "t=b.jsonl"])
    with pytest.raises(EvalError, match="several tasks; say which"):
        load_suite("local", sources={"": "x.jsonl"})
    with pytest.raises(EvalError, match="no task 'gsm'; did you mean 'gsm8k'"):
        load_suite("gsm8k", sources={"gsm": "x.jsonl"})
