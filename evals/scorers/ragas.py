"""Metrics of the package ragas over judges that are called through the router. The only file that imports ragas.

`ragas.metrics.collections` asks its model by `agenerate(prompt, response_model)`; our class answers through
`router.complete`, so that price, cap and ledger hold for these calls, too. ragas swallows errors into NaN in places:
calls that fail are noted here, and NaN becomes `Failed` or `Unscored`, never a number.
"""

from __future__ import annotations

import asyncio
import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from evals.judges.asking import MAX_TOKENS, ask_judge, kin_flag, lost_cost, versions_of
from evals.judges.models import Judged
from evals.plan import Asks
from evals.scorers.structured import last_json
from evals.types import EvalError, Failed, Sample, Score, Scored, Unscored
from router.config import suggestion

METRICS: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "answer_relevancy": ("AnswerRelevancy", ("user_input", "response")),
    "context_precision": ("ContextPrecision", ("user_input", "reference", "retrieved_contexts")),
    "context_recall": ("ContextRecall", ("user_input", "reference", "retrieved_contexts")),
    "factual_correctness": ("FactualCorrectness", ("response", "reference")),
    "faithfulness": ("Faithfulness", ("user_input", "response", "retrieved_contexts")),
}
"""By our name: the class in ragas, and what it needs of a sample."""
CALLS_EACH = 4
"""About so many calls an answer; context precision takes one for each context."""
ANSWER_TOKENS = 4 * MAX_TOKENS
"""Of one call: some metrics list every statement of an answer."""
FRAME_WORDS = 2_000
"""At most, by our estimate: the instructions, examples and schema that ragas puts around a sample."""


@dataclass(slots=True)
class _Account:
    """What the calls for one answer cost, and what went wrong."""

    router: Asks
    model: str
    run_id: str | None
    cost_usd: Decimal | None = Decimal(0)
    calls: int = 0
    versions: list[str] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    def book(self, cost: Decimal | None) -> None:
        self.calls += 1
        self.cost_usd = None if cost is None or self.cost_usd is None else self.cost_usd + cost

    def lose(self, error: Exception) -> None:
        self.book(lost_cost(error))
        self.errors.append(f"{type(error).__name__}: {error}"[:300])

    def ask(self, prompt: str, response_model: Any) -> Any:
        wanted = json.dumps(response_model.model_json_schema(), ensure_ascii=False)
        system = f"Reply with one JSON object and nothing else, valid under this JSON Schema:\n{wanted}"
        try:
            done = ask_judge(self.router, self.model, system, prompt, run_id=self.run_id, max_tokens=ANSWER_TOKENS)
        except Exception as error:
            self.lose(error)
            raise
        self.book(done.cost_usd)
        self.texts.append(str(done.text))
        self.versions += versions_of(done)
        try:
            return response_model.model_validate(last_json(str(done.text), dict))
        except ValueError:
            self.errors.append(f"no JSON of the wanted shape: {str(done.text).strip()[:120]!r}")
            raise

    def embed(self, texts: Sequence[str], model: str) -> list[list[float]]:
        router: Any = self.router
        try:
            done = router.embed(list(texts), model=model, workflow="eval-judge")
        except Exception as error:
            self.lose(error)
            raise
        self.book(done.cost_usd)
        return [list(map(float, one.embedding)) for one in done.data]


class RagasJudge:
    """A metric of ragas as a judge.

    Contexts are the sample's `metadata["contexts"]`, a list of texts (suite key `contexts`: name of the column).

    Args:
        router: sends the calls.
        model: policy id of the judge.
        metric: one of `METRICS`.
        embedder: policy id of an embedding model; only `answer_relevancy` needs it.
        run_id: under which the calls are booked.

    Raises:
        EvalError: no such metric or model, or ragas cannot be imported.
    """

    calls_each = CALLS_EACH

    def __init__(
        self, router: Asks, model: str, metric: str, *, embedder: str | None = None, run_id: str | None = None
    ) -> None:
        if metric not in METRICS:
            raise EvalError(f"no ragas metric {metric!r}{suggestion(metric, ())}; there are {', '.join(METRICS)}")
        known = list(router.policy.models)
        for one in (model, embedder):
            if one is not None and one not in known:
                raise EvalError(f"the policy lists no model {one!r}{suggestion(one, known)}")
        if metric == "answer_relevancy" and embedder is None:
            raise EvalError("answer_relevancy compares questions by an embedding model; give --embedder MODEL")
        self._library = _library()
        self._router, self._model, self._metric, self._run_id = router, model, metric, run_id
        self._embedder = embedder
        self.name, self.models = f"ragas-{metric}@{model}", (model,)

    def judge(
        self,
        sample: Sample,
        response: str,
        other: str | None = None,  # noqa: ARG002  part of the protocol
        *,
        candidate: str | None = None,
    ) -> Judged:
        """Score an answer by the metric."""
        given = {
            "user_input": sample.prompt,
            "response": response,
            "reference": sample.reference,
            "retrieved_contexts": contexts_of(sample),
        }
        name, needs = METRICS[self._metric]
        missing = [need for need in needs if not given[need]]
        if missing:
            return Judged(score=Unscored(f"{self._metric} needs {', '.join(missing)}; the sample has none"), calls=0)
        account = _Account(self._router, self._model, self._run_id)
        metric = self._library.metric(name, account, self._embedder)
        score: Score
        try:
            found = asyncio.run(metric.ascore(**{need: given[need] for need in needs}))
            score = self._score(float(found.value), account, candidate)
        except Exception as error:  # noqa: BLE001  whatever ragas raises, the candidate is not to blame
            told = account.errors[-1] if account.errors else f"{type(error).__name__}: {error}"
            score = Failed(f"{self.name}: {told}"[:500])
        return Judged(
            score=score,
            cost_usd=account.cost_usd,
            calls=account.calls,
            versions=tuple(dict.fromkeys(account.versions)),
            texts=tuple(account.texts),
        )

    def _score(self, value: float, account: _Account, candidate: str | None) -> Score:
        if account.errors:  # a score made of the calls that happened to work is another metric
            return Failed(f"{self.name}: {account.errors[-1]}"[:500])
        if not math.isfinite(value):
            return Unscored(f"{self.name}: found nothing to judge in the answer")
        flag = kin_flag(self._router, self._model, candidate)
        return Scored(min(1.0, max(0.0, value)), f"{self._metric} {value:.3f}{flag}")


def contexts_of(sample: Sample) -> list[str]:
    """The passages that an answer to a sample rests on; empty when it names none."""
    found = sample.metadata.get("contexts")
    if isinstance(found, str):
        try:
            found = json.loads(found)
        except ValueError:
            found = [found]
    return [one for one in found if isinstance(one, str) and one.strip()] if isinstance(found, list) else []


@dataclass(frozen=True, slots=True)
class _Library:
    """ragas' classes, and ours under them."""

    collections: Any
    model: Any
    embedding: Any

    def metric(self, name: str, account: _Account, embedder: str | None) -> Any:
        options = {} if name != "AnswerRelevancy" else {"embeddings": self.embedding(account, embedder)}
        return getattr(self.collections, name)(llm=self.model(account), **options)


def _library() -> _Library:
    os.environ.setdefault("RAGAS_DO_NOT_TRACK", "true")  # read at import: without it each call is reported
    try:
        import ragas.metrics.collections as collections
        from ragas.embeddings.base import BaseRagasEmbedding
        from ragas.llms.base import InstructorBaseRagasLLM
    except ImportError as error:
        raise EvalError(
            f"ragas cannot be imported ({error}); install it with `pip install 'clearbar[ragas]'`"
        ) from error

    class Model(InstructorBaseRagasLLM):  # type: ignore[misc, unused-ignore]
        def __init__(self, account: _Account) -> None:
            self.account = account

        def generate(self, prompt: str, response_model: Any) -> Any:
            return self.account.ask(prompt, response_model)

        async def agenerate(self, prompt: str, response_model: Any) -> Any:
            return await asyncio.to_thread(self.account.ask, prompt, response_model)

    class Embedding(BaseRagasEmbedding):  # type: ignore[misc, unused-ignore]
        def __init__(self, account: _Account, model: str) -> None:
            super().__init__()
            self.account, self.model = account, model

        def embed_text(self, text: str, **_: Any) -> list[float]:
            return self.account.embed([text], self.model)[0]

        async def aembed_text(self, text: str, **_: Any) -> list[float]:
            return await asyncio.to_thread(self.embed_text, text)

    return _Library(collections, Model, Embedding)
