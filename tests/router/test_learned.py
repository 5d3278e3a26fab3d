"""Learned plans as callers see them: a real artifact, a policy with evidence, recorded answers for models."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from sums import MODELS, answers

import router
from router._request import chat_request
from router.cli.policy import policy as policy_command
from router.decide import decide
from router.errors import ProviderUnavailableError
from router.outcomes import write_outcomes
from router.predict import Predictor, artifact
from router.predict.alarm import watch
from router.predict.online import Experience
from router.predict.train import train
from router.reproduce import reproduce
from router.transports.replay import ReplayTransport
from router.types import Call, Reply, to_json

POLICY = """
version: 1
artifact: artifact
data: {store_text: full}
models:
  - {id: tiny, call: replay/tiny, price: {input: 0.1, output: 0.1}}
  - {id: small, call: replay/small, price: {input: 0.12, output: 0.12}}
  - {id: large, call: replay/large, price: {input: 6, output: 6}}
  - {id: spare, call: fake/spare}
tasks:
  sums: {bar: {max_drop: 0.03, vs: large, confidence: 0.9}}
rules:
  - when: {task: sums, tags: {kind: spared}}
    candidates: [tiny, small, large]
    strategy: cascade
    fallback: [spare]
  - {when: {task: sums, tags: {kind: held}}, candidates: [tiny, small, large], strategy: cascade, buffer: true}
  - {when: {task: sums, tags: {kind: high}}, candidates: [tiny, small, large], strategy: cascade, bar: 0.99}
  - {when: {task: sums, tags: {kind: part}}, candidates: [tiny, large], strategy: cascade}
  - {when: {task: sums}, candidates: [tiny, small, large], strategy: cascade}
"""

GREETINGS = (
    "Hello, world", "Hallo, Welt", "Bonjour le monde", "Hola, mundo", "Ciao, mondo", "Olá, mundo", "Привет, мир",
    "Привіт, світе", "Witaj, świecie", "Ahoj, světe", "Ahoj, svet", "Helló, világ", "Salut, lume", "Здравей, свят",
    "Здраво, свете", "Pozdrav, svijete", "Γεια σου, κόσμε", "Merhaba dünya", "Salam, dünya", "سلام دنیا",
    "مرحبا بالعالم", "שלום עולם", "नमस्ते दुनिया", "হ্যালো বিশ্ব", "ਸਤ ਸ੍ਰੀ ਅਕਾਲ", "வணக்கம் உலகம்", "హలో ప్రపంచం",
    "ಹಲೋ ವಿಶ್ವ", "ഹലോ വേൾഡ്", "สวัสดีชาวโลก", "ສະບາຍດີຊາວໂລກ", "မင်္ဂလာပါ", "សួស្តី​ពិភពលោក", "Xin chào thế giới",
    "你好，世界", "こんにちは世界", "안녕하세요 세계", "გამარჯობა მსოფლიო", "Բարեւ աշխարհ", "ሰላም ዓለም",
)  # fmt: skip
ODD: dict[str, list[Any]] = {
    "100 KB": [{"role": "user", "content": "What is 123 + 456? " * 5_500}],
    "100 KB without a space": [{"role": "user", "content": "7" * 100_000}],
    "empty": [{"role": "user", "content": ""}],
    "no content": [{"role": "user"}],
    "content of None": [{"role": "assistant", "content": None}, {"role": "user", "content": None}],
    "blanks": [{"role": "user", "content": " \n\t\u200b\u00a0"}],
    "emoji": [{"role": "user", "content": "👩‍👩‍👧‍👦🏳️‍🌈 + 🤖 = ❓" * 50}],
    "lone surrogates and control characters": [{"role": "user", "content": "\ud83d \x00\x1b[31m \ufffe"}],
    "only an image": [
        {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}}]}
    ],
    "parts that are none": [{"role": "user", "content": [None, 3, "text", {}, {"type": "text"}]}],
    "a tool's result": [
        {"role": "user", "content": "What is 123 + 456?"},
        {"role": "assistant", "content": None,
         "tool_calls": [{"id": "1", "type": "function", "function": {"name": "add", "arguments": "{\"a\": 123}"}}]},
        {"role": "tool", "tool_call_id": "1", "content": "579"},
    ],
    "many turns": [{"role": "user" if n % 2 == 0 else "assistant", "content": f"turn {n}"} for n in range(501)],
}  # fmt: skip

Make = Callable[..., router.Router]


class Broken:
    """Recorded answers, of some models none."""

    def __init__(self, inner: ReplayTransport, models: set[str]) -> None:
        self._inner, self._models = inner, models

    def send(self, call: Call) -> Reply:
        if call.model in self._models:
            raise ProviderUnavailableError("down", model=call.model)
        return self._inner.send(call)

    async def asend(self, call: Call) -> Reply:
        return self.send(call)

    def close(self) -> None:
        """Nothing is open."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A policy, its artifact and its evidence."""
    place = tmp_path_factory.mktemp("learned")
    (place / "policy.yaml").write_text(POLICY, encoding="utf-8")
    trained, report = train(answers(1_500, seed=1))
    assert "cascade" in report.promoted
    artifact.save(trained, place / "artifact", created="2026-01-01T00:00:00+00:00")
    (place / "evidence").mkdir()
    for model, (mean, _) in MODELS.items():
        evidence = {
            "version": 1, "task": "sums", "model": model, "model_version": model, "run_id": "r", "n": 1_500,
            "suite_sha256": "0" * 64, "mean": mean, "lower": mean - 0.02, "confidence": 0.95, "metric": "accuracy",
            "scorer": "numeric", "price": {"input": "1", "output": "1"}, "created": "2026-01-01T00:00:00Z",
            "expires": "2100-01-01T00:00:00Z",
        }  # fmt: skip
        (place / "evidence" / f"sums--{model}.json").write_text(json.dumps(evidence), encoding="utf-8")
    write_outcomes(place / "fresh.parquet", answers(80, seed=9).to_pylist())
    return place


@pytest.fixture
def make(folder: Path, tmp_path: Path) -> Iterator[Make]:
    made: list[router.Router] = []

    def build(*, down: set[str] | None = None) -> router.Router:
        recorded = ReplayTransport.of_rows(answers(80, seed=9).to_pylist(), by="prompt")
        transport: Any = Broken(recorded, down) if down else recorded
        made.append(router.Router(folder / "policy.yaml", tmp_path / "state", transport))
        return made[-1]

    yield build
    for one in made:
        one.close()


def prompts() -> list[list[dict[str, str]]]:
    return [[{"role": "user", "content": text}] for text in dict.fromkeys(answers(80, seed=9)["prompt"].to_pylist())]


def test_cheap_answers_are_looked_at_first_and_every_call_is_booked(make: Make) -> None:
    serving = make()
    done = [serving.complete(messages, task="sums") for messages in prompts()]
    calls = [[attempt.model for attempt in one.attempts] for one in done]
    assert {"large"} not in [set(one) for one in calls]
    assert 1 < sum(map(len, calls)) / len(calls) < 3
    assert any("large" not in one for one in calls)
    assert any("large" in one for one in calls)
    for one in done:
        assert one.decision.strategy == "cascade"
        assert one.model in [attempt.model for attempt in one.attempts]
        assert one.cost_usd == sum((attempt.cost_usd or Decimal(0) for attempt in one.attempts), Decimal(0))
        assert len(serving.ledger.attempts(one.id)) == len(one.attempts)


def test_the_usage_is_that_of_the_answer_which_stands(make: Make) -> None:
    for messages in prompts():
        done = make().complete(messages, task="sums")
        (own,) = [attempt for attempt in done.attempts if attempt.model == done.model]
        assert own.usage is not None
        assert done.usage.completion_tokens == own.usage.output_tokens


def test_the_decision_says_what_is_promised_and_who_is_asked_when(make: Make) -> None:
    decision = make().explain(prompts()[0], task="sums")
    assert decision.promise is not None
    assert decision.promise.startswith("at most 0.03 below large at confidence 0.9")
    assert decision.candidates[0].reason == "asked first"
    assert "asked as number 2" in decision.candidates[1].reason
    assert decision.promise in decision.explain()


def test_a_bar_that_held_out_queries_do_not_carry_is_not_promised(make: Make) -> None:
    decision = make().explain(prompts()[0], task="sums", tags={"kind": "high"})
    assert decision.plan == ()
    assert decision.promise is not None
    assert "0.99" in decision.promise


def test_a_plan_without_one_of_its_models_is_not_the_plan_that_was_promised(make: Make) -> None:
    decision = make().explain(prompts()[0], task="sums", tags={"kind": "part"})
    assert decision.plan == ("large",)
    assert decision.promise is not None
    assert "small: no candidate of the rule" in decision.promise


def test_a_stream_is_held_back_only_where_the_policy_says_so(make: Make) -> None:
    serving = make()
    for messages in prompts()[:20]:
        held = serving.complete(messages, task="sums", tags={"kind": "held"}, stream=True)
        text = "".join(c["choices"][0]["delta"].get("content") or "" for c in held if c["choices"])
        assert text == held.completion.text
        assert held.completion.decision.strategy == "cascade"
        plain = serving.complete(messages, task="sums", stream=True)
        list(plain)
        assert plain.completion.decision.strategy != "cascade"
        assert len(plain.completion.attempts) == 1


class Said:
    """Every model says its own text, or is down where there is none."""

    def __init__(self, usage: dict[str, Any], **texts: str) -> None:
        self._usage, self._texts = usage, texts

    def send(self, call: Call) -> Reply:
        if call.model not in self._texts:
            raise ProviderUnavailableError("down", model=call.model)
        message = {"role": "assistant", "content": self._texts[call.model]}
        return Reply(payload={"choices": [{"index": 0, "message": message}], "usage": self._usage})

    async def asend(self, call: Call) -> Reply:
        return self.send(call)

    def close(self) -> None:
        """Nothing is open."""


def said(folder: Path, tmp_path: Path, usage: dict[str, Any] | None = None, **texts: str) -> Any:
    with router.Router(folder / "policy.yaml", tmp_path / "state", Said(usage or {}, **texts)) as serving:
        done = serving.complete(
            [{"role": "user", "content": "What is 123 + 456?"}], task="sums", tags={"kind": "spared"}
        )
        assert len(serving.ledger.attempts(done.id)) == len(done.attempts)
        return done


def test_a_fallback_that_the_artifact_has_never_heard_of_serves_when_the_whole_ladder_is_down(
    folder: Path, tmp_path: Path
) -> None:
    done = said(folder, tmp_path, spare="579")
    assert done.decision.strategy == "cascade"
    assert (done.model, done.text) == ("spare", "579")
    assert {attempt.model for attempt in done.attempts} == {"tiny", "small", "large", "spare"}


def test_a_usage_that_cannot_be_does_not_break_a_cascade(folder: Path, tmp_path: Path) -> None:
    usage = {"prompt_tokens": 10**30, "completion_tokens": 10**30, "total_tokens": 2 * 10**30}
    done = said(folder, tmp_path, usage, tiny="579", small="579", large="579")
    assert done.text == "579"
    assert done.cost_usd < Decimal(1)


def test_an_empty_answer_does_not_stand_while_somebody_is_left_to_ask(folder: Path, tmp_path: Path) -> None:
    assert said(folder, tmp_path, tiny="", small="", large="579").text == "579"
    done = said(folder, tmp_path, tiny="", small=" ", large="")
    assert len(done.attempts) == 3
    assert not done.text.strip()


@pytest.mark.parametrize("down", ["tiny", "small", "large"])
def test_a_model_that_is_down_is_stepped_over(make: Make, down: str) -> None:
    serving = make(down={down})
    for messages in prompts()[:15]:
        done = serving.complete(messages, task="sums")
        assert done.model != down
        assert all(attempt.outcome == "error" for attempt in done.attempts if attempt.model == down)


@pytest.mark.parametrize("messages", ODD.values(), ids=ODD)
@pytest.mark.parametrize("task", ["sums", None, "unheard of"])
def test_odd_input_gets_a_decision_and_never_an_exception(make: Make, messages: list[Any], task: str | None) -> None:
    decision = make().explain(messages, task=task)
    if task == "sums":
        assert decision.plan
        assert decision.promise is not None
    json.loads(to_json(decision))


@pytest.mark.parametrize("text", GREETINGS)
def test_forty_languages_get_a_decision(make: Make, text: str) -> None:
    messages = [{"role": "user", "content": text}]
    decision = make().explain(messages, task="sums")
    assert decision.strategy == "cascade"
    assert all(one.predicted_high is not None for one in decision.candidates)
    assert make().explain(messages).rule


def test_forty_languages_are_served_by_a_cascade(folder: Path, tmp_path: Path) -> None:
    replies = {"tiny": "42", "small": "四十二", "large": "42"}
    with router.Router(folder / "policy.yaml", tmp_path / "languages", router.FakeTransport(replies)) as serving:
        for text in GREETINGS:
            done = serving.complete([{"role": "user", "content": text}], task="sums")
            assert done.decision.strategy == "cascade"
            assert done.text


@pytest.mark.parametrize("name", ODD)
def test_odd_input_is_served_by_a_cascade_whatever_the_answers(folder: Path, tmp_path: Path, name: str) -> None:
    replies = {"tiny": "", "small": "🤷 \x00" * 2_000, "large": ["579", '{"answer": [1, {}]}']}
    with router.Router(folder / "policy.yaml", tmp_path / "odd", router.FakeTransport(replies)) as serving:
        done = serving.complete(ODD[name], task="sums")
        assert done.model in {"tiny", "small", "large"}
        assert len(serving.ledger.attempts(done.id)) == len(done.attempts)


def test_a_learned_decision_lists_predictions_intervals_and_dollars_and_can_be_made_again(
    make: Make, folder: Path, tmp_path: Path
) -> None:
    serving = make()
    done = serving.complete(prompts()[0], task="sums")
    for one in done.decision.candidates:
        assert one.predicted_low is not None
        assert one.quality is not None
        assert one.predicted_high is not None
        assert 0 <= one.predicted_low <= one.quality <= one.predicted_high <= 1
        assert one.expected is not None
        assert one.expected.total_usd == one.expected_cost_usd
    found = reproduce(done.id, serving.ledger, tmp_path / "state", folder / "policy.yaml")
    assert (found.is_same, found.differences) == (True, ())


def test_a_candidate_says_what_95_of_100_of_its_calls_cost_at_most(make: Make) -> None:
    serving = make()
    plain, short = (serving.explain(prompts()[0], task="sums", **given) for given in ({}, {"max_tokens": 1}))
    for one, cut in zip(plain.candidates, short.candidates, strict=True):
        assert one.p95_cost_usd is not None
        assert one.expected_cost_usd is not None
        assert cut.p95_cost_usd is not None
        assert one.p95_cost_usd >= one.expected_cost_usd > cut.p95_cost_usd


def test_a_policy_check_asks_the_artifact_what_it_carries(folder: Path) -> None:
    told = CliRunner().invoke(policy_command, ["check", str(folder / "policy.yaml")]).output
    gaps = [line for line in told.splitlines() if line.startswith("no evidence")]
    assert all("0.99" in line for line in gaps[:-1])  # the other two rules hold
    assert "bar drop 0.03 vs large of task sums: the artifact's plan may ask small, no candidate of" in gaps[-1]


def test_no_request_waits_for_a_bar_of_the_policy_to_be_certified(make: Make) -> None:
    serving = make()
    assert serving._kit.predictor is not None
    certified = serving._kit.predictor.promises._certified.cache_info
    known = certified().misses
    assert known > 0
    for kind in ("spared", "held", "high", "part", "plain"):
        serving.explain(prompts()[0], task="sums", tags={"kind": kind})
    assert certified().misses == known
    serving.explain(prompts()[0], task="sums", bar=0.931)  # a number that nobody could know of
    assert certified().misses > known


def test_an_artifact_that_is_replaced_under_load_drops_no_request_and_stops_no_router_from_starting(
    folder: Path, tmp_path: Path
) -> None:
    place = tmp_path / "swapped"
    shutil.copytree(folder, place)
    first = artifact.load(place / "artifact")
    other = artifact.Artifact(manifest={**first.manifest, "seed": 1}, arrays=first.arrays)
    replies = {model: "The answer is 579." for model in MODELS}

    def start(number: int) -> str:
        with router.Router(place / "policy.yaml", tmp_path / f"state-{number}", router.FakeTransport(replies)) as one:
            return str(one.complete(prompts()[0], task="sums").decision.artifact_version)

    with (
        router.Router(place / "policy.yaml", tmp_path / "state", router.FakeTransport(replies)) as serving,
        ThreadPoolExecutor(8) as pool,
    ):
        asked = [pool.submit(serving.complete, prompts()[n % 80], task="sums") for n in range(200)]
        started = [pool.submit(start, number) for number in range(8)]
        for number in range(20):
            artifact.save((other, first)[number % 2], place / "artifact", created="")
        done = [one.result() for one in asked]
        versions = {one.result() for one in started}
    assert {one.decision.artifact_version for one in done} == {first.sha256[:12]}
    assert {one.decision.strategy for one in done} == {"cascade"}
    assert versions <= {first.sha256[:12], other.sha256[:12]}


def test_a_pinned_model_is_asked_alone(make: Make) -> None:
    done = make().complete(prompts()[0], task="sums", model="tiny")
    assert [attempt.model for attempt in done.attempts] == ["tiny"]
    assert done.decision.promise is None


def test_an_alarm_trusts_no_learned_plan(folder: Path, tmp_path: Path) -> None:
    policy = folder / "watched.yaml"
    policy.write_text(POLICY + "learning: {from_feedback: true, explore: 0.5}\n", encoding="utf-8")
    recorded = ReplayTransport.of_rows(answers(80, seed=9).to_pylist(), by="prompt")
    with router.Router(policy, tmp_path / "state", recorded) as serving:
        text = prompts()[0]
        experience = Experience(row=1, watches={"sums": watch([(0.0, 0.9)] * 30)})
        ruling = decide(
            chat_request(text, task="sums"), serving.policy, Predictor.load(folder / "artifact"), datetime.now(UTC),
            experience,
        )  # fmt: skip
    assert (ruling.decision.plan[0], ruling.decision.strategy, ruling.listener) == ("large", "single", None)
    assert ruling.decision.promise is None


AUDITED = POLICY + "learning: {from_feedback: true, explore: 0.5}\n"


def test_a_drop_is_audited_by_the_model_that_it_is_held_against(folder: Path, tmp_path: Path) -> None:
    (folder / "audited.yaml").write_text(AUDITED, encoding="utf-8")
    recorded = ReplayTransport.of_rows(answers(80, seed=9).to_pylist(), by="prompt")
    with router.Router(folder / "audited.yaml", tmp_path / "state", recorded) as serving:
        done = [serving.complete(messages, task="sums") for messages in prompts()[:40]]
        audits = [one for one in done if one.decision.strategy == "single"]
        assert 8 <= len(audits) <= 32
        for one in audits:
            assert [attempt.model for attempt in one.attempts] == ["large"]
            assert one.decision.promise == (
                "audit: drawn for large alone with a chance of 0.5, to hear what the learned plan loses"
            )
        assert {one.decision.propensity for one in done} == {0.5}
        assert all(one.decision.strategy == "cascade" for one in done if one not in audits)
        found = reproduce(audits[0].id, serving.ledger, tmp_path / "state", folder / "audited.yaml")
        assert (found.is_same, found.differences) == (True, ())
        tools = [{"type": "function", "function": {"name": "add"}}]
        for messages in prompts()[:20]:  # an agent's loop goes on as it began
            assert serving.explain(messages, task="sums", tools=tools).propensity == 1.0


def test_a_learned_plan_that_loses_more_than_its_drop_raises_an_alarm(folder: Path, tmp_path: Path) -> None:
    (folder / "audited.yaml").write_text(AUDITED, encoding="utf-8")
    recorded = ReplayTransport.of_rows(answers(80, seed=9).to_pylist(), by="prompt")
    with router.Router(folder / "audited.yaml", tmp_path / "state", recorded) as serving:
        for messages in prompts():
            done = serving.complete(messages, task="sums")
            serving.record_feedback(done.id, float(done.decision.strategy == "single"))
        decision = serving.explain(prompts()[0], task="sums")
    assert (decision.plan[0], decision.strategy) == ("large", "single")
    told = next(one.reason for one in decision.candidates if one.model == "tiny")
    assert "where at most 0.03 was promised" in told or "max_drop" in told
