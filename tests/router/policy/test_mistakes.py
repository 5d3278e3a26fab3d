"""Whatever is wrong with a policy file, the command says what, where and how to mend it, in a line, and soon."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from router.cli import main
from router.config import MAX_BYTES
from router.errors import PolicyError
from router.policy import check, load_policy
from router.validation import MOST_TOLD

KEY = "sk-proj-ABCDEFG1234567890abcdefg"
GOOD = """\
version: 1
models:
  - {id: small, call: fake/small, price: {input: 1, output: 2}}
  - {id: large, call: fake/large, price: {input: 10, output: 20}}
tasks: {qa: {bar: 0.8}}
rules:
  - {name: one, when: {task: qa}, candidates: small, bar: 0}
  - {name: rest, candidates: large, strategy: fixed}
"""
PRICE, WHEN, REST, END = "{input: 1, output: 2}", "{task: qa}", "name: rest,", "strategy: fixed}\n"


def changed(old: str, new: str) -> str:
    assert old in GOOD
    return GOOD.replace(old, new, 1)


def more(text: str) -> str:
    return GOOD + text


# What the file holds, and what is said of it, from the place on.
BROKEN: dict[str, tuple[str | bytes, str]] = {
    # the text itself
    "nothing": ("", ":1:1: expected keys and values at the top, such as `version: 1`"),
    "only a word": ("policy", ":1:1: expected keys and values at the top"),
    "only a list": ("- a\n", ":1:1: expected keys and values at the top"),
    "a NUL": (changed("qa", "q\0a"), ":5:10: not valid YAML: control characters are not allowed"),
    "an escape character": (changed("qa", "q\x1ba"), ":5:10: not valid YAML: control characters are not allowed"),
    "UTF-16": (GOOD.encode("utf-16"), ":1: not UTF-8 text; save the file as UTF-8"),
    "UTF-32": (GOOD.encode("utf-32"), ":1: not UTF-8 text; save the file as UTF-8"),
    "Latin-1": (changed("name: one", "name: é").encode("latin-1"), ":7: not UTF-8 text; save the file as UTF-8"),
    "half a character": (GOOD.encode() + b"# \xe2\x82", ":9: not UTF-8 text; save the file as UTF-8"),
    "a surrogate": (GOOD.encode() + b"# \xed\xa0\x80", ":9: not UTF-8 text; save the file as UTF-8"),
    "a tab": (changed("  - {name: one", "\t- {name: one"), ":7:1: not valid YAML: found character that cannot start"),
    "an open bracket": (changed("{task: qa}", "{task: qa"), ":8:3: not valid YAML: "),
    "an open quote": (changed("name: one", "name: 'one"), ":9:1: not valid YAML: found unexpected end of stream"),
    "two colons": (changed("version: 1", "version: 1: 2"), ":1:11: not valid YAML: mapping values are not allowed"),
    "two documents": (more("---\nversion: 1\n"), ":9:1: a second document ('---'); a policy file holds one"),
    "a bad escape": (changed("name: one", r'name: "\q"'), ":7:13: not valid YAML: found unknown escape character"),
    # YAML's own traps
    "the same key twice": (more("tasks: {}\n"), ":9:1: key 'tasks' stands here for the second time (first in line 5)"),
    "the same key in other quotes": (changed(PRICE, "{input: 1, 'input': 2, output: 2}"), ":3:53: key 'input' stands"),
    "a tag": (changed("0.8", "!!float 0.8"), ":5:19: YAML tag 'tag:yaml.org,2002:float' is not allowed; write"),
    "a Python object": (changed("0.8", "!!python/object/apply:os.system [ls]"), ":5:19: YAML tag 'tag:yaml.org,2002:p"),
    "a merge key": (changed(REST, "<<: {bar: 0},"), ":8:6: merge keys (<<) are not supported; write the values out"),
    "an anchor to itself": (more("x: &x [*x]\n"), ":9:8: alias 'x' refers to itself or to nothing above it"),
    "an anchor of a mapping to itself": (more("x: &x {y: *x}\n"), ":9:11: alias 'x' refers to itself or to nothing"),
    "an alias to nothing": (changed("0.8", "*bar"), ":5:19: alias 'bar' refers to itself or to nothing above it"),
    "a list as a key": (more("? [a]\n: b\n"), ":9:3: a key must be plain text"),
    "no key": (more("~: b\n"), ":9:1: a key must be plain text"),
    "a key without a value": (more("data:\n"), ":9:1: key 'data' has no value; give it one, or remove it"),
    "a list item without a value": (changed("candidates: small", "candidates: [small, ~]"), "item 2 of the list has n"),
    "51 levels": (more("x: " + "[" * 51 + "]" * 51), ":9:53: nested more than 50 levels deep"),
    "1,001 aliases": (more("x: &x 1\ny: [" + "*x," * 1_001 + "]"), ":10:3005: more than 1,000 aliases; write the valu"),
    "aliases of aliases": (
        more("a: &a [x,x,x,x,x,x,x,x,x]\n")
        + "".join(f"{n}: &{n} [{','.join(['*' + m] * 9)}]\n" for m, n in zip("abcdefg", "bcdefgh", strict=True)),
        "more than 200,000 values once its aliases are followed",
    ),
    # keys
    "a misspelt key": (changed("rules:", "ruels:"), ":6:1: unknown key 'ruels'; did you mean 'rules'?"),
    "a misspelt key of a rule": (changed("candidates: small", "candidate: small"), ":7:35: unknown key 'candidate'; d"),
    "a key with Cyrillic letters": (changed("rules:", "rul\u0435s:"), ":6:1: unknown key 'rul\u0435s'; did you mean '"),
    "a key with a hidden space": (changed("candidates: small", "candidates\u200b: small"), "; did you mean 'candidate"),
    "a key of another section": (changed(REST, "name: rest, price: 1,"), ":8:18: unknown key 'price'; known are "),
    "a key that is a secret": (more(f"{KEY}: x\n"), ":9:1: unknown key 'sk-p'…; known are alerts, "),
    # numbers
    "a price of nothing known": (changed("input: 1,", "input: nan,"), ":3:43: input 'nan': must be a finite number"),
    "a price without end": (changed("input: 1,", "input: -Infinity,"), ":3:43: input '-Infinity': must be a finite nu"),
    "a price with a thousand zeros": (changed("input: 1,", "input: 1e999,"), ":3:43: input '1e999': must be less than"),
    "a price of a millionth digit": (changed("input: 1,", "input: 1e-999999,"), "must have at most 30 decimal places"),
    "a negative price": (changed("input: 1,", "input: -0.1,"), ":3:43: input '-0.1': must be greater than or equal to"),
    "a price with a comma": (changed("input: 1,", "input: '1,5',"), ":3:43: input '1,5': must be a number such as 0.1"),
    "a bar of no number": (changed("0.8", "nan"), ":5:14: bar 'nan': must be"),
    "a bar in percent": (changed("0.8", "80%"), ":5:14: bar '80%': must be a number"),
    "a bar above all": (changed("0.8", "1e999"), ":5:14: bar '1e999': must be less than or equal to 1"),
    "a context of very many digits": (
        changed("call: fake/small", f"call: fake/small, context: {'9' * 5000}"), ":3:35: context '99999999999999999999",
    ),
    "a context in hexadecimal": (changed("call: fake/small", "call: x, context: 0x10"), "context '0x10': must be a wh"),
    "a size that is negative": (changed(WHEN, "{input_tokens: {min: -1}}"), "min '-1': must be greater than or equal "),
    "a range the wrong way round": (changed(WHEN, "{input_tokens: {min: 9, max: 3}}"), "max 3 is below min 9"),
    # dates and times
    "a day that is not there": (changed(REST, "from: 2026-02-30,"), ":8:6: from '2026-02-30': must be a day such as"),
    "a day beyond all": (changed(REST, "until: 9999-12-31,"), ":8:6: until '9999-12-31': must be a day such as"),
    "a moment without a zone": (changed(REST, "from: 2026-01-01T10:00,"), "from '2026-01-01T10:00': must be a day"),
    "an end before the beginning": (changed(REST, "from: 2026-02-01, until: 2026-01-01,"), "`until` lies before `from"),
    "hours of no length": (changed(WHEN, "{time: {hours: 08:00-08:00}}"), "a span has two different times from 00:00"),
    "hour 25": (changed(WHEN, "{time: {hours: 08:00-25:00}}"), "'08:00-25:00': a span has two different times"),
    "an unknown day": (changed(WHEN, "{time: {days: montag}}"), "'montag' must be a day or days such as mon, fri"),
    "an unknown zone": (changed(WHEN, "{time: {days: mon, tz: Mars/Base}}"), "must be an IANA time zone such as UTC o"),
    "a zone that is a path": (changed(WHEN, "{time: {days: mon, tz: ../../etc/passwd}}"), "must be an IANA time zone"),
    "a zone with a NUL": (changed(WHEN, r'{time: {days: mon, tz: "\0"}}'), "must be an IANA time zone"),
    # words
    "a list for a word": (changed("name: one", "name: [one]"), ":7:6: name: must be text"),
    "a word for a mapping": (changed("{bar: 0.8}", "0.8"), ":5:9: qa '0.8': must be keys and values, such as `{key: "),
    "an empty name": (changed("name: one", 'name: ""'), ":7:6: name '': must not be empty"),
    "a name without end": (changed("name: one", f"name: {'long ' * 99}"), ":7:6: name 'long long "),
    "an unknown model": (changed("candidates: small", "candidates: smal"), "no model has the id 'smal'; did you mean "),
    "a pattern that picks nothing": (changed("candidates: small", "candidates: 'gpt-*'"), "no model's id is like 'gpt"),
    "a pattern built to hang": (
        changed("candidates: small", f"candidates: '{'a*' * 99}b'"), ":7:35: candidates: no model's id is like 'a*a*a*",
    ),
    "an unknown language": (changed(WHEN, "{language: germn}"), "no language is called 'germn'"),
    "an unknown finding": (changed(WHEN, "{findings: emial}"), "no finding is called 'emial'; did you mean 'email'?"),
    "an unknown budget": (changed(WHEN, "{budget: {name: x, used: '>8%'}}"), "budget: no budget is called 'x'"),
    "a share without a sign": (changed(WHEN, "{budget: {name: x, used: 80%}}"), "must compare a share of the limit"),
    "two models of one id": (changed("id: large", "id: small").replace("s: large", "s: small"), ":4:6: model id 'smal"),
    "a key in place of its variable": (
        changed("call: fake/small", f"call: fake/small, api_key_env: {KEY}"), "api_key_env 'sk-p'…: must be the NAME o",
    ),
    "a version to come": (changed("version: 1", "version: 2"), ":1:1: version '2': this clearbar reads version 1; wri"),
    "evidence in a NUL": (more('evidence: "a\\0b"\n'), ":9:1: evidence 'a\\x00b': cannot be the name of a folder"),
    "an artifact of a long name": (more(f"artifact: {chr(0x4E00) * 99}\n"), ": cannot be the name of a folder"),
    # several files, several environments
    "an include that is not there": (more("include: nosuch.yaml\n"), ":9:1: include: nosuch.yaml: cannot be read (No "),
    "an include of itself": (more("include: p.yaml\n"), "an included file has only version, models, tasks, rules, bud"),
    "an include of a folder": (more("include: .\n"), ":9:1: include: .: cannot be read (Is a directory); give the pat"),
    "an include with a NUL": (more('include: "a\\0b"\n'), ":9:1: include: 'a\\x00b': cannot be read (embedded null by"),
    "an include that is a list of lists": (more("include: [[a]]\n"), ":9:11: include: must be text"),
    "an environment of a word": (more("environments: {dev: fast}\n"), ":9:16: dev 'fast': must be keys and values"),
    "an environment with a rule that is not there": (
        more("environments: {dev: {rules: {tow: {bar: 0}}}}\n"), ":9:30: rules: none has the name 'tow'; known are one",
    ),
    "an environment that breaks": (
        more("environments: {dev: {tasks: {qa: {bar: 7}}}}\n"), "bar '7': must be less than or equal to 1 (in the envi",
    ),
    "51 environments": (
        more("environments:\n" + "".join(f"  e{i}: {{}}\n" for i in range(51))), ":9:1: environments: 51 of ",
    ),
}  # fmt: skip


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Any]:
    """Runs `clearbar policy ARGUMENTS` in the folder; gives exit code, output and complaints."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["clearbar", "policy", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        code = ended.value.code
        assert isinstance(code, int)
        return code, *capsys.readouterr()

    return run


@pytest.mark.parametrize(("content", "told"), BROKEN.values(), ids=BROKEN.keys())
def test_a_broken_file_is_one_line_with_its_place(
    tmp_path: Path, command: Callable[..., Any], content: str | bytes, told: str
) -> None:
    (tmp_path / "p.yaml").write_bytes(content if isinstance(content, bytes) else content.encode())
    for arguments in (["check", "p.yaml"], ["show", "p.yaml"], ["test", "p.yaml"]):
        code, out, complaint = command(*arguments)
        assert code == 3
        assert out == ""
        assert complaint.startswith("clearbar: p.yaml:")
        assert complaint.endswith("\n")
        assert len(complaint.splitlines()) == 1
        assert told in complaint
        assert "Traceback" not in complaint
        assert KEY[8:] not in complaint


def _pipe(path: Path) -> None:
    os.mkfifo(path)


def _unreadable(path: Path) -> None:
    path.write_text(GOOD)
    path.chmod(0)
    if os.access(path, os.R_OK):
        pytest.skip("nothing is unreadable to this user")


ODD: dict[str, tuple[Callable[[Path], Any], str]] = {
    "nothing": (lambda path: None, "No such file or directory"),
    "a folder": (lambda path: path.mkdir(), "Is a directory"),
    "a pipe": (_pipe, "a pipe or a device, not a file on a disk"),
    "a device": (lambda path: path.symlink_to("/dev/zero"), "a pipe or a device, not a file on a disk"),
    "a link to itself": (lambda path: path.symlink_to(path), "Too many levels of symbolic links"),
    "a link to nothing": (lambda path: path.symlink_to("nowhere"), "No such file or directory"),
    "locked": (_unreadable, "Permission denied"),
    "10 MB": (lambda path: path.write_bytes(b"#" * (10 * MAX_BYTES)), "a policy file may have at most 1,000,000"),
    "100 GB of nothing": (lambda path: _sparse(path), "a policy file may have at most 1,000,000"),
}


def _sparse(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(100_000_000_000)


@pytest.mark.parametrize(("make", "why"), ODD.values(), ids=ODD.keys())
def test_what_is_no_file_to_read_says_so(
    tmp_path: Path, command: Callable[..., Any], make: Callable[[Path], Any], why: str
) -> None:
    make(tmp_path / "p.yaml")
    code, _, complaint = command("check", "p.yaml")
    assert code == 3
    assert complaint.startswith("clearbar: p.yaml: ")
    assert why in complaint
    assert len(complaint.splitlines()) == 1


@pytest.mark.parametrize(
    ("make", "why"), [ODD[name] for name in ("a folder", "a pipe", "a device", "a link to itself", "10 MB")],
    ids=["a folder", "a pipe", "a device", "a link to itself", "10 MB"],
)  # fmt: skip
def test_an_odd_evidence_file_hurts_nobody(
    tmp_path: Path, command: Callable[..., Any], make: Callable[[Path], Any], why: str
) -> None:
    (tmp_path / "evidence").mkdir()
    make(tmp_path / "evidence" / "qa--small.json")
    (tmp_path / "p.yaml").write_text(GOOD)
    code, out, _ = command("check", "p.yaml")
    assert code == 2
    assert "qa--small.json: not readable as JSON" in out


@pytest.mark.parametrize("name", ["prices/2026-01-01.yaml", "learned/manifest.json"])
def test_a_pipe_where_prices_or_an_artifact_should_be_is_not_waited_for(
    tmp_path: Path, command: Callable[..., Any], name: str
) -> None:
    (tmp_path / name).parent.mkdir()
    _pipe(tmp_path / name)
    (tmp_path / "p.yaml").write_text(more("artifact: learned\n"))
    _, out, complaint = command("check", "p.yaml")
    assert "a pipe or a device, not a file on a disk" in out + complaint


# What loads, but is hardly meant: told by `check` as a warning or as missing evidence.
DOUBTFUL: dict[str, tuple[str, str]] = {
    "a rule behind one that takes all": (changed("when: {task: qa}, ", ""), ":8:5: rule 'rest' is never reached: rule"),
    "a rule twice": (changed(REST, "name: two, when: {task: qa},"), ":8:5: rule 'two' is never reached: rule 'one' (l"),
    "a task taken before": (
        changed(REST, "name: rest, when: {task: [qa, sum]},"), "task 'qa' never comes to rule 'rest': rule 'one' (l",
    ),
    "a rule of the past": (changed(REST, "name: rest, until: 2020-01-31,"), ":8:18: rule 'rest' ended on 2020-01-31; "),
    "a rule that forbids itself": (changed(WHEN, "{task: qa, not: {task: qa}}"), "rule 'one' matches nothing: `not`"),
    "a model too small": (
        changed("call: fake/small", "call: fake/small, context: 10").replace(WHEN, "{input_tokens: {min: 20}}"),
        "candidates: 'small' is never asked: requests of 20 tokens and more do not fit its context of 10",
    ),
    "a limit below one token": (changed(REST, "name: rest, max_cost_usd: 0.00000001,"), "'large' is never asked: 7 to"),
    "data that may go nowhere": (changed(REST, "name: rest, data: {regions: mars},"), ":8:5: nobody is left to serve "),
    "a budget behind another": (
        more("budgets: [{name: a, scope: {team: x}, limit_usd: 9}, {name: b, limit_usd: 8}]\n"), ":9:11: budget 'a' ne",
    ),
    "a budget of a model that is not there": (
        more("budgets: [{name: a, scope: {model: smal}, limit_usd: 9}]\n"), "budget 'a' counts nothing: no model has t",
    ),
    "a bar without evidence": (changed("bar: 0}", "bar: 0.9}"), "candidate 'small': no evidence for task qa: needs at"),
    "no price": (changed(f", price: {PRICE}", ""), ":3:5: model 'small': price unknown; give `price: {input: ..., out"),
    "a slip of a tag": (changed(WHEN, "{tags: {custommer: x}}"), "tag 'custommer' is not 'customer', which requests h"),
    "a key in a comment": (changed("version: 1", f"version: 1 # {KEY}"), ":1:12: what looks like a key stands in the "),
    "a login in an address": (
        changed("call: fake/small", "call: fake/small, api_base: 'http://me:secret1@x.example/v1'"), "looks like a pas",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("text", "told"), DOUBTFUL.values(), ids=DOUBTFUL.keys())
def test_what_is_hardly_meant_is_told_with_its_place(
    tmp_path: Path, command: Callable[..., Any], text: str, told: str
) -> None:
    (tmp_path / "p.yaml").write_text(text)
    code, out, complaint = command("check", "p.yaml")
    assert (code, complaint) == (2 if "no evidence" in told else 0, "")
    (line,) = [line for line in out.splitlines() if told in line]
    assert line.startswith(("warning      p.yaml:", "no evidence  p.yaml:"))
    assert KEY[8:] not in out
    assert command("check", "p.yaml", "--strict")[0] == (2 if "no evidence" in told else 1)


def test_a_policy_without_mistakes_has_nothing_told(tmp_path: Path, command: Callable[..., Any]) -> None:
    (tmp_path / "p.yaml").write_text(GOOD)
    assert command("check", "p.yaml", "--strict") == (0, "p.yaml: 2 rules, 2 models: holds\n", "")


def many(count: int, line: str) -> str:
    return "".join(line.format(i=i) for i in range(count))


HEAD = "version: 1\nmodels: [{id: s, call: fake/s, price: {input: 1, output: 2}}]\n"
ALL = "rules: [{candidates: s, strategy: fixed}]\n"
MODELS = "version: 1\nmodels:\n" + many(2_000, "  - {{id: model-{i}, call: fake/s, tags: {{a: b}}}}\n")
BOMBS: dict[str, str] = {
    "models without end": "version: 1\nmodels:\n" + many(20_000, "  - {{id: m{i}, call: fake/s}}\n") + ALL,
    "same models without end": "version: 1\nmodels:\n" + many(2_000, "  - {{id: s, call: x}}\n") + ALL,
    "slips without end": MODELS + "rules:\n" + many(10_000, "  - {{candidates: modal-{i}, bar: 0}}\n"),
    "patterns without end": MODELS + "rules:\n" + many(10_000, "  - {{candidates: '*{i}', bar: 0}}\n"),
    "picks without end": MODELS + "rules:\n" + many(10_000, "  - {{candidates: {{tag: {{a: b}}}}, bar: 0}}\n"),
    "patterns that branch": MODELS.replace("model-", "a" * 190 + "-")
    + f"rules: [{{bar: 0, candidates: [{', '.join(repr('a*' * 90 + str(i)) for i in range(500))}]}}]\n",
    "environments without end": HEAD + ALL + "environments:\n" + many(5_000, "  e{i}: {{data: {{keep_days: 3}}}}\n"),
    "large environments": HEAD + "rules:\n" + many(9_000, "  - {{candidates: s, bar: 0}}\n")
    + "environments:\n" + many(40, "  e{i}: {{data: {{keep_days: 3}}}}\n"),
    "unknown keys without end": HEAD + ALL + many(50_000, "key{i}: 1\n"),
    "languages without end": HEAD + "rules: [{candidates: s, bar: 0, when: {language: ["
    + many(50_000, "xx{i},") + "]}}]\n",
    "hours without end": HEAD
    + "rules: [{candidates: s, bar: 0, when: {time: {hours: [" + many(60_000, "08:00-18:00,") + "]}}}]\n",
    "clocks without end": HEAD + "rules:\n"
    + many(9_999, "  - {{candidates: s, bar: 0, when: {{time: {{days: mon}}}}}}\n"),
    "tasks without end": HEAD + "rules:\n  - {candidates: s, bar: 0, when: {task: [" + many(90_000, "x{i},") + "]}}\n",
    "rules apart without end": HEAD + "rules:\n"
    + many(9_999, "  - {{candidates: s, bar: 0, when: {{tags: {{a: v{i}}}}}}}\n"),
    "bars without end": HEAD + "tasks:\n" + many(2_000, "  t{i}: {{bar: 0.9}}\n")
    + "rules:\n" + many(2_000, "  - {{candidates: s, bar: 0.9}}\n"),
    "nots without end": HEAD + "rules:\n"
    + ("  - {candidates: s, bar: 0, when: {not: [" + many(150, "{{tags: {{a: v{i}, b: w{i}}}}},") + "]}}\n") * 100,
    "tags without end": HEAD + "rules:\n"
    + ("  - {candidates: s, bar: 0, when: {tags: {" + many(200, "k{i}: v,") + "}}}\n") * 300,
    "budgets without end": HEAD + ALL + "budgets:\n" + many(2_000, "  - {{scope: {{a: b{i}}}, limit_usd: 3}}\n"),
    "slips in tests": HEAD + "rules:\n" + many(2_000, "  - {{name: rule{i}, candidates: s, bar: 0}}\n")
    + "tests:\n" + many(5_000, "  - {{given: {{text: x}}, expect: {{rule: rula{i}}}}}\n"),
    "shares without end": HEAD + "budgets: [{name: a, limit_usd: 3}]\nrules:\n"
    + many(5_000, "  - {{candidates: s, bar: 0, when: {{budget: {{name: a, used: '>9.{i}%'}}}}}}\n"),
    "a rule repeated by aliases": HEAD
    + "rules:\n  - &r {bar: 0, candidates: [" + many(180, "s,") + "]}\n" + "  - *r\n" * 900,
    "a mistake repeated by aliases": HEAD
    + "rules:\n  - &r {bar: 0, candidates: [" + many(90, "{{a: b}},") + "]}\n" + "  - *r\n" * 900,
    "one long word": HEAD + f"rules: [{{candidates: {'x' * 900_000}, bar: 0}}]\n",
    "one long key": HEAD + ALL + "x" * 900_000 + ": 1\n",
    "one long comment": "# " + "password=a " * 80_000 + "\n" + HEAD + ALL,
    "prices without end": "version: 1\nmodels: [{id: s, call: fake/s, price: ["
    + many(10_000, "{{input: 1, output: 1, effective: 2026-01-01}},") + "]}]\n" + ALL,
}  # fmt: skip

PROBE = """\
import sys
from pathlib import Path
from router.errors import PolicyError
from router.policy import check, load_policy
for path in sorted(Path(sys.argv[1]).glob("*.yaml")):
    try:
        told = [finding.text for finding in check(load_policy(path))]
    except PolicyError as error:
        told = list(error.problems)
        assert 0 < len(told) <= int(sys.argv[2]), (path.name, len(told))
    assert len(told) <= 8_000, path.name
    assert all(line.startswith(str(path)) and len(line.splitlines()) == 1 for line in told), path.name
    print(path.stem, flush=True)
"""


SOME = [
    "a mistake repeated by aliases", "a rule repeated by aliases", "environments without end", "patterns without end",
    "same models without end", "tags without end", "unknown keys without end",
]  # fmt: skip


@pytest.mark.parametrize("names", [SOME, pytest.param(sorted(BOMBS), marks=pytest.mark.long)], ids=["some", "all"])
def test_files_built_to_take_for_ever_are_done_with_soon(tmp_path: Path, names: list[str]) -> None:
    """All of them together in two minutes of one processor and 2 GB: one that goes square by square takes hours."""
    for name in names:
        assert len(BOMBS[name]) <= MAX_BYTES, name
        (tmp_path / f"{name}.yaml").write_text(BOMBS[name])

    def limited() -> None:
        resource.setrlimit(resource.RLIMIT_CPU, (120, 120))
        resource.setrlimit(resource.RLIMIT_AS, (2 << 30, 2 << 30))

    done = subprocess.run(
        [sys.executable, "-c", PROBE, str(tmp_path), str(MOST_TOLD + 1)], capture_output=True, text=True, check=False,
        preexec_fn=limited,
    )  # fmt: skip
    assert done.stdout.splitlines() == names, done.stderr[-2_000:]


def _problems(text: str, folder: Path) -> Iterator[str]:
    (folder / "p.yaml").write_text(text)
    with pytest.raises(PolicyError) as caught:
        load_policy(folder / "p.yaml")
    yield from caught.value.problems


def test_of_very_many_mistakes_the_first_are_told_and_the_others_counted(tmp_path: Path) -> None:
    *lines, last = _problems(HEAD + ALL + many(500, "key{i}: 1\n"), tmp_path)
    assert [int(line.split(":")[1]) for line in lines] == list(range(4, 4 + MOST_TOLD))
    assert last == f"{tmp_path / 'p.yaml'}:104:1: and 400 more mistakes from here on"


def test_of_very_many_findings_the_first_are_told(tmp_path: Path) -> None:
    (tmp_path / "p.yaml").write_text(HEAD + "rules:\n" + many(2_000, "  - {{candidates: s, bar: 0}}\n"))
    found = [finding.text for finding in check(load_policy(tmp_path / "p.yaml"))]
    assert len(found) == 1_001
    assert found[-1].endswith("more findings like the one before than the 1,000 that are told")
