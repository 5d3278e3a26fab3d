"""What a run proposes for a policy: words and a diff, and never an edited file."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest
from click.testing import CliRunner

from evals.cli import eval_group
from evals.moves import Proposal, proposals, written_diff
from evals.policy_diff import changed_text
from evals.store import Manifest, Run
from evals.types import Cell, EvalError, Result, Scored, make_sample
from router import Router

POLICY = """\
version: 1
models:
  - {id: small, call: fake/small, price: {input: 1, output: 2}}
  - {id: large, call: fake/large, price: {input: 10, output: 20}}
tasks:
  qa: {bar: 0.8}
rules:
  - name: questions
    when: {task: qa}  # everything else goes below
    candidates: [large]  # the only one with evidence so far
    fallback: [large]
  - {name: rest, candidates: [large], strategy: fixed}
"""
COSTS = {"small": 0.001, "large": 0.01}


@pytest.fixture
def make_router(tmp_path: Path) -> Iterator[Callable[[str], Router]]:
    made: list[Router] = []

    def make(text: str) -> Router:
        (tmp_path / "policy.yaml").write_text(text, encoding="utf-8")
        made.append(Router(tmp_path / "policy.yaml", tmp_path / "state"))
        return made[-1]

    yield make
    for router in made:
        router.close()


@pytest.fixture
def make_run(tmp_path: Path) -> Callable[..., Run]:
    def make(wrong: Mapping[str, int], *, count: int = 60, is_priced: bool = True) -> Run:
        run = Run(tmp_path / "run")
        samples = [make_sample("qa", ({"role": "user", "content": f"question {i}"},), "yes") for i in range(count)]
        manifest = Manifest(
            run_id="run-1", suite="s", suite_sha256="ab", candidates=tuple(wrong), repeats=1, created="2026-01-01",
            scorers={"qa": "exact"}, bars={"qa": {"min": 0.8, "confidence": 0.95}}, prices=dict.fromkeys(wrong),
        )  # fmt: skip
        with run.writing():
            run.plan(manifest, samples)
            for candidate, errors in wrong.items():
                run.append(
                    *(
                        Result(
                            cell=Cell(suite_sha256="ab", sample=sample.id, candidate=candidate),
                            score=Scored(float(number >= errors)),
                            cost_usd=COSTS[candidate] * (1 + number % 3) if is_priced else None,
                            model_version="v1",
                        )
                        for number, sample in enumerate(samples)
                    )
                )
        return run

    return make


def test_a_cheaper_model_that_holds_the_bar_enters_with_money_and_discordant_samples(
    make_run: Callable[..., Run], make_router: Callable[[str], Router]
) -> None:
    run, router = make_run({"small": 2, "large": 0}), make_router(POLICY)
    (one,) = proposals(run, router)
    assert (one.kind, one.model, one.serving, one.rule) == ("enters", "small", "large", "questions")
    assert one.saved_usd is not None and one.saved_usd.value == pytest.approx(18.0)
    assert 0 < one.saved_usd.low < 18 < one.saved_usd.high
    assert set(one.worse) == {sample.id for sample in run.samples()[:2]} and not one.better
    before = Path(router.policy.path).read_text(encoding="utf-8")
    diff = written_diff([one], router)
    assert "-    candidates: [large]  # the only one with evidence so far\n" in diff
    assert "+    candidates: [small, large]  # the only one with evidence so far\n" in diff
    assert "lower bound 0.8" in diff and "saves $18.0000 by 1,000 requests" in diff
    assert Path(router.policy.path).read_text(encoding="utf-8") == before


def test_a_candidate_already_listed_needs_no_edit(
    make_run: Callable[..., Run], make_router: Callable[[str], Router]
) -> None:
    router = make_router(POLICY.replace("candidates: [large]  #", "candidates: [small, large]  #"))
    found = proposals(make_run({"small": 0, "large": 0}), router)
    assert [one.kind for one in found] == ["serves"]
    diff = written_diff(found, router)
    assert "evidence alone moves it" in diff and "+++" not in diff


def test_a_candidate_that_fails_the_bar_leaves(
    make_run: Callable[..., Run], make_router: Callable[[str], Router]
) -> None:
    router = make_router(POLICY.replace("candidates: [large]  #", "candidates: [small, large]  #"))
    found = proposals(make_run({"small": 40, "large": 0}), router)
    assert ("leaves", "small") in [(one.kind, one.model) for one in found]
    assert "+    candidates: [large]  #" in written_diff(found, router)


def test_a_model_without_enough_evidence_moves_nothing(
    make_run: Callable[..., Run], make_router: Callable[[str], Router]
) -> None:
    router = make_router(POLICY)
    found = proposals(make_run({"small": 10, "large": 0}), router)
    assert found == []
    assert written_diff(found, router) == "# nothing to change: the run moves no task\n"


def test_unknown_costs_are_said_to_be_unknown(
    make_run: Callable[..., Run], make_router: Callable[[str], Router]
) -> None:
    assert proposals(make_run({"small": 0, "large": 0}, is_priced=False), make_router(POLICY)) == []
    words = Proposal(
        task="qa", model="small", kind="enters", rule="r", position=0, serving="large", bar=0.8, lower=0.9, n=60
    ).words()
    assert "money unknown" in words


def test_a_list_over_several_lines_is_left_to_a_person(
    make_run: Callable[..., Run], make_router: Callable[[str], Router]
) -> None:
    text = POLICY.replace("candidates: [large]  # the only one with evidence so far", "candidates:\n      - large")
    router = make_router(text)
    diff = written_diff(proposals(make_run({"small": 0, "large": 0}), router), router)
    assert "change them by hand" in diff and "candidates: [small, large]" in diff and "+++" not in diff


def test_one_line_rules_and_quoted_names_are_edited_in_place(make_router: Callable[[str], Router]) -> None:
    router = make_router(POLICY)
    path = Path(router.policy.path)
    assert '- {name: rest, candidates: [large, "a b", x/y-1.5], strategy: fixed}' in changed_text(
        path, {1: ["large", "a b", "x/y-1.5"]}
    )


def test_a_list_behind_an_alias_is_not_edited(make_router: Callable[[str], Router]) -> None:
    text = POLICY.replace("candidates: [large]  #", "candidates: &all [large]  #").replace(
        "candidates: [large], strategy", "candidates: *all, strategy"
    )
    path = Path(make_router(text).policy.path)
    with pytest.raises(EvalError, match="by hand"):
        changed_text(path, {0: ["small", "large"]})


def test_the_command_writes_the_diff_and_asks_for_somewhere_to_write(
    make_run: Callable[..., Run], make_router: Callable[[str], Router], tmp_path: Path
) -> None:
    run, router = make_run({"small": 0, "large": 0}), make_router(POLICY)
    policy = str(router.policy.path)

    def clearbar(*options: str) -> object:
        return CliRunner().invoke(eval_group, ["propose", str(run.directory), *options], standalone_mode=False)

    assert "+    candidates: [small, large]" in clearbar("--policy", policy, "--diff", "-").stdout  # type: ignore[attr-defined]
    clearbar("--policy", policy, "--diff", str(tmp_path / "change.diff"), "--out", str(tmp_path / "evidence"))
    assert "@@" in (tmp_path / "change.diff").read_text(encoding="utf-8")
    assert (tmp_path / "evidence" / "qa--small.json").is_file()
    assert "--out DIR" in str(clearbar().exception)  # type: ignore[attr-defined]


def test_the_diff_tells_what_the_evidence_will_move_that_is_written_with_it(
    make_run: Callable[..., Run], make_router: Callable[[str], Router], tmp_path: Path
) -> None:
    run = make_run({"small": 0, "large": 0})
    policy = str(make_router(POLICY.replace("[large]  # the", "[small, large]  # the")).policy.path)
    arguments = ["propose", str(run.directory), "--policy", policy, "--diff", "-", "--out", str(tmp_path / "evidence")]
    said = [CliRunner().invoke(eval_group, arguments, standalone_mode=False).stdout for _ in range(2)]
    assert ["small serves (evidence alone moves it)" in one for one in said] == [True, False]


def test_the_diff_never_replaces_the_policy(make_run: Callable[..., Run], make_router: Callable[[str], Router]) -> None:
    run, router = make_run({"small": 0, "large": 0}), make_router(POLICY)
    arguments = ["propose", str(run.directory), "--policy", str(router.policy.path), "--diff", str(router.policy.path)]
    assert "only a person edits" in str(CliRunner().invoke(eval_group, arguments, standalone_mode=False).exception)
    assert Path(router.policy.path).read_text(encoding="utf-8") == POLICY


def test_only_the_named_candidates_move(make_run: Callable[..., Run], make_router: Callable[[str], Router]) -> None:
    run, router = make_run({"small": 0, "large": 0}), make_router(POLICY)
    options = ["--policy", str(router.policy.path), "--candidates", "large", "--diff", "-", "--json"]
    said = CliRunner().invoke(eval_group, ["propose", str(run.directory), *options], standalone_mode=False).stdout
    assert '"model": "large"' in said and "small" not in said and "nothing to change" in said
