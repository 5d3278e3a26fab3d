"""Any file either loads or is refused in lines with places; what loads can be checked, shown, tested and matched."""

from __future__ import annotations

import json
import os
import re
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy

from router.cli.policy import policy as policy_command
from router.errors import PolicyError
from router.policy import Traits, check, load_policy
from router.policy.editors import editor_schema
from router.types import Request, Tags

NOW = datetime(2026, 3, 2, 9, tzinfo=UTC)
SECRET = "ABCDEFG1234567890"
CPU_S = 20.0
"""Of one input, a hundred times what the largest of them takes."""
REQUESTS = [
    Request(id="r", messages=({"role": "user", "content": "Sum this up: a@b.example, 4111 1111 1111 1111"},)),
    Request(
        id="r",
        messages=({"role": "user", "content": [{"type": "image_url", "image_url": {"url": "https://x.example/a"}}]},),
        params={"tools": [{"type": "function", "function": {"name": "f"}}], "max_tokens": 5},
        tags=Tags(team="a", customer="b", extra={"plan": "c"}),
    ),
    Request(id="r", messages=(), params={"input": "abc"}, kind="embedding"),
]

# Words that are right somewhere, and values that are right nowhere.
WORDS = [
    "small", "large", "qa", "sum", "a", "b", "teams", "rest", "local", "fake/small", "openai/gpt-5.4-nano", "*", "s*",
    "[a-z]*", "team", "customer", "run_id", "model", "provider", "plan", "user", "hi", "2026-01-31", "UTC",
    "2026-12-31T18:00+01:00", "Europe/Berlin", "mon-fri", "08:00-18:00", "22:00-06:00", ">80%", "<=5%", "80%", "5%",
    "24h", "90s", "OPENAI_API_KEY", "https://me:secret1@x.example/v1", "http://127.0.0.1:1/v1", "de", "pii", "cost",
]  # fmt: skip
NUMBERS = [
    "0",
    "1",
    "0.5",
    "0.9",
    "2",
    "7",
    "100",
    "4096",
    "0.000001",
    "-0",
    "-1",
    "1e3",
    "1e-40",
    "1e999",
    "nan",
    "inf",
]
ODD = [
    "", "null", "~", "true", "no", "0x10", "1_000", "9" * 400, "\u0661", "\uff11", "\u200b", "\U0001f4a5", "a\u0301",
    "\0", "\x1b", "\ufeff", "\u2028", "\x85", "x" * 201, f"sk-proj-{SECRET}abcdefg", "!!str", "&a", "*a", "<<",
    "../..", "/dev/zero", "p.yaml", "NaN", "2026-02-30", "0001-01-01", "9999-12-31", "0000-00-00", "-", "?", "'", '"',
]  # fmt: skip
SCALARS = st.one_of(st.sampled_from(WORDS), st.sampled_from(NUMBERS), st.sampled_from(ODD), st.text(max_size=8))


@cache
def _definitions() -> dict[str, Any]:
    schema = editor_schema()
    return {"": schema, **schema["$defs"]}


def of_schema(draw: DrawFn, schema: dict[str, Any], depth: int = 0) -> Any:
    """A value that is nearly as the editors' schema says."""
    if "$ref" in schema:
        return of_schema(draw, _definitions()[schema["$ref"].rpartition("/")[2]], depth)
    if (some := schema.get("anyOf") or schema.get("oneOf")) is not None:
        return of_schema(draw, some[draw(st.integers(0, len(some) - 1))], depth)
    if "enum" in schema or "const" in schema:
        return draw(st.sampled_from(schema.get("enum") or [schema["const"]]))
    if draw(st.integers(0, 40)) == 0:
        return draw(SCALARS)
    kind = schema.get("type")
    if kind == "object" and depth < 7:
        known = schema.get("properties", {})
        wanted = set(schema.get("required", ()))
        chance = 2 if depth else 3
        names = [name for name in known if name in wanted or draw(st.integers(0, chance * 2)) == 0]
        value = {name: of_schema(draw, known[name], depth + 1) for name in names}
        inner = schema.get("additionalProperties")
        if isinstance(inner, dict) or (inner is not False and not known):
            inner = inner if isinstance(inner, dict) else {}
            for name in draw(st.lists(st.sampled_from(["qa", "team", "model", "80%", "dev"]), max_size=2)):
                value[name] = of_schema(draw, inner, depth + 1)
        return value
    if kind == "array" and depth < 7:
        least = schema.get("minItems", 0)
        return [of_schema(draw, schema.get("items", {}), depth + 1) for _ in range(draw(st.integers(least, least + 2)))]
    if kind in ("integer", "number"):
        return draw(st.sampled_from(NUMBERS[:9]))
    if kind == "boolean":
        return draw(st.booleans())
    return draw(st.sampled_from(WORDS) if draw(st.integers(0, 9)) else SCALARS)


# Values that are right where they stand; most policies are put together out of them.
WHENS: dict[str, list[Any]] = {
    "task": ["qa", ["qa", "sum"]],
    "tags": [{"team": "a"}, {"team": ["a", "b"], "plan": "c"}, {"custommer": "b"}],
    "input_tokens": [{"min": 1}, {"max": 9}, {"min": 5, "max": 5000}],
    "language": ["de", ["en", "unknown"]],
    "modality": ["text", ["image", "audio"]],
    "tools": [True, False],
    "findings": ["pii", ["secrets", "email"]],
    "time": [{"days": "mon-fri"}, {"hours": ["22:00-06:00", "8:00-9:00"], "tz": "Europe/Berlin"}],
    "budget": [{"name": "teams", "used": ">80%"}, {"name": "all", "used": "<=200%"}],
}
RULE: dict[str, list[Any]] = {
    "from": ["2026-01-31", "2026-01-01T00:00+14:00"],
    "until": ["2026-12-31T18:00+01:00", "9998-12-31"],
    "strategy": ["single", "fixed", "cascade"],
    "buffer": [True],
    "fallback": ["large", ["l*"], [{"tag": {"tier": "cheap"}}]],
    "max_cost_usd": ["0.000001", 0, 5],
    "max_latency_ms": [1, 5000],
    "canary": [{"model": "large", "percent": "5%"}, {"model": "small", "percent": 50, "by": "customer"}],
    "sticky": ["run_id", {"by": "customer", "switch": "cost", "idle": "1h"}],
    "cache": ["exact", False, {"mode": "exact", "ttl": "90s", "tags": ["plan"]}],
    "data": [{"local_only": True}, {"regions": ["eu"]}, {"log": "none"}],
    "learning": [{"from_feedback": True, "explore": 0.1}],
    "bar": [0, 0.9, {"min": 0.8, "confidence": 0.9}, {"max_drop": 0.02, "vs": "large"}],
}
MODEL: dict[str, list[Any]] = {
    "price": [
        {"input": 1, "output": "2.50"},
        [{"input": 0, "output": 0}, {"input": 3, "output": 4, "effective": "2026-01-31"}],
    ],
    "context": [9, 128000],
    "max_output_tokens": [1, 100000],
    "capabilities": ["tools", ["vision", "json"], ["magic"]],
    "region": ["eu", "local"],
    "api_base": ["http://127.0.0.1:1/v1", "https://me:secret1@x.example/v1"],
    "api_key_env": ["OPENAI_API_KEY"],
    "tags": [{"tier": "cheap"}],
    "deployments": [[{"region": "eu"}, {"call": "fake/b"}]],
}
BUDGET: dict[str, list[Any]] = {
    "scope": [{"team": "*"}, {"team": ["a", "b"]}, {"model": "small"}, {"provider": "fake"}, {"task": "qa"}],
    "window": ["day", "month", {"rolling": "24h"}],
    "at": [{"80%": "notify", "100%": "deny"}, {"50%": "downgrade"}, {"90%": "wait", "200%": "approve"}],
    "unknown": ["allow"],
}
TOP: dict[str, list[Any]] = {
    "data": [{"store_text": "full", "keep_days": 3}],
    "learning": [{"from_feedback": True}],
    "required_tags": ["team"],
    "breaker": ["shadow", {"mode": "on", "limits": {"calls": 9}}],
    "alerts": [{"sink": "log"}, [{"sink": "slack", "url_env": "SLACK_URL", "on": "budgets"}]],
    "environments": [{"dev": {"rules": {"r0": {"bar": 0}}}}, {"dev": {"data": {"keep_days": 9}}, "prod": {}}],
    "tests": [{"given": {"text": "hi", "team": "a"}, "expect": {"refused": False}},
              [{"given": {"text": "x", "tools": True, "at": "2026-01-01"}, "expect": {"rule": "r0", "model": "s"}}]],
}  # fmt: skip


def some(draw: DrawFn, values: dict[str, list[Any]], chance: int) -> dict[str, Any]:
    """Some of the keys, with a value each."""
    return {name: draw(st.sampled_from(known)) for name, known in values.items() if not draw(st.integers(0, chance))}


@st.composite
def policies(draw: DrawFn) -> dict[str, Any]:
    """Policies that are right or nearly so: right parts, of which one or the other is replaced by something drawn."""
    if not draw(st.integers(0, 9)):
        drawn = of_schema(draw, _definitions()[""])
        return drawn if isinstance(drawn, dict) else {}
    rules = []
    for i in range(draw(st.integers(1, 5))):
        when: dict[str, Any] = some(draw, WHENS, 4)
        if nots := [some(draw, WHENS, 6) for _ in range(draw(st.integers(0, 2)))]:
            when["not"] = nots
        candidates = draw(st.sampled_from([["small"], ["large", "small"], "*", {"tag": {"tier": "cheap"}}]))
        rules.append({"name": f"r{i}", "when": when, "candidates": candidates, "bar": 0, **some(draw, RULE, 9)})
    value: dict[str, Any] = {
        "version": 1,
        "models": [{"id": name, "call": f"fake/{name}", "tags": {"tier": "cheap"}, **some(draw, MODEL, 4)}
                   for name in ("small", "large")],
        "tasks": {"qa": {"bar": 0.9}, "sum": {"bar": 0.5}},
        "rules": rules,
        "budgets": [{"name": name, "limit_usd": draw(st.sampled_from([0, 5, "0.1"])), **some(draw, BUDGET, 3)}
                    for name in ("teams", "all")],
        **some(draw, TOP, 5),
    }  # fmt: skip
    for _ in range(draw(st.sampled_from([0, 0, 0, 1, 1, 2]))):
        _replace_one(draw, value)
    return value


def _replace_one(draw: DrawFn, value: Any) -> None:
    """Put something drawn in place of a value somewhere inside."""
    while True:
        keys: list[Any] = list(value) if isinstance(value, dict) else list(range(len(value)))
        if not keys:
            return
        key = draw(st.sampled_from(keys))
        inner = value[key]
        if not isinstance(inner, (dict, list)) or not inner or not draw(st.integers(0, 4)):
            names = [name for name in _definitions() if name]
            drawn = of_schema(draw, _definitions()[draw(st.sampled_from(names))], 4) if draw(st.booleans()) else None
            value[key] = draw(SCALARS) if drawn is None else drawn
            return
        inner = value[key] = inner.copy()  # the parts are shared
        value = inner


@st.composite
def texts(draw: DrawFn) -> bytes:
    """Such a policy as a file, with some of its bytes, words or lines changed."""
    text = json.dumps(draw(policies()), indent=draw(st.sampled_from([None, 1])), ensure_ascii=draw(st.booleans()))
    data = text.encode("utf-8", "surrogatepass")
    for _ in range(draw(st.integers(0, 3)) if draw(st.booleans()) else 0):
        at = draw(st.integers(0, len(data)))
        change = draw(st.integers(0, 5))
        if change == 0:
            data = data[:at] + draw(st.binary(max_size=4)) + data[at:]
        elif change == 1:
            data = data[:at] + data[at + draw(st.integers(1, 9)) :]
        elif change == 2:
            data = data[:at] + draw(st.sampled_from(ODD)).encode() + data[at:]
        elif change == 3:
            lines = data.split(b"\n")
            line = draw(st.integers(0, len(lines) - 1))
            data = b"\n".join([*lines[:line], *[lines[line]] * draw(st.sampled_from([0, 2])), *lines[line + 1 :]])
        elif change == 4:
            data = data.replace(b'"', b"", draw(st.integers(1, 30)))
        else:
            data = re.sub(rb'"(\w+)": \[', rb'"\1": &x [', data, count=1).replace(b"null", b"*x")
    return data


RAW = st.one_of(
    st.binary(max_size=200),
    st.text(alphabet="ab:-[]{}&*!|>'\"#%@,? \n\t~<\x00\xe9", max_size=80).map(str.encode),
    st.lists(st.sampled_from(["version: 1", "models:", "- id: small", "rules:", "  ", "\n", "{", "}", "when:",
                              "&a", "candidates: small", "*a", "[", "]", ":", "include: p.yaml", "environments:"]),
             max_size=30).map(lambda parts: " ".join(parts).encode()),
)  # fmt: skip


@contextmanager
def no_longer_than(seconds: float) -> Iterator[None]:
    """Stop what takes more of the processor's time than this; waiting for the processor does not count."""

    def stop(*_: object) -> None:
        raise AssertionError(f"more than {seconds:g} s of the processor")

    before = signal.signal(signal.SIGVTALRM, stop)
    signal.setitimer(signal.ITIMER_VIRTUAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)


def hold(path: Path, data: bytes) -> bool:
    """Whether a file loads; whichever way, what must hold then does."""
    path.write_bytes(data)
    with no_longer_than(CPU_S):
        try:
            policy = load_policy(path)
        except PolicyError as error:
            assert error.problems
            for line in error.problems:
                assert len(line.splitlines()) == 1, line
                assert SECRET not in line
            assert any(re.match(re.escape(str(path)) + r":\d+(:\d+)?: ", line) for line in error.problems), (
                error.problems
            )
            return False
        for finding in check(policy, NOW):
            assert len(finding.text.splitlines()) == 1, finding.text
            assert SECRET not in finding.text
            assert re.match(r"[^:]+:(\d+:(\d+:)?)? ", finding.text), finding.text
        for request in REQUESTS:
            for task in ("qa", None):
                position = policy.table.match(Traits(request, task=task, now=NOW))
                assert position is None or 0 <= position < len(policy.rules)
        again = path.with_name("again.yaml")
        commands = (["check"], ["show"], ["show", "--resolved"], ["diff", str(again)], ["fmt", "--stdout"], ["test"])
        for arguments in commands:
            ran = CliRunner().invoke(policy_command, [*arguments, str(path)])
            assert isinstance(ran.exception, (SystemExit, PolicyError, type(None))), (arguments, ran.exception)
            if {"--resolved", "--stdout"} & set(arguments):
                again.write_text(ran.stdout, encoding="utf-8")
                assert load_policy(again).routes_version == policy.routes_version, arguments
    return True


FEW = settings(
    phases=[Phase.explicit, Phase.generate], suppress_health_check=list(HealthCheck), deadline=None, database=None
)
FILES: SearchStrategy[bytes] = texts()


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("CLEARBAR_ENV", raising=False)
    return tmp_path / "p.yaml"


@settings(FEW, max_examples=150)
@given(data=FILES)
def test_a_policy_that_is_nearly_right_loads_or_is_refused_with_a_place(place: Path, data: bytes) -> None:
    hold(place, data)


@settings(FEW, max_examples=200)
@given(data=RAW)
def test_any_bytes_load_or_are_refused_with_a_place(place: Path, data: bytes) -> None:
    hold(place, data)


def test_the_fuzzer_draws_policies_of_which_many_load(place: Path) -> None:
    came: list[bool] = []

    @settings(FEW, max_examples=80, derandomize=True)
    @given(data=FILES)
    def draw(data: bytes) -> None:
        came.append(hold(place, data))

    draw()
    assert 0.1 < sum(came) / len(came) < 0.9


@pytest.mark.long
def test_ten_minutes_of_drawn_policies_hurt_nobody(place: Path) -> None:
    begun, minutes = time.monotonic(), float(os.environ.get("CLEARBAR_FUZZ_MINUTES", "10"))
    count = loaded = 0

    @settings(FEW, max_examples=300)
    @given(data=st.one_of(FILES, FILES, RAW))
    def draw(data: bytes) -> None:
        nonlocal count, loaded
        count += 1
        loaded += hold(place, data)

    while time.monotonic() - begun < 60 * minutes:
        draw()
    print(f"{count:,} files, of which {loaded:,} loaded")  # noqa: T201  what a run of it was worth
