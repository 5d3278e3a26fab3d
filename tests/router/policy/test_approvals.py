"""Bars that need signatures: a policy is served only when what sets its bars was approved, and nothing else passes."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

import router
from router import FakeTransport
from router.cli import main
from router.errors import ConfigurationError, PolicyError
from router.policy import load_policy
from router.policy.approvals import canonical, changes, content_of, digest_of
from router.policy.signing import approve, load_key, missing_approval, read_approvals

pytest.importorskip("cryptography")
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
KEYS = {name: Ed25519PrivateKey.from_private_bytes(name.encode().ljust(32, b".")) for name in ("alice", "bob", "eve")}
PUBLIC = {
    name: key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode() for name, key in KEYS.items()
}
POLICY = f"""\
version: 1
models:
  - {{id: small, call: fake/small, price: {{input: 1, output: 1}}}}
  - {{id: large, call: fake/large, price: {{input: 2, output: 2}}}}
tasks: {{qa: {{bar: 0.9}}}}
rules:
  - {{name: answers, when: {{task: qa}}, candidates: [small], fallback: [large]}}
  - {{name: rest, candidates: [small], bar: 0}}
approvals:
  keys: {{alice: "{PUBLIC["alice"]} alice@example.com", bob: "{PUBLIC["bob"]}"}}
"""
HELLO = [{"role": "user", "content": "hello"}]
Run = Callable[..., str]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "p.yaml").write_text(POLICY, encoding="utf-8")
    return tmp_path / "p.yaml"


def signed(path: Path, by: str = "alice", note: str = "") -> Path:
    return approve(load_policy(path), KEYS[by], by, note, NOW)


def missing(path: Path) -> str | None:
    return missing_approval(load_policy(path))


def write_key(folder: Path, name: str, passphrase: bytes | None = None) -> Path:
    how = BestAvailableEncryption(passphrase) if passphrase else NoEncryption()
    (folder / name).write_bytes(KEYS[name].private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, how))
    return folder / name


@pytest.fixture
def clearbar(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    def run(*arguments: str, code: int = 0) -> str:
        monkeypatch.setattr(sys, "argv", ["clearbar", "policy", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        told, complaints = capsys.readouterr()
        assert ended.value.code == code, told + complaints
        return told + complaints

    return run


def test_a_router_starts_only_when_the_bars_are_approved(path: Path) -> None:
    with pytest.raises(PolicyError) as refused:
        router.Router(path, path.parent / "state", FakeTransport())
    told = str(refused.value)
    assert told.startswith(
        f"{path}:9:1: approvals: these bars are not approved (0 of 1): task qa is new: bar 0.9; rule"
    )
    assert f"alice or bob may approve: clearbar policy approve {path} --key FILE --by alice" in told
    signed(path)
    with router.Router(path, path.parent / "state", FakeTransport()) as serving:
        assert serving.complete(HELLO).model == "small"


def test_a_reload_with_an_unapproved_bar_changes_nothing_until_it_is_approved(path: Path) -> None:
    signed(path)
    with router.Router(path, path.parent / "state", FakeTransport()) as serving:
        before = serving.policy.version
        path.write_text(POLICY.replace("bar: 0.9", "bar: 0.8"))
        with pytest.raises(PolicyError, match=r"task qa: bar 0.8 \(before: 0.9\): lowered"):
            serving.reload()
        assert serving.policy.version == before
        serving._kits.look()
        serving._kits.look()
        assert serving.policy.version == before
        signed(path, "bob")
        serving._kits.look()
        serving._kits.look()
        assert serving.policy.tasks["qa"].bar.min == 0.8


def test_an_approval_that_is_withdrawn_while_it_serves_is_told_in_the_log(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    one = signed(path)
    with router.Router(path, path.parent / "state", FakeTransport()) as serving:
        serving._kits.look()
        serving._kits.look()
        one.unlink()
        serving._kits.look()
        serving._kits.look()
        assert "these bars are not approved" in caplog.text
        assert serving.complete(HELLO).model == "small"


def test_what_a_killed_approver_left_behind_is_no_approval(path: Path) -> None:
    one = signed(path)
    (one.parent / ".approval-x1").write_text(one.read_text()[:100])
    assert missing(path) is None


RICH = """\
  - name: rich
    when: {task: [a, b], tags: {team: x}, input_tokens: {min: 1, max: 9}, language: de, modality: image, tools: true,
      findings: pii, time: {days: mon-fri, hours: "22:00-06:00", tz: Europe/Berlin}, not: {language: fr},
      budget: {name: teams, used: ">80%"}}
    from: 2026-01-01
    until: 2026-12-31T18:00+01:00
    bar: {max_drop: 0.02, vs: large, confidence: 0.9}
    candidates: [small, large]
    canary: {model: large, percent: 5%, by: customer, rollback: {errors: 1%, quality: 0.5}}
"""


def test_every_condition_of_a_rule_is_signed_and_read_again_as_it_was(path: Path) -> None:
    budget = 'budgets: [{name: teams, scope: {team: "*"}, limit_usd: 1, window: day}]\n'
    path.write_text(POLICY.replace("rules:\n", f"rules:\n{RICH}") + budget)
    content = content_of(load_policy(path))
    assert json.loads(canonical(content)) == content
    signed(path)
    assert missing(path) is None


CHANGES = {
    "a task's bar": ("bar: 0.9", "bar: 0.8", "task qa: bar 0.8 (before: 0.9): lowered"),
    "its confidence": ("bar: 0.9", "bar: {min: 0.9, confidence: 0.6}", "task qa: bar 0.9 at 0.6 (before: 0.9)"),
    "what clears": ("{bar: 0.9}", "{bar: 0.9, pass_at: 0.1}", "task qa: pass_at 0.1 (before: 0.5)"),
    "the metric": ("{bar: 0.9}", "{bar: 0.9, metric: m}", "task qa: metric m (before: none)"),
    "a rule's bar": ("candidates: [small], fallback", "bar: 0.1, candidates: [small], fallback",
                     "rule answers: bar 0.1 (before: none)"),
    "fixed": ("candidates: [small], fallback", "strategy: fixed, candidates: [small], fallback",
              "rule answers: strategy fixed (before: single)"),
    "whom a rule is for": ("when: {task: qa}", "when: {task: qa, tags: {team: x}}", "rule answers: when "),
    "dates": ("name: answers,", "name: answers, until: 2026-12-01,", "rule answers: until "),
    "another fallback": ("fallback: [large]", "fallback: [large, small]", "rule answers: fallback "),
    "a canary": ("fallback: [large]", "canary: {model: large, percent: 100%}", "rule answers: canary"),
    "a rule in front": ("rules:\n", "rules:\n  - {name: new, candidates: [small], bar: 0}\n", "rule new is new: bar 0"),
    "a rule gone": ("  - {name: rest, candidates: [small], bar: 0}\n", "", "rule rest is gone"),
    "who may approve": ("keys: {alice:", f'keys: {{eve: "{PUBLIC["eve"]}", alice:', "eve may approve"),
}  # fmt: skip


@pytest.mark.parametrize("what", CHANGES)
def test_whatever_sets_a_bar_or_goes_past_it_has_to_be_approved_and_is_told(path: Path, what: str) -> None:
    old, new, told = CHANGES[what]
    signed(path)
    path.write_text(POLICY.replace(old, new))
    assert told in (missing(path) or "")


@pytest.mark.parametrize(
    ("old", "new"),
    [("version: 1", "# a comment\nversion: 1"), ("[small], fallback", "[small, large], fallback"),
     ("bar: 0.9", "bar: {min: 0.9}"), ("input: 1,", "input: 3,"), ("bar: 0}", "bar: 0, cache: exact}")],
    ids=["comment", "candidate", "the same, written otherwise", "price", "cache"],
)  # fmt: skip
def test_what_sets_no_bar_needs_nobody(path: Path, old: str, new: str) -> None:
    signed(path)
    path.write_text(POLICY.replace(old, new, 1))
    assert missing(path) is None


def test_another_order_of_the_rules_has_to_be_approved(path: Path) -> None:
    signed(path)
    lines = POLICY.splitlines(keepends=True)
    lines[6], lines[7] = lines[7], lines[6]
    path.write_text("".join(lines))
    assert "the rules stand in another order: rest, answers (before: answers, rest)" in (missing(path) or "")


def test_several_have_to_agree_where_the_policy_says_so(path: Path) -> None:
    path.write_text(POLICY + "  need: 2\n")
    first = signed(path)
    assert "(1 of 2)" in (missing(path) or "")
    shutil.copy(first, first.with_name("copy--bob.json"))  # one person stays one
    assert "bob may approve" in (missing(path) or "")
    signed(path, "bob")
    assert missing(path) is None


def altered(approval: Path, **values: Any) -> None:
    approval.write_text(json.dumps({**json.loads(approval.read_text()), **values}))


ATTACKS: dict[str, Callable[[Path, Path], object]] = {
    "another's name": lambda _, one: altered(one, by="bob"),
    "a note": lambda _, one: altered(one, note="all is well"),
    "another time": lambda _, one: altered(one, at="2027-01-01T00:00:00Z"),
    "content put in place of what was signed": lambda path, one: altered(one, content={
        **json.loads(one.read_text())["content"], "tasks": {"qa": {"bar": {"min": 0.1}}}}),
    "no signature": lambda _, one: altered(one, signature=""),
    "a signature of 64 zeros": lambda _, one: altered(one, signature=base64.b64encode(bytes(64)).decode()),
    "another version": lambda _, one: altered(one, version=2),
    "a stranger": lambda _, one: altered(one, by="eve"),
    "no JSON": lambda _, one: one.write_text("{"),
    "deep JSON": lambda _, one: one.write_text("[" * 100_000),
    "a list": lambda _, one: one.write_text("[]"),
    "other kinds": lambda _, one: altered(one, content=[], by=3),
    "a huge file": lambda _, one: os.truncate(one, 5_000_000),
    "a pipe": lambda _, one: (one.unlink(), os.mkfifo(one)),
    "a device": lambda _, one: (one.unlink(), one.symlink_to("/dev/zero")),
    "a dead link": lambda _, one: (one.unlink(), one.symlink_to("nowhere")),
    "a folder": lambda _, one: (one.unlink(), one.mkdir()),
    "gone": lambda _, one: one.unlink(),
}  # fmt: skip


@pytest.mark.parametrize("attack", ATTACKS)
def test_an_approval_that_was_touched_counts_for_nothing(path: Path, attack: str) -> None:
    one = signed(path, note="as agreed")
    assert missing(path) is None
    ATTACKS[attack](path, one)
    assert "not approved (0 of 1)" in (missing(path) or "")


@pytest.mark.parametrize(
    "content",
    [
        {}, {"tasks": {}, "rules": [1], "approvers": {}}, {"tasks": {"qa": 1}, "rules": [], "approvers": {}},
        {"tasks": {"qa": {"bar": 1}}, "rules": [], "approvers": {}}, {"tasks": {}, "rules": [{}], "approvers": {}},
        {"tasks": {"qa": {"bar": {"min": "x"}}}, "rules": [], "approvers": {}}, "text", 1, None, [],
        {"tasks": {}, "rules": [], "approvers": {"keys": []}},
    ],
    ids=str,
)  # fmt: skip
def test_signed_nonsense_is_no_approval_and_no_trouble(path: Path, content: Any) -> None:
    one = signed(path)
    kept = {**json.loads(one.read_text()), "content": content}
    message = b"clearbar approval of bars 1\n" + canonical(
        {name: kept[name] for name in ("version", "by", "at", "note", "content")}
    )
    altered(one, content=content, signature=base64.b64encode(KEYS["alice"].sign(message)).decode())
    assert "no approval that this version knows" in (missing(path) or "")


def test_a_signature_for_other_bars_or_another_environment_is_none_for_these(path: Path) -> None:
    low = POLICY.replace("bar: 0.9", "bar: 0.1")
    dev = "environments: {dev: {tasks: {qa: {bar: 0.1}}}, prod: {}}\n"
    path.write_text(POLICY + dev)
    one = approve(load_policy(path, "dev"), KEYS["alice"], "alice", "", NOW)
    assert missing_approval(load_policy(path, "dev")) is None
    path.write_text(low + dev)
    assert missing_approval(load_policy(path, "prod")) is not None  # though its tasks and rules are those of dev
    path.write_text(low)
    one.rename(one.with_name(f"{digest_of(content_of(load_policy(path)))}--alice.json"))
    assert missing(path) is not None


def test_who_is_not_among_the_keys_cannot_approve_and_whoever_left_has_approved_nothing(path: Path) -> None:
    with pytest.raises(ConfigurationError, match="'eve' may not approve; known are alice, bob"):
        signed(path, "eve")
    with pytest.raises(ConfigurationError, match="this key is in no line of `approvals`, not alice's"):
        approve(load_policy(path), KEYS["eve"], "alice", "", NOW)
    with pytest.raises(ConfigurationError, match="this key is bob's, not alice's"):
        approve(load_policy(path), KEYS["bob"], "alice", "", NOW)
    signed(path)
    path.write_text(POLICY.replace(PUBLIC["alice"], PUBLIC["eve"]))
    assert "alice has another key" not in (told := missing(path) or "")  # her approval is not believed any more
    assert "its signature is not alice's" in told


def test_while_it_serves_nobody_lets_himself_in_and_nobody_takes_the_lock_away(path: Path) -> None:
    signed(path)
    with router.Router(path, path.parent / "state", FakeTransport()) as serving:
        path.write_text(POLICY.replace("bar: 0.9", "bar: 0.1").replace(PUBLIC["alice"], PUBLIC["eve"]))
        approve(load_policy(path), KEYS["eve"], "alice", "", NOW)
        assert missing(path) is None  # by its own keys
        with pytest.raises(PolicyError, match="not approved"):
            serving.reload()
        path.write_text(POLICY.partition("approvals:")[0])
        with pytest.raises(PolicyError, match="only a process that starts anew goes without"):
            serving.reload()
        path.write_text(POLICY.replace(PUBLIC["alice"], PUBLIC["eve"]))
        signed(path, "bob")  # who may approve under both
        serving.reload()
        assert serving.policy.approvals is not None
        assert "eve" not in serving.policy.approvals.keys


def test_a_key_is_exchanged_in_two_steps_while_it_serves(path: Path) -> None:
    def keys(**named: str) -> str:
        return f"{POLICY.partition('approvals:')[0]}approvals: {{keys: {json.dumps(named)}}}\n"

    path.write_text(keys(alice=PUBLIC["alice"]))
    signed(path)
    with router.Router(path, path.parent / "state", FakeTransport()) as serving:
        for step, by in ((keys(alice=PUBLIC["alice"], eve=PUBLIC["eve"]), "alice"), (keys(eve=PUBLIC["eve"]), "eve")):
            path.write_text(step)
            signed(path, by)
            serving.reload()
        assert serving.policy.approvals is not None
        assert set(serving.policy.approvals.keys) == {"eve"}


def test_a_link_of_an_approvals_name_is_replaced_and_what_it_points_at_is_not_written(path: Path) -> None:
    one = signed(path)
    one.unlink()
    (path.parent / "precious").write_text("precious")
    one.symlink_to(path.parent / "precious")
    signed(path)
    assert (path.parent / "precious").read_text() == "precious"
    assert not one.is_symlink()
    (path.parent / "elsewhere.json").write_text(one.read_text())
    one.unlink()
    one.symlink_to(path.parent / "elsewhere.json")  # as clusters mount files
    assert missing(path) is None


def test_an_approver_cannot_be_shown_something_else_by_a_name(path: Path) -> None:
    path.write_text(POLICY.replace("name: rest", 'name: "rest\\e[2K\\r\\u202eok\\n"'))
    assert not [line for line in changes(None, content_of(load_policy(path))) if not line.isprintable()]


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ('{keys: {alice: "ssh-rsa AAAA"}}', "keys: alice: must be an OpenSSH public key such as `ssh-ed25519 AAAA..."),
        ('{keys: {alice: "ssh-ed25519 AAAA"}}', "keys: alice: must be an OpenSSH public key"),
        (f'{{keys: {{"../a": "{PUBLIC["alice"]}"}}}}', "is no name of letters, digits, dots and underscores"),
        (f'{{keys: {{alice: "{PUBLIC["alice"]}", bob: "{PUBLIC["alice"]} b"}}}}', "alice and bob have the same key"),
        (f'{{keys: {{alice: "{PUBLIC["alice"]}"}}, need: 2}}', "need: 2 of 1 keys can never agree"),
        ('{keys: {alice: "-----BEGIN OPENSSH PRIVATE KEY----- hunter2"}}', "keys: alice: a private key; exchange it"),
        ("{keys: {}}", "must not be empty"),
        ("{}", "key 'keys' is missing; add it"),
    ],
    ids=["rsa", "cut", "a path for a name", "one key for two", "too many needed", "private", "nobody", "no keys"],
)
def test_what_is_wrong_with_the_keys_is_told_and_no_private_one_is_repeated(path: Path, given: str, told: str) -> None:
    path.write_text(f"{POLICY.partition('approvals:')[0]}approvals: {given}\n")
    with pytest.raises(PolicyError) as refused:
        load_policy(path)
    assert told in str(refused.value)
    assert "hunter2" not in str(refused.value)


def test_the_command_shows_what_changed_signs_it_and_lists_who_did(path: Path, clearbar: Run) -> None:
    key = write_key(path.parent, "alice")
    assert "task qa is new: bar 0.9" in clearbar("approve", str(path), code=1)
    clearbar("approve", str(path), "--key", str(key), "--by", "alice", "--note", "the first")
    assert "no bar changed" in clearbar("approve", str(path))
    path.write_text(POLICY.replace("bar: 0.9", "bar: 0.95"))
    told = clearbar("check", str(path), code=3)
    assert told.endswith(": no router serves it\n")
    assert f"not approved {path}:9:1: approvals: these bars are not approved" in told
    assert json.loads(clearbar("check", str(path), "--json", code=3))["unapproved"]
    assert "no approvals" not in clearbar("approvals", str(path), code=1)
    bob = write_key(path.parent, "bob")
    told = clearbar("approve", str(path), "--key", str(bob), "--by", "bob")
    assert told.startswith("task qa: bar 0.95 (before: 0.9): raised\n")
    rows = json.loads(clearbar("approvals", str(path), "--json"))["approvals"]
    assert [(row["by"], row["note"], row["holds"]) for row in rows] == [
        ("bob", "", True),
        ("alice", "the first", False),
    ]
    assert rows[0]["changes"] == ["task qa: bar 0.95 (before: 0.9): raised"]
    altered(path.parent / "approvals" / rows[1]["file"], note="\x1b[2Kforged")
    text = clearbar("approvals", str(path))
    assert "what it signs was changed" in text
    assert "\x1b" not in text


def test_protected_keys_open_with_their_passphrase_alone(
    path: Path, clearbar: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = write_key(path.parent, "alice", b"open sesame")
    arguments = ("approve", str(path), "--key", str(key), "--by", "alice")
    assert "has a passphrase; set CLEARBAR_KEY_PASSPHRASE" in clearbar(*arguments, code=3)
    monkeypatch.setenv("CLEARBAR_KEY_PASSPHRASE", "wrong")
    told = clearbar(*arguments, code=3)
    assert "the passphrase does not open this key" in told
    assert "wrong" not in told.replace(str(path.parent), "")
    monkeypatch.setenv("CLEARBAR_KEY_PASSPHRASE", "open sesame")
    clearbar(*arguments)
    assert missing(path) is None


@pytest.mark.skipif(shutil.which("ssh-keygen") is None, reason="needs ssh-keygen")
@pytest.mark.parametrize("passphrase", ["", "open sesame"])
def test_keys_as_ssh_keygen_makes_them_approve(path: Path, passphrase: str) -> None:
    subprocess.run(
        ["ssh-keygen", "-q", "-t", "ed25519", "-N", passphrase, "-C", "c", "-f", path.parent / "id"], check=True
    )
    public = (path.parent / "id.pub").read_text().strip()
    path.write_text(POLICY.replace(PUBLIC["alice"] + " alice@example.com", public))
    key = load_key(path.parent / "id", passphrase.encode() or None)
    assert key is not None
    approve(load_policy(path), key, "alice", "", NOW)
    assert missing(path) is None


def test_a_key_that_is_none_is_told(path: Path) -> None:
    folder = path.parent
    rsa = generate_private_key(65537, 2048)
    (folder / "rsa").write_bytes(rsa.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()))
    (folder / "id.pub").write_text(PUBLIC["alice"])
    (folder / "text").write_text("no key")
    for name, told in (("rsa", "no ed25519 key"), ("id.pub", "a public key; give the private one, id"),
                       ("text", "no private key in OpenSSH's format"), ("none", "cannot be read")):  # fmt: skip
        with pytest.raises(ConfigurationError, match=told):
            load_key(folder / name, None)


def test_without_the_extra_the_error_says_what_to_install(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    signed(path)
    monkeypatch.setitem(sys.modules, "cryptography", None)
    with pytest.raises(ConfigurationError, match=r"pip install 'clearbar\[sign\]'"):
        router.Router(path, path.parent / "state", FakeTransport())


def test_a_policy_without_approvals_reads_no_keys(tmp_path: Path) -> None:
    (tmp_path / "p.yaml").write_text(POLICY.partition("approvals:")[0])
    code = (
        "import sys, router; r = router.Router('p.yaml', 'state', router.FakeTransport()); r.close(); "
        "sys.exit('cryptography' in sys.modules or 'router.policy.signing' in sys.modules)"
    )
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])}
    assert subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=env, check=False).returncode == 0


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        (POLICY, POLICY.partition("approvals:")[0], "bars need nobody's approval any more"),
        (
            POLICY,
            POLICY.replace("keys: {alice:", f'keys: {{eve: "{PUBLIC["eve"]}", alice:'),
            "may approve bars as well",
        ),
        (POLICY, POLICY.replace(PUBLIC["bob"], PUBLIC["eve"]), "may approve bars with another key"),
        (POLICY + "  need: 2\n", POLICY, "bars need 1 approvals instead of 2"),
    ],
    ids=["gone", "one more", "another key", "fewer needed"],
)
def test_a_diff_of_policies_tells_first_who_loosens_the_lock(
    tmp_path: Path, clearbar: Run, old: str, new: str, told: str
) -> None:
    (tmp_path / "old.yaml").write_text(old)
    (tmp_path / "new.yaml").write_text(new)
    both = (str(tmp_path / "old.yaml"), str(tmp_path / "new.yaml"))
    (change,) = json.loads(clearbar("diff", *both, "--json"))["changes"]
    assert told in change["text"]
    assert change["effect"] == "loosens"
    (back,) = json.loads(clearbar("diff", *both[::-1], "--json"))["changes"]
    assert back["effect"] == ("loosens" if "another key" in told else "tightens")


def test_a_folder_of_approvals_lists_the_oldest_first(path: Path) -> None:
    one = signed(path)
    (one.parent / "notes.txt").write_text("no approval")
    found = read_approvals(one.parent, {"alice": PUBLIC["alice"]})
    assert [(each.by, each.fault) for each in found] == [("alice", None)]
