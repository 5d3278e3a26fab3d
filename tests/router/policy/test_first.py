"""A first policy, out of keys, servers or a litellm config: it always loads, and no secret is copied."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from router.errors import PolicyError
from router.policy import Policy, check, load_policy
from router.policy.first import EMBEDDED, PROVIDERS, Found, from_environment, from_litellm, render
from router.spend.prices import bundled_price


def loaded(tmp_path: Path, found: list[Found]) -> Policy:
    path = tmp_path / "first.yaml"
    path.write_text(render(found), encoding="utf-8")
    return load_policy(path)


@pytest.fixture
def server() -> Iterator[tuple[str, dict[str, object]]]:
    """A server whose answer to /v1/models a test may set."""
    answer: dict[str, object] = {"data": [{"id": "llama3:8b"}, {"id": "org/Model-7B"}]}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = json.dumps(answer.get("body", answer)).encode() if self.path == "/v1/models" else b"?"
            self.send_response(int(str(answer.get("status", 200))))
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *arguments: object) -> None:
            pass

    httpd = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=httpd.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{httpd.server_port}/v1", answer
    httpd.shutdown()
    thread.join()
    httpd.server_close()


@pytest.mark.parametrize("key", PROVIDERS)
def test_a_key_gives_the_models_of_its_provider_and_each_has_a_price(tmp_path: Path, key: str) -> None:
    found = from_environment({key: "secret-value"}, servers={})
    policy = loaded(tmp_path, found)
    assert [model.call for model in policy.models.values()] == list(PROVIDERS[key])
    assert all(policy.prices.values())
    assert "secret-value" not in (tmp_path / "first.yaml").read_text()
    assert {place.api_key_env for places in policy.deployments.values() for place in places} == {key}


@pytest.mark.parametrize("calls", PROVIDERS.values(), ids=PROVIDERS)
def test_the_models_of_a_provider_stand_from_cheap_to_dear(calls: tuple[str, ...]) -> None:
    prices = [price.input for call in calls if (price := bundled_price(call))]
    assert len(prices) == len(calls)
    assert prices == sorted(prices)


def test_all_keys_together_make_one_policy(tmp_path: Path) -> None:
    policy = loaded(tmp_path, from_environment(dict.fromkeys(PROVIDERS, "x"), servers={}))
    assert len(policy.models) == sum(map(len, PROVIDERS.values()))


def test_an_empty_key_is_no_key() -> None:
    assert from_environment({"OPENAI_API_KEY": ""}, servers={}) == []


def test_a_server_that_answers_gives_its_models_at_no_price(
    tmp_path: Path, server: tuple[str, dict[str, object]]
) -> None:
    policy = loaded(tmp_path, from_environment({}, servers={"Ollama": server[0]}))
    assert list(policy.models) == ["llama3:8b", "org/Model-7B"]
    assert policy.deployments["llama3:8b"][0].api_base == server[0]
    assert policy.deployments["llama3:8b"][0].call == "openai/llama3:8b"
    assert policy.prices["llama3:8b"][0].input == 0
    assert check(policy) == []


@pytest.mark.parametrize(
    "answer",
    [{"status": 500}, {"body": {}}, {"body": []}, {"body": {"data": [1]}}, {"body": {"data": None}}, {"body": "no"}],
    ids=str,
)
def test_a_server_that_answers_something_else_is_passed_over(
    server: tuple[str, dict[str, object]], answer: dict[str, object]
) -> None:
    server[1].update(answer)
    assert from_environment({}, servers={"x": server[0]}) == []


def test_nothing_listening_is_passed_over() -> None:
    assert from_environment({}, servers={"x": "http://127.0.0.1:9/v1"}) == []


CONFIG = """\
model_list:
  - model_name: fast
    litellm_params: {model: azure/gpt-4o-mini, api_key: os.environ/AZURE_KEY, api_base: "https://a.example"}
  - model_name: fast
    litellm_params: {model: openai/gpt-4o-mini, api_key: sk-inline-0123456789abcdef}
  - model_name: 4o
    litellm_params: {model: openai/gpt-4o, api_key: sk-other-0123456789abcdef, api_base: os.environ/MY_BASE}
litellm_settings: {drop_params: true}
"""


def test_a_litellm_config_becomes_models_with_deployments_and_no_key_is_copied(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MY_BASE", "http://127.0.0.1:1/v1")
    (tmp_path / "config.yaml").write_text(CONFIG)
    policy = loaded(tmp_path, from_litellm(tmp_path / "config.yaml"))
    text = (tmp_path / "first.yaml").read_text()
    assert "0123456789abcdef" not in text
    assert [(place.call, place.api_key_env, place.api_base) for place in policy.deployments["fast"]] == [
        ("azure/gpt-4o-mini", "AZURE_KEY", "https://a.example"),
        ("openai/gpt-4o-mini", "MODEL_FAST_API_KEY", None),
    ]
    assert policy.deployments["4o"][0].api_key_env == "MODEL_4O_API_KEY"
    assert policy.deployments["4o"][0].api_base == "http://127.0.0.1:1/v1"
    assert "export its inline key as MODEL_4O_API_KEY" in text


@pytest.mark.parametrize(
    ("text", "told"),
    [
        pytest.param("a: b", "no `model_list` here; give a litellm proxy config", id="no list"),
        pytest.param("model_list: []", "no `model_list` here", id="an empty list"),
        pytest.param("model_list:\n  - model_name: x", ":2:5: needs `model_name` and", id="no params"),
        pytest.param("model_list:\n  - x", ":2:5: needs `model_name` and", id="a word"),
        pytest.param("- x", ":1:1: no `model_list` here", id="no mapping"),
        pytest.param(CONFIG, ":6:5: api_base is MY_BASE of the environment, which is not set", id="unset address"),
    ],
)
def test_a_config_that_cannot_be_used_says_where(tmp_path: Path, text: str, told: str) -> None:
    (tmp_path / "config.yaml").write_text(text)
    with pytest.raises(PolicyError) as caught:
        from_litellm(tmp_path / "config.yaml")
    assert told in str(caught.value)
    assert "0123456789abcdef" not in str(caught.value)


def test_everything_goes_to_the_last_model_and_the_others_stand_by(tmp_path: Path) -> None:
    policy = loaded(tmp_path, list(EMBEDDED)[::-1])
    (rule,) = policy.rules
    assert (rule.strategy, rule.candidates[0]) == ("fixed", EMBEDDED[0].id)
    assert set(rule.candidates) == set(policy.models)


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    st.lists(
        st.builds(
            Found,
            id=st.text(min_size=1, max_size=20, alphabet=st.characters(codec="utf-8", exclude_categories=["Cc"])),
            call=st.text(min_size=1, max_size=20, alphabet="abc:/\\\"'#{}[]&*!|>%@`, -é"),
            where=st.just("somewhere"),
            api_base=st.none() | st.text(min_size=1, max_size=20, alphabet="abc:/\\\"'#{} "),
            api_key_env=st.none() | st.just("SOME_KEY"),
            is_local=st.booleans(),
        ),
        min_size=1,
        max_size=5,
    )
)
def test_whatever_models_are_called_the_policy_loads_and_keeps_their_names(tmp_path: Path, found: list[Found]) -> None:
    policy = loaded(tmp_path, found)
    assert list(policy.models) == list(dict.fromkeys(model.id for model in found))
    assert {place.call for places in policy.deployments.values() for place in places} == {m.call for m in found}
