"""What a rule says of data holds for everything that is sent: no request that must stay at home ever leaves."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import router
from router import FakeTransport
from router.errors import NoRouteError, PolicyError, ProviderUnavailableError, RouterError
from router.policy import load_policy
from router.policy.data import is_local
from router.types import Deployment

POLICY = """\
version: 1
models:
  - {id: cloud, call: openai/cloud, price: {input: 1, output: 1}, region: us, capabilities: [tools, vision, json, embedding]}
  - {id: home, call: local/home, price: {input: 2, output: 2}}
  - {id: office, call: openai/office, api_base: "http://10.1.2.3:8000/v1", price: {input: 3, output: 3}}
  - id: both
    call: openai/both
    price: {input: 1, output: 1}
    deployments: [{region: us}, {region: eu}, {api_base: "http://localhost:1/v1"}]
tasks: {qa: {bar: 0}}
rules:
  - name: at home
    when: {findings: pii}
    candidates: [cloud, home, both]
    strategy: fixed
    fallback: [cloud, office]
    data: {local_only: true, log: none}
  - {name: in europe, when: {tags: {residency: eu}}, candidates: '*', bar: 0, data: {regions: eu}}
  - {name: rest, candidates: '*', bar: 0, cache: exact}
data: {store_text: full}
"""  # noqa: E501
PII = ["ann@example.com", "4111 1111 1111 1111", "DE89370400440532013000", "+49 30 1234567"]
Make = Callable[..., router.Router]


@pytest.fixture
def make(tmp_path: Path) -> Any:
    (tmp_path / "p.yaml").write_text(POLICY, encoding="utf-8")
    made: list[router.Router] = []

    def build(**replies: Any) -> router.Router:
        made.append(router.Router(tmp_path / "p.yaml", tmp_path / "state", FakeTransport(replies)))
        return made[-1]

    yield build
    for one in made:
        one.close()


def places(serving: router.Router) -> list[Deployment]:
    return [call.deployment for call in serving._transport.calls]  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("place", "is_home"),
    [
        ({"call": "local/m"}, True),
        ({"call": "fake/m"}, True),
        ({"call": "openai/m"}, False),
        ({"call": "ollama/m"}, False),  # its address may come from the environment
        ({"api_base": "http://localhost:8000/v1"}, True),
        ({"api_base": "http://127.0.0.1:8000"}, True),
        ({"api_base": "http://192.168.1.9/v1"}, True),
        ({"api_base": "https://[::1]:9/v1"}, True),
        ({"api_base": "http://[fd00::1]/v1"}, True),
        ({"api_base": "http://172.32.0.1"}, False),
        ({"api_base": "http://169.254.169.254"}, False),
        ({"api_base": "https://api.example.com/v1"}, False),
        ({"api_base": "http://localhost.example.com"}, False),
        ({"api_base": "http://127.0.0.1@example.com/"}, False),
        ({"api_base": "http://example.com#@127.0.0.1/"}, False),
        ({"api_base": "http://127.0.0.1\\@example.com/"}, False),
        ({"api_base": "http://2130706433/"}, False),
        ({"api_base": "http://[::ffff:8.8.8.8]/"}, False),
        ({"call": "local/m", "api_base": "https://example.com"}, False),
        ({"api_base": "https://llm.corp.example", "region": "local"}, True),
    ],
)
def test_what_is_at_home(place: dict[str, str], is_home: bool) -> None:
    assert is_local(Deployment(**{"call": "openai/m", **place})) is is_home


PARTS: dict[str, Callable[[str], dict[str, Any]]] = {
    "text": lambda secret: {"messages": [{"role": "user", "content": f"about {secret} please"}]},
    "system": lambda secret: {
        "messages": [{"role": "system", "content": f"You serve {secret} ."}, {"role": "user", "content": "hi"}]
    },
    "part": lambda secret: {"messages": [{"role": "user", "content": [{"type": "text", "text": f"| {secret} |"}]}]},
    "name": lambda secret: {"messages": [{"role": "user", "name": secret, "content": "hi"}]},
    "tool result": lambda secret: {
        "messages": [{"role": "user", "content": "hi"}, {"role": "tool", "tool_call_id": "1", "content": secret}]
    },
    "arguments": lambda secret: {
        "messages": [
            {"role": "user", "content": "hi"},
            {"role": "assistant", "tool_calls": [{"id": "1", "function": {"name": "f", "arguments": f'["{secret}"]'}}]},
        ]
    },
    "parameter": lambda secret: {"messages": [{"role": "user", "content": "hi"}], "user": secret},
    "body": lambda secret: {"messages": [{"role": "user", "content": "hi"}], "extra_body": {"about": [secret]}},
}


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    where=st.sampled_from(sorted(PARTS)),
    secret=st.sampled_from(PII),
    pin=st.sampled_from([None, None, "cloud", "home", "office", "both"]),
    residency=st.sampled_from([None, "eu"]),
    task=st.sampled_from([None, "qa", "other"]),
    failing=st.sets(st.sampled_from(["home", "office", "both", "cloud"])),
    stream=st.booleans(),
    limit=st.sampled_from([None, Decimal(1)]),
)
def test_no_request_with_personal_data_leaves(
    make: Make, where: str, secret: str, pin: str | None, residency: str | None, task: str | None, failing: set[str],
    stream: bool, limit: Decimal | None,
) -> None:  # fmt: skip
    serving = make(**{model: ProviderUnavailableError(f"down: {secret}") for model in failing})
    tags = {"residency": residency} if residency else {}
    with contextlib.suppress(RouterError):
        done = serving.complete(
            **PARTS[where](secret), model=pin, tags=tags, task=task, stream=stream, max_cost_usd=limit, patience_s=0
        )
        if stream:
            list(done)
    assert all(map(is_local, places(serving))), places(serving)
    written = serving.ledger.rows("SELECT * FROM requests") + serving.ledger.rows("SELECT * FROM attempts")
    assert secret not in str(written)


def test_at_home_the_next_one_answers_and_the_reasons_say_why_others_may_not(make: Make) -> None:
    serving = make(home=ProviderUnavailableError("down"))
    done = serving.complete([{"role": "user", "content": "mail ann@example.com"}], patience_s=0)
    reasons = {one.model: one.reason for one in done.decision.candidates}
    assert [one.model for one in done.attempts] == ["home", "home", "both"]
    assert "may not have" not in reasons["both"]
    assert reasons["cloud"] == "none of its deployments may have the request's data (local only)"
    assert "data: local only, no text is kept" in done.decision.explain()
    assert {place.api_base for place in places(serving) if place.call == "openai/both"} == {"http://localhost:1/v1"}


def test_a_pinned_model_meets_the_rule_that_would_have_matched(make: Make) -> None:
    serving = make()
    with pytest.raises(NoRouteError, match="may have the request's data"):
        serving.complete([{"role": "user", "content": "mail ann@example.com"}], model="cloud")
    assert serving.complete([{"role": "user", "content": "hi"}], model="cloud").model == "cloud"
    with pytest.raises(NoRouteError):
        serving.embed("mail ann@example.com")


def test_of_a_model_only_the_deployments_in_the_region_are_asked(make: Make) -> None:
    serving = make()
    serving.complete([{"role": "user", "content": "hi"}], tags={"residency": "eu"})
    serving.complete([{"role": "user", "content": "hi"}], tags={"residency": "eu"}, model="both")
    assert [(place.call, place.region) for place in places(serving)] == [("openai/both", "eu")] * 2


def test_no_text_is_kept_where_the_rule_says_so(make: Make) -> None:
    serving = make(home="an answer")
    quiet = serving.complete([{"role": "user", "content": "mail ann@example.com"}])
    loud = serving.complete([{"role": "user", "content": "mail somebody"}])
    with router.spend.texts.TextReader(serving._folder) as reader:
        assert (reader.text(quiet.id), reader.text(loud.id) is not None) == (None, True)


def test_a_rule_that_keeps_nothing_has_no_cache(tmp_path: Path) -> None:
    (tmp_path / "p.yaml").write_text(POLICY.replace("log: none}", "log: none}\n    cache: exact"), encoding="utf-8")
    with pytest.raises(PolicyError, match="keeps no text, and `cache` stores answers"):
        load_policy(tmp_path / "p.yaml")


@pytest.mark.parametrize("where", sorted(PARTS))
@pytest.mark.parametrize("pin", [None, "home"])
def test_what_a_rule_refuses_is_sent_to_nobody_and_the_caller_hears_why(
    tmp_path: Path, where: str, pin: str | None
) -> None:
    models = POLICY[: POLICY.index("tasks:")]
    kept = "{name: kept, when: {findings: pii}, data: {refuse: it names somebody}}"
    rules = f"rules:\n  - {kept}\n  - {{candidates: '*', bar: 0}}"
    (tmp_path / "p.yaml").write_text(models + rules, encoding="utf-8")
    transport = FakeTransport()
    with router.Router(tmp_path / "p.yaml", tmp_path / "state", transport) as serving:
        with pytest.raises(NoRouteError, match="refused: it names somebody") as caught:
            serving.complete(**PARTS[where](PII[0]), model=pin)
        assert caught.value.decision is not None
        assert caught.value.decision.plan == ()
        with pytest.raises(NoRouteError, match="refused"):
            list(serving.complete(**PARTS[where](PII[0]), model=pin, stream=True))
        with pytest.raises(NoRouteError, match="refused"):
            serving.embed(PII[0])
        with pytest.raises(NoRouteError, match="refused"):
            serving.submit(**PARTS[where](PII[0]))
        assert transport.calls == []
        serving.complete([{"role": "user", "content": "hi"}], model=pin)
    assert len(transport.calls) == 1
