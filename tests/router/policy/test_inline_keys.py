"""Secrets that stand in a policy are told with their place, and never repeated."""

from __future__ import annotations

from pathlib import Path

import pytest

from router.policy import check, load_policy
from router.policy.inline_keys import inline_keys

KEY = "sk-proj-ABCDEFG1234567890abcdefg"
GOOD = """\
version: 1
models:
  - id: small
    call: fake/small
    price: {input: 1, output: 2}
rules:
  - {name: all, candidates: small, strategy: fixed}
"""
CALL, LAST = "call: fake/small", "strategy: fixed}"
WHERE = {
    "in a tag of a model": (CALL, f"{CALL}\n    tags: {{owner: {KEY}}}", "5:12: what looks like a key stands in"),
    "as the name of a tag": (CALL, f"{CALL}\n    tags: {{{KEY}: x}}", "5:12: what looks like a key"),
    "in a condition": (LAST, f"when: {{tags: {{customer: {KEY}}}}}, {LAST}", "7:50: what looks like a key"),
    "in what must not hold": (LAST, f"when: {{not: {{tags: {{customer: {KEY}}}}}}}, {LAST}", "7:56: what"),
    "as a rule's name": ("name: all", f"name: {KEY}", "7:6: what looks like a key"),
    "as a model's id": ("small", KEY, "3:5: what looks like a key"),
    "in an address": (
        CALL, f"{CALL}\n    api_base: https://me:pass1word@example.com/v1", "5:5: what looks like a password stands in",
    ),
    "in an address's query": (
        CALL, f"{CALL}\n    api_base: https://example.com/v1?api_key=abcd1234efgh", "5:5: what looks like a password",
    ),
    "under the name of a password": (
        CALL, f"{CALL}\n    tags: {{password: hunter2hunter2}}", "5:12: what looks like a password",
    ),
    "in a comment": ("version: 1", f"version: 1  # was {KEY}", "1:13: what looks like a key stands in the file"),
    "in a comment of its own": ("models:", "# password: hunter2hunter2\nmodels:", "2:1: what looks like a password"),
    "as a private key": (
        CALL, f"{CALL}\n    tags:\n      pem: |\n        -----BEGIN RSA PRIVATE KEY-----\n", "6:7: what looks",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("old", "new", "line"), WHERE.values(), ids=WHERE.keys())
def test_a_secret_is_told_wherever_it_stands(tmp_path: Path, old: str, new: str, line: str) -> None:
    (tmp_path / "p.yaml").write_text(GOOD.replace(old, new))
    policy = load_policy(tmp_path / "p.yaml")
    found = [finding.text.removeprefix(f"{tmp_path / 'p.yaml'}:") for finding in inline_keys(policy)]
    assert any(one.startswith(line) for one in found), found
    assert all("put it into an environment variable and give that one's name (`api_key_env`)" in one for one in found)
    said = "\n".join(finding.text for finding in check(policy))
    assert KEY[8:] not in said
    assert "hunter2" not in said
    assert "pass1word" not in said


def test_a_secret_in_an_included_file_has_its_place_there(tmp_path: Path) -> None:
    (tmp_path / "shared.yaml").write_text(f"# {KEY}\nrules: [{{name: {KEY}, candidates: small, bar: 0}}]\n")
    (tmp_path / "p.yaml").write_text(f"include: shared.yaml\n{GOOD}")
    found = [finding.text for finding in inline_keys(load_policy(tmp_path / "p.yaml"))]
    assert [one.split(": ")[0] for one in found] == [
        f"{tmp_path / 'shared.yaml'}:2:10", f"{tmp_path / 'shared.yaml'}:1:1",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("old", "new"),
    [
        pytest.param(CALL, f"{CALL}\n    api_key_env: OPENAI_API_KEY", id="the name of a variable"),
        pytest.param(CALL, f"{CALL}\n    version: {'0123456789abcdef' * 4}", id="the hash of weights"),
        pytest.param(CALL, "call: openai/claude-3-5-sonnet-20241022", id="a model with a date"),
        pytest.param("rules:", "alerts: [{sink: slack, url_env: SLACK_URL}]\nrules:", id="the name of an address"),
        pytest.param("rules:", f"tests: [{{given: {{text: 'my key is {KEY}'}}, expect: {{refused: false}}}}]\nrules:",
                     id="a made-up request"),
        pytest.param("rules:", "# the password is asked of the vault\nrules:", id="a remark on passwords"),
    ],
)  # fmt: skip
def test_what_is_no_secret_is_not_told(tmp_path: Path, old: str, new: str) -> None:
    (tmp_path / "p.yaml").write_text(GOOD.replace(old, new))
    assert inline_keys(load_policy(tmp_path / "p.yaml")) == []
