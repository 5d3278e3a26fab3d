"""Models that are banned, on trial or past their sunset: nobody asks them, in whatever part."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import router
from router import FakeTransport
from router.decide import Ruling, decide
from router.errors import NoRouteError, PolicyError, ProviderUnavailableError, RouterError
from router.foreseen import _verifier
from router.offers import Sheet
from router.policy import Bar, check, load_policy
from router.policy.standing import day_shown
from router.reproduce import reproduce
from router.trial_run import try_policy
from router.types import Request
from router.warmth import Known

NOW = datetime(2026, 9, 20, 12, tzinfo=UTC)
END = datetime(2026, 10, 1, tzinfo=UTC)
MODELS = """\
version: 1
models:
  - {id: small, call: fake/small, price: {input: 1, output: 1}, capabilities: [embedding]}
  - {id: large, call: fake/large, price: {input: 2, output: 2}%s}
  - {id: spare, call: fake/spare, price: {input: 3, output: 3}}
"""
BANNED = ", status: banned, owner: search team"
TRIAL = ", status: trial, owner: search team"
SUNSET = ", sunset: 2026-10-01, owner: search team"
HELLO = ({"role": "user", "content": "hello"},)
Make = Callable[..., router.Router]


def ruled(folder: Path, said: str, rules: str, now: datetime = NOW, **request: Any) -> Ruling:
    (folder / "p.yaml").write_text(MODELS % said + rules, encoding="utf-8")
    asked = Request(**{"id": "r1", "kind": "chat", "messages": HELLO, **request})
    known = Known(session=lambda _: "large") if "sticky" in rules else Known()
    return decide(asked, load_policy(folder / "p.yaml"), None, now, known=known)


PARTS = {
    "candidate": ("{candidates: [large, spare], bar: 0}", {}),
    "of a fixed rule": ("{candidates: [large, spare], strategy: fixed}", {}),
    "by a pattern": ("{candidates: ['l*', spare], strategy: fixed}", {}),
    "fallback": ("{candidates: [spare], strategy: fixed, fallback: [large]}", {}),
}


@pytest.mark.parametrize("said", [BANNED, SUNSET, TRIAL], ids=["banned", "past its sunset", "on trial"])
@pytest.mark.parametrize("part", PARTS)
def test_it_is_in_no_plan_and_the_decision_says_why(tmp_path: Path, part: str, said: str) -> None:
    row, request = PARTS[part]
    decision = ruled(tmp_path, said, f"rules: [{row}]", END, **request).decision
    (why,) = [one.reason for one in decision.candidates if one.model == "large"]
    assert decision.plan == ("spare",)
    assert (
        why.removeprefix("fallback, but ")
        == {
            BANNED: "banned; owner: search team",
            SUNSET: "sunset 2026-10-01 has passed; owner: search team",
            TRIAL: "on trial: only as canary or shadow, or by name; owner: search team",
        }[said]
    )


@pytest.mark.parametrize(
    ("said", "is_in"), [("", True), (", status: approved", True), (TRIAL, True), (BANNED, False), (SUNSET, False)],
    ids=["without a status", "approved", "on trial", "banned", "past its sunset"],
)  # fmt: skip
def test_a_canary_is_what_a_trial_is_for_and_what_is_banned_is_none(tmp_path: Path, said: str, is_in: bool) -> None:
    rule = "rules: [{name: r, candidates: [spare], bar: 0, canary: {model: large, percent: 100%}}]"
    ruling = ruled(tmp_path, said, rule, END)
    assert (ruling.canary is not None, ruling.decision.plan[0]) == ((True, "large") if is_in else (False, "spare"))


def test_no_verifier_and_no_reference_of_a_drop_is_asked_that_may_not_serve(tmp_path: Path) -> None:
    cascade = "rules: [{candidates: [small, spare], strategy: cascade, bar: 0, verifier: large}]"
    assert ruled(tmp_path, BANNED, cascade).decision.verifier == (
        "large: not asked, since it is banned; owner: search team"
    )
    assert "no artifact" in (ruled(tmp_path, "", cascade).decision.verifier or "")
    drop = "rules: [{candidates: [small, large], bar: {max_drop: 0.02, vs: large}}]"
    assert ruled(tmp_path, BANNED, drop).decision.plan == ()


def test_a_learned_plan_has_neither_rung_nor_verifier_that_may_not_serve(tmp_path: Path) -> None:
    (tmp_path / "p.yaml").write_text(MODELS % SUNSET + "rules: [{candidates: '*', bar: 0}]")
    policy, request = load_policy(tmp_path / "p.yaml"), Request(id="r1", kind="chat", messages=HELLO)
    rule = policy.rules[0].model_copy(update={"verifier": "large"})

    def sheet(now: datetime) -> Sheet:
        return Sheet(request, policy, task=None, bar=Bar(min=0.0), limit=None, input_bound=0, now=now, known=Known())

    assert sheet(END).misfit("large") == "sunset 2026-10-01 has passed; owner: search team"
    assert [_verifier(request, sheet(now), rule) is None for now in (NOW, END)] == [False, True]


@pytest.mark.parametrize(
    ("said", "is_asked"), [("", True), (TRIAL, True), (BANNED, False), (", sunset: 2020-01-01", False)],
    ids=["without a status", "on trial", "banned", "past its sunset"],
)  # fmt: skip
def test_a_shadow_is_what_a_trial_is_for_too(tmp_path: Path, said: str, is_asked: bool) -> None:
    rule = "rules: [{name: r, candidates: [spare], bar: 0, shadow: {model: large, percent: 100%}}]"
    shade = ruled(tmp_path, said, rule).decision.shadow
    assert shade is not None
    assert (shade.barred is None) is is_asked


def test_a_pinned_model_on_trial_is_asked_and_a_banned_one_is_refused_with_its_owner(tmp_path: Path) -> None:
    rules = "rules: [{candidates: [spare], strategy: fixed}]"
    assert ruled(tmp_path, TRIAL, rules, model="large").decision.plan == ("large",)
    with router.Router(tmp_path / "p.yaml", tmp_path / "s", FakeTransport()) as serving:
        (tmp_path / "p.yaml").write_text(MODELS % BANNED + rules)
        serving.reload()
        with pytest.raises(NoRouteError, match=r"pinned\): large: banned; owner: search team"):
            serving.complete(HELLO, model="large")


def test_an_embedding_is_not_sent_to_another_model_than_the_banned_one(tmp_path: Path) -> None:
    text = (MODELS % "").replace("capabilities: [embedding]}", "capabilities: [embedding], status: banned}")
    text = text.replace("id: spare,", "id: spare, capabilities: [embedding],")
    (tmp_path / "p.yaml").write_text(text + "rules: [{candidates: [spare], strategy: fixed}]")
    with (
        router.Router(tmp_path / "p.yaml", tmp_path / "s", FakeTransport()) as serving,
        pytest.raises(NoRouteError, match="small: banned"),
    ):
        serving.embed("a text")


def test_a_session_leaves_a_model_at_its_sunset(tmp_path: Path) -> None:
    rules = "rules: [{candidates: [small, large], bar: 0, sticky: run_id}]"
    before = ruled(tmp_path, SUNSET, rules, END - timedelta(microseconds=1), tags=router.types.Tags(run_id="a"))
    assert before.decision.plan[0] == "large"
    assert ruled(tmp_path, SUNSET, rules, END, tags=router.types.Tags(run_id="a")).decision.plan == ("small",)


@pytest.mark.parametrize(
    ("given", "last", "first"),
    [
        ("2026-10-01", "2026-09-30T23:59:59+00:00", "2026-10-01T00:00:00+00:00"),
        ("2026-10-01T18:00+02:00", "2026-10-01T15:59:59+00:00", "2026-10-01T16:00:00+00:00"),
    ],
    ids=["a day", "a moment"],
)
def test_a_sunset_holds_from_its_moment_on(tmp_path: Path, given: str, last: str, first: str) -> None:
    rules = "rules: [{candidates: [large], strategy: fixed}]"
    plans = [ruled(tmp_path, f", sunset: {given}", rules, datetime.fromisoformat(at)).decision.plan
             for at in (last, first)]  # fmt: skip
    assert plans == [("large",), ()]


def test_a_policys_own_tests_meet_the_sunset_at_their_moment(tmp_path: Path) -> None:
    (tmp_path / "p.yaml").write_text(
        MODELS % SUNSET
        + """\
rules: [{candidates: [large], fallback: [spare], strategy: fixed}]
tests:
  - {given: {text: hi, at: 2026-09-30}, expect: {models: [large, spare]}}
  - {given: {text: hi, at: 2026-10-01}, expect: {models: [spare]}}
  - {given: {text: hi, model: large, at: 2026-10-01}, expect: {refused: true}}
"""
    )
    tried = try_policy(load_policy(tmp_path / "p.yaml"), None, NOW)
    assert [one.misses for one in tried] == [(), (), ()]


def test_no_stored_answer_outlives_its_models_sunset_or_ban(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    soon = datetime.now(UTC) + timedelta(days=1)
    rules = "rules: [{candidates: [large, spare], bar: 0, cache: exact}]"
    (tmp_path / "p.yaml").write_text(MODELS % f", sunset: {soon:%Y-%m-%dT%H:%M:%S}+00:00" + rules)
    with router.Router(tmp_path / "p.yaml", tmp_path / "s", FakeTransport()) as serving:
        request = Request(id="r", kind="chat", messages=HELLO)
        keys = {serving._kit.caches.fingerprint(request)}
        assert [serving.complete(HELLO).model for _ in range(2)] == ["large", "large"]

        class Later(datetime):
            @classmethod
            def now(cls, tz: Any = None) -> datetime:  # type: ignore[override]
                return datetime.now(tz) + timedelta(days=2)

        monkeypatch.setattr("router._caches.datetime", Later)
        monkeypatch.setattr("router._kit.datetime", Later)
        keys.add(serving._kit.caches.fingerprint(request))
        assert len(keys) == 2
        assert serving.complete(HELLO).model == "spare"
        monkeypatch.undo()
        (tmp_path / "p.yaml").write_text(MODELS % BANNED + rules)
        serving.reload()
        assert serving.complete(HELLO).model == "spare"


def test_a_decision_before_the_sunset_can_be_made_again_after_it(tmp_path: Path) -> None:
    soon = datetime.now(UTC) + timedelta(days=1)
    rules = "rules: [{candidates: [large, spare], strategy: fixed}]\ndata: {store_text: full}\n"
    (tmp_path / "p.yaml").write_text(MODELS % f", sunset: {soon:%Y-%m-%dT%H:%M:%S}+00:00" + rules)
    with router.Router(tmp_path / "p.yaml", tmp_path / "s", FakeTransport()) as serving:
        done = serving.complete(HELLO)
        again = reproduce(done.id, serving.ledger, tmp_path / "s", tmp_path / "p.yaml")
    assert (again.is_same, again.why) == (True, None)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    said=st.sampled_from([BANNED, ", sunset: 2020-01-01"]),
    rule=st.sampled_from([
        "candidates: '*', bar: 0", "candidates: '*', strategy: fixed", "candidates: [spare], fallback: [large], bar: 0",
        "candidates: '*', strategy: cascade, bar: 0", "candidates: '*', bar: 0, sticky: {by: run_id, switch: never}",
        "candidates: [small], bar: 0, canary: {model: large, percent: 100}", "candidates: [large], strategy: fixed",
        "candidates: '*', bar: 0, cache: exact",
        "candidates: [small, spare], strategy: cascade, bar: 0, verifier: large",
    ]),
    pin=st.sampled_from([None, None, None, "large", "small"]),
    failing=st.sets(st.sampled_from(["small", "spare"])),
    stream=st.booleans(),
    is_embedding=st.booleans(),
)  # fmt: skip
def test_no_call_ever_reaches_it(
    tmp_path: Path, said: str, rule: str, pin: str | None, failing: set[str], stream: bool, is_embedding: bool
) -> None:
    (tmp_path / "p.yaml").write_text(MODELS % said + f"rules: [{{{rule}}}]")
    transport = FakeTransport({model: ProviderUnavailableError("down") for model in failing})
    with router.Router(tmp_path / "p.yaml", tmp_path / "s", transport) as serving, contextlib.suppress(RouterError):
        if is_embedding:
            serving.embed("a text", model=pin)
        done = serving.complete(HELLO, model=pin, stream=stream, run_id="one", patience_s=0)
        if stream:
            list(done)
    assert "large" not in [call.model for call in transport.calls]


CARD = """\
card:
      use: |
        Short answers.
        In two languages.
      docs: https://example.com/card
    owner: search team"""


def test_owner_and_card_change_no_route(tmp_path: Path) -> None:
    rules = "rules: [{candidates: [large], strategy: fixed}]"
    plain, told = tmp_path / "plain.yaml", tmp_path / "told.yaml"
    plain.write_text("version: 1\nmodels:\n  - id: large\n    call: fake/large\n" + rules)
    told.write_text(f"version: 1\nmodels:\n  - id: large\n    call: fake/large\n    {CARD}\n" + rules)
    one, other = load_policy(plain), load_policy(told)
    assert other.models["large"].card is not None
    assert other.models["large"].card.use == "Short answers.\nIn two languages."
    assert (one.routes_version, one.version) == (other.routes_version, one.version)
    assert one.version != other.version


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ("status: retired", "status 'retired': must be 'approved', 'trial' or 'banned'"),
        ("sunset: soon", "sunset 'soon': must be a day such as 2026-12-31"),
        ("sunset: 2026-10-01T18:00", "must be a day such as 2026-12-31 (UTC), or a moment with its zone"),
        ('owner: "a\\nb"', "owner 'a\\nb': must be one line"),
        ('owner: "\\e[31mred"', "must be text without control characters"),
        ("card: {}", "card: says nothing; give `use`"),
        ("card: {purpose: x}", "unknown key 'purpose'"),
        ("card: {docs: 'javascript:alert(1)'}", "docs 'javascript:alert(1)': must be an address"),
        ("card: {docs: 'https://ann:hunter2@example.com/'}", "without user or password"),
        ("card: {use: 'password: hunter22x!'}", "card: a key or password stands in `use`"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(tmp_path: Path, said: str, message: str) -> None:
    (tmp_path / "p.yaml").write_text(MODELS % f", {said}" + "rules: [{candidates: [small], bar: 0}]")
    with pytest.raises(PolicyError) as raised:
        load_policy(tmp_path / "p.yaml")
    assert message in str(raised.value)
    assert f"{tmp_path / 'p.yaml'}:4:" in str(raised.value)
    assert "hunter22x" not in str(raised.value)


def warnings(folder: Path, said: str, rules: str, now: datetime = NOW) -> list[str]:
    (folder / "p.yaml").write_text(MODELS % said + rules)
    found = check(load_policy(folder / "p.yaml"), now)
    return [one.text.removeprefix(f"{folder / 'p.yaml'}") for one in found]


OWNED = ":3:5: without an `owner`, as other models have one: small, spare"
TWO = """rules:
  - {name: a, when: {task: x}, candidates: [large], strategy: fixed}
  - {name: b, candidates: [small], fallback: ['l*'], strategy: fixed}
"""


def test_a_sunset_that_is_near_names_the_rules_that_ask_it_and_those_that_nobody_will_serve(tmp_path: Path) -> None:
    assert warnings(tmp_path, SUNSET, TWO) == [
        ":4:65: model 'large' has its sunset 2026-10-01, in 10 days; owner: search team: rule 'a', rule 'b' still ask "
        "it",
        ":7:32: rule 'a' has nobody to ask from 2026-10-01 on (large: sunset 2026-10-01 has passed; owner: search "
        "team), and refuses its requests; add a candidate or a fallback",
        OWNED,
    ]
    assert warnings(tmp_path, SUNSET, TWO, END - timedelta(days=30, seconds=1)) == [OWNED]
    assert ", within a day; " in warnings(tmp_path, SUNSET, TWO, END - timedelta(seconds=1))[0]


@pytest.mark.parametrize(
    ("said", "why"),
    [
        (SUNSET, "sunset 2026-10-01 has passed; owner: search team): take it out"),
        (BANNED, "banned; owner: search team): take it out"),
        (
            TRIAL,
            "on trial: only as canary or shadow, or by name; owner: search team): approve it, or name it in `canary` "
            "or `shadow`",
        ),
    ],
    ids=["over", "banned", "on trial"],
)
def test_what_nobody_asks_is_told_where_a_rule_names_it(tmp_path: Path, said: str, why: str) -> None:
    deserted, named, unowned = warnings(tmp_path, said, TWO, END)  # and nothing of the pattern in rule b
    assert named == f":7:45: candidate 'large' is never asked ({why}"
    assert deserted.startswith(":7:5: nobody is left to serve this rule")
    assert unowned == OWNED
    parts = (
        "rules: [{candidates: [small], bar: 0, strategy: cascade, verifier: large, canary: {model: large, percent: 5}}]"
    )
    told = [text.split()[1] for text in warnings(tmp_path, said, parts, END)]
    assert told == ["verifier", "without"] if said == TRIAL else ["canary", "verifier", "without"]


def test_nobody_asks_for_evidence_of_a_banned_model(tmp_path: Path) -> None:
    rules = "rules: [{candidates: ['l*', small], bar: 0.9}]"
    assert [text for text in warnings(tmp_path, BANNED, rules) if "'large'" in text] == []


def test_a_moment_is_shown_as_it_was_written() -> None:
    assert [day_shown(END), day_shown(END + timedelta(hours=18))] == ["2026-10-01", "2026-10-01T18:00Z"]


@pytest.mark.parametrize("given", ["0001-01-01T00:00+23:00", "9999-12-31T23:59-23:00", "9999-12-31"])
def test_a_sunset_at_the_end_of_all_days_is_no_trouble(tmp_path: Path, given: str) -> None:
    rules = "rules: [{candidates: [large], fallback: [small], strategy: fixed}]"
    decision = ruled(tmp_path, f", sunset: {given}", rules).decision
    assert decision.plan == (("small",) if given.startswith("0") else ("large", "small"))
    said = f", sunset: {given}"
    assert ["large" in text for text in warnings(tmp_path, said, rules)] == ([True] if given.startswith("0") else [])
