"""Models that a rule can never ask are told with the reason, and rules that are left with nobody."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from router.policy import load_policy
from router.policy.servable import never_asked

NOW = datetime(2026, 3, 2, tzinfo=UTC)
HEAD = """\
version: 1
models:
  - {id: tiny, call: fake/tiny, price: {input: 1, output: 2}, context: 4000, capabilities: [json]}
  - {id: far, call: openai/far, price: {input: 10, output: 20}, region: us, capabilities: [vision, tools]}
  - {id: free, call: fake/free, price: {input: 0, output: 0}}
  - {id: unpriced, call: fake/unpriced, capabilities: [tools]}
rules:
"""


def told(folder: Path, *rules: str) -> list[str]:
    (folder / "p.yaml").write_text(HEAD + "".join(f"  - {{{rule}, strategy: fixed}}\n" for rule in rules))
    place = f"{folder / 'p.yaml'}:"
    return [finding.text.removeprefix(place) for finding in never_asked(load_policy(folder / "p.yaml"), NOW)]


NEVER = {
    "too far away": (
        "candidates: [free, far], data: {local_only: true}",
        "8:25: candidates: 'far' is never asked: none of its deployments may have the rule's data (local only); add",
    ),
    "in no region of the rule": ("candidates: [tiny, far], data: {regions: [us]}", "(only in us)"),
    "without tools": (
        "candidates: [tiny, free], when: {tools: true}",
        "8:19: candidates: 'tiny' is never asked: the rule's requests need the capability 'tools'; add it to the model",
    ),
    "without eyes": (
        "candidates: [tiny, free], when: {modality: [image, audio]}", "requests need the capability 'vision'",
    ),
    "too small": (
        "candidates: [tiny, free], when: {input_tokens: {min: 5000}}",
        "requests of 5,000 tokens and more do not fit its context of 4,000; lower `input_tokens`, or take the model",
    ),
    "too dear for one token": (
        "candidates: [far, free], max_cost_usd: 0.00001",
        "7 tokens in and one out cost up to $0.00009, above max_cost_usd $0.00001; raise the limit, or take",
    ),
    "too dear for what it takes in": (
        "candidates: [far, free], max_cost_usd: 0.01, when: {input_tokens: {min: 2000}}", "2,000 tokens in and one out",
    ),
    "of unknown price under a limit": (
        "candidates: [unpriced, free], max_cost_usd: 1",
        "'unpriced' is never asked: its price is unknown, and max_cost_usd asks for a bound; give it a `price`",
    ),
    "as a fallback": ("candidates: [free], fallback: [tiny], when: {tools: true}", "8:37: fallback: 'tiny' is never"),
    "by a pattern": ("candidates: 't*', fallback: free, when: {tools: true}", "8:6: candidates: 'tiny' is never asked"),
    "in the shadow": (
        "candidates: [free], shadow: {model: far, percent: 5%}, data: {local_only: true}", "shadow: 'far' is never",
    ),
    "on trial": (
        "candidates: [free], canary: {model: far, percent: 5%}, data: {local_only: true}",
        "8:26: canary: 'far' is never asked: none of its deployments",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("rule", "line"), NEVER.values(), ids=NEVER.keys())
def test_a_model_that_no_request_of_the_rule_can_be_sent_to_is_told(tmp_path: Path, rule: str, line: str) -> None:
    found = told(tmp_path, rule)
    assert any(line in one for one in found), found
    assert not any("nobody is left" in one for one in found)


@pytest.mark.parametrize(
    "rule",
    [
        pytest.param("candidates: [tiny, free], when: {modality: [text, image]}", id="some requests carry text alone"),
        pytest.param("candidates: [tiny, free], when: {tools: false}", id="without tools"),
        pytest.param("candidates: [tiny], when: {input_tokens: {min: 3999}}", id="just fits"),
        pytest.param("candidates: [far], data: {regions: [eu, us]}", id="one of the regions"),
        pytest.param("candidates: [unpriced]", id="unknown price without a limit"),
    ],
)
def test_a_model_that_some_request_can_be_sent_to_is_not_told(tmp_path: Path, rule: str) -> None:
    assert told(tmp_path, rule) == []


def test_a_rule_that_is_left_with_nobody_says_so(tmp_path: Path) -> None:
    *_, last = told(tmp_path, "candidates: [tiny], fallback: [far], when: {tools: true}, data: {local_only: true}")
    assert last == (
        "8:5: nobody is left to serve this rule, and its requests fail; change its conditions, or its models"
    )


def test_a_limit_below_the_default_length_of_answers_says_which_length_fits(tmp_path: Path) -> None:
    (line,) = told(tmp_path, "candidates: [far, free], max_cost_usd: 0.01")
    assert line == (
        "8:31: max_cost_usd $0.01 keeps 'far' from every request without `max_tokens`: 4,096 output tokens may cost "
        "$0.08199; raise the limit, or give the model `max_output_tokens: 496` or less"
    )
    assert told(tmp_path, "candidates: [far], max_cost_usd: 0.08199") == []


def test_thousands_of_candidates_are_looked_at_once_each(tmp_path: Path) -> None:
    many = [f"name: r{i}, candidates: '*', max_cost_usd: 1, when: {{tags: {{team: t{i}}}}}" for i in range(300)]
    assert len(told(tmp_path, *many)) == 300  # 'unpriced'
