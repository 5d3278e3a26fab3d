"""What traffic will cost before it is there: sample prompts times a volume, or past traffic under another policy."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from router.decide import decide
from router.decisions import Decision
from router.facts import known_again, request_again
from router.hindsight import CHOSEN, texts_for
from router.policy import Policy
from router.spend.lengths import Lengths
from router.spend.prices import PER_MILLION, Price, price_on
from router.spend.prices.rerate import usage_in
from router.spend.ratios import Ratio, ratio, total
from router.tokens import count_request
from router.types import Request

if TYPE_CHECKING:
    from router.predict import Predictor
    from router.spend.ledger import Ledger

Array = NDArray[np.float64]
CONFIDENCE = 0.9
MOST = 2_000
"""Of more past requests so many are drawn: each is decided again, and the figures hardly move any more."""
PAGE = 500
DRAWS = 400
RESAMPLES = 1_000
_Z95 = 1.6449


@dataclass(slots=True, kw_only=True)
class Left:
    """Requests that an estimate says nothing, or too little, about."""

    unserved: int = 0
    """No model may serve them."""
    unpriced: int = 0
    """Nobody knows the price of the model asked."""
    without_length: int = 0
    """Nobody knows how long the answers are."""
    without_text: int = 0
    """The policy reads their text, which is not stored (any more)."""
    climbing: int = 0
    """Counted, but with the first call of their cascade alone; they may climb on."""
    shadowed: int = 0
    """Counted, but without what a model in the shadow will cost on top."""

    def partly(self, decision: Decision) -> None:
        """Count what is not all counted."""
        self.climbing += decision.strategy == "cascade" and len(decision.plan) > 1
        self.shadowed += decision.shadow is not None and decision.shadow.barred is None


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """Cost of many requests in USD."""

    requests: int
    """Those that the estimate is made from."""
    p50_usd: float
    """Of one request."""
    p95_usd: float
    mean_usd: float
    total: Ratio
    """Of all requests to come (`from_prompts`) or of those that were (`again`), with an interval of 90 %."""
    models: Mapping[str, int]
    """Requests by the model asked first."""
    left: Left
    sources: Mapping[str, int] | None = None
    """Where the lengths of answers came from."""
    drawn_from: int | None = None
    """Past requests in all; all sums are of `requests` alone."""
    recorded_usd: float | None = None
    """What the same requests did cost."""
    change: Ratio | None = None
    """New cost / recorded cost."""


def from_prompts(
    requests: Sequence[tuple[Request, float | None]], policy: Policy, predictor: Predictor | None, lengths: Lengths,
    now: datetime, count: int, seed: int = 0,
) -> Estimate:  # fmt: skip
    """Estimate a volume of requests like these.

    Args:
        requests: each with the output tokens that somebody expects, or None.
        policy: decides about each.
        predictor: the policy's artifact.
        lengths: of past answers.
        now: prices and evidence of this moment count.
        count: how many requests there will be.
        seed: of the draws.
    """
    random = np.random.default_rng(seed)
    models: dict[str, int] = {}
    sources: dict[str, int] = {}
    into: list[float] = []
    made: list[Array] = []
    left = Left()
    for request, expected in requests:
        decision = decide(request, policy, predictor, now).decision
        if not decision.plan:
            left.unserved += 1
            continue
        model, task = decision.plan[0], decision.task.task
        price = price_on(policy.prices[model], now.date())
        if price is None:
            left.unpriced += 1
            continue
        source, drawn = _lengths(request, expected, model, task, predictor, lengths, random)
        if drawn is None:
            left.without_length += 1
            continue
        tokens = count_request(request)
        rates = price.at("standard", tokens)
        models[model], sources[source] = models.get(model, 0) + 1, sources.get(source, 0) + 1
        left.partly(decision)
        into.append(float(tokens * rates.input / PER_MILLION))
        made.append(drawn * float(rates.output / PER_MILLION))
    if not into:
        none = Ratio(value=None)
        return Estimate(requests=0, p50_usd=0, p95_usd=0, mean_usd=0, total=none, models={}, sources={}, left=left)
    each = np.array(into)[:, None] + np.array(made)
    # Other prompts of the same kind, other answers of the same kind, and then the luck of `count` requests.
    means = each.mean(axis=1)
    sums = random.choice(means, size=(RESAMPLES, len(means))).mean(axis=1) * count
    sums += random.normal(0, float(each.std()) * math.sqrt(count), RESAMPLES)
    low, high = np.quantile(sums, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    is_told = len(into) > 1
    return Estimate(
        requests=len(into),
        p50_usd=float(np.quantile(each, 0.5)),
        p95_usd=float(np.quantile(each, 0.95)),
        mean_usd=float(each.mean()),
        total=Ratio(value=float(each.mean() * count), low=max(0.0, float(low)) if is_told else None,
                    high=float(high) if is_told else None),
        models=models,
        sources=sources,
        left=left,
    )  # fmt: skip


def again(
    ledger: Ledger, policy: Policy, predictor: Predictor | None, now: datetime, folder: Path | None = None, *,
    since_us: int = 0, until_us: int | None = None,
) -> Estimate:  # fmt: skip
    """Estimate what past requests would have cost under a policy, or at its prices.

    Tokens are those that were billed; answers of another model are longer or shorter by the ratio of their means in the
    task. Answers out of a cache stay what they were and are left out, as are pinned models and failed requests.

    Raises:
        ConfigurationError: the policy reads the text of requests, and none is stored.
    """
    lengths = Lengths(ledger.rows)
    models: dict[str, int] = {}
    left = Left()
    pairs: dict[str, list[float]] = {}
    each: list[float] = []
    with texts_for(policy, predictor, folder) as texts:
        count, served = _served(ledger, since_us, until_us)
        for row in served:
            kept = texts.text(row["id"]) if texts is not None else None
            if texts is not None and kept is None:
                left.without_text += 1
                continue
            request = _request(row, kept.messages if kept else None)
            decision = decide(request, policy, predictor, now, None, known_again(row["decision"])).decision
            if not decision.plan:
                left.unserved += 1
                continue
            model = decision.plan[0]
            price = price_on(policy.prices[model], now.date())
            if price is None:
                left.unpriced += 1
                continue
            usd = _at(row, model, price, lengths)
            models[model] = models.get(model, 0) + 1
            left.partly(decision)
            each.append(usd)
            both = pairs.setdefault(row["run_id"] or row["id"], [0.0, 0.0])
            both[0] += usd
            both[1] += row["cost_pusd"] / 1e12
    new, old = [both[0] for both in pairs.values()], [both[1] for both in pairs.values()]
    return Estimate(
        requests=len(each),
        p50_usd=float(np.quantile(each, 0.5)) if each else 0.0,
        p95_usd=float(np.quantile(each, 0.95)) if each else 0.0,
        mean_usd=float(np.mean(each)) if each else 0.0,
        total=total(new, CONFIDENCE) if new else Ratio(value=None),
        models=models,
        drawn_from=count,
        recorded_usd=sum(old),
        change=ratio(new, old, CONFIDENCE) if new else None,
        left=left,
    )


def _lengths(
    request: Request, expected: float | None, model: str, task: str | None, predictor: Predictor | None,
    lengths: Lengths, random: np.random.Generator,
) -> tuple[str, Array | None]:  # fmt: skip
    """Possible output tokens, and who says so."""
    if expected is not None:
        return "given", np.full(DRAWS, expected)
    seen = lengths.of(task, model)
    if seen is not None:
        return "history of the task and model", random.choice(seen, DRAWS)
    known = predictor.predict(request.text, task).get(model) if predictor is not None else None
    if known is not None and known.output_tokens_p50 > 0:
        # Lengths are nearly lognormal; two quantiles say which.
        spread = math.log(max(known.output_tokens_p95, known.output_tokens_p50) / known.output_tokens_p50) / _Z95
        return "artifact", known.output_tokens_p50 * random.lognormal(0.0, spread, DRAWS)
    for source, found in (
        ("history of the model", lengths.of(None, model)),
        ("history of the task", lengths.of(task, None)),
    ):
        if found is not None:
            return source, random.choice(found, DRAWS)
    return "", None


def _served(ledger: Ledger, since_us: int, until_us: int | None) -> tuple[int, Iterator[dict[str, Any]]]:
    """How many requests were answered, and those of them that a policy decided, each with the attempt that answered."""
    end_us = 1 << 62 if until_us is None else until_us
    found = ledger.rows(
        "SELECT seq FROM requests WHERE at_us >= ? AND at_us < ? AND kind = 'chat' AND outcome = 'ok' "
        "AND cache NOT IN ('exact', 'semantic') AND cost_pusd IS NOT NULL AND strategy IS NOT 'shadow'",
        (since_us, end_us),
    )
    taken = [row["seq"] for row in found]
    if len(taken) > MOST:
        taken = sorted(np.random.default_rng(0).choice(taken, MOST, replace=False).tolist())
    return len(found), _answered(ledger, taken)


def _answered(ledger: Ledger, taken: Sequence[int]) -> Iterator[dict[str, Any]]:
    for start in range(0, len(taken), PAGE):
        page = taken[start : start + PAGE]
        marks = ", ".join("?" * len(page))
        rows = ledger.rows(f"SELECT * FROM requests WHERE seq IN ({marks}) ORDER BY seq", page)  # noqa: S608  marks
        marks = ", ".join("?" * len(rows))
        calls = ledger.rows(
            f"SELECT * FROM attempts WHERE request_id IN ({marks}) AND input_tokens > 0 ORDER BY number",  # noqa: S608
            [row["id"] for row in rows],
        )
        answers = {(one["request_id"], one["model"]): one for one in calls}  # the last of each
        for row in rows:
            row["decision"] = json.loads(row["decision"] or "{}")
            answer = answers.get((row["id"], row["model_served"]))
            if row["strategy"] in CHOSEN and row["decision"].get("facts") and answer:
                yield {**row, "answer": answer}


def _request(row: Mapping[str, Any], messages: str | None) -> Request:
    if messages is not None:
        return request_again(row, row["decision"], json.loads(messages))
    # Nothing reads it, but it is as long as it was: so its price and its bounds are.
    stand_in = ({"role": "user", "content": " a" * row["answer"]["input_tokens"]},)
    return replace(request_again(row, row["decision"], stand_in), task=row["task"])


def _at(row: Mapping[str, Any], model: str, price: Price, lengths: Lengths) -> float:
    answer = row["answer"]
    usage = usage_in(answer)
    if model != answer["model"]:
        grown = lengths.ratio(row["task"], model, answer["model"])
        # Another provider has nothing of this prompt in its cache, as far as anybody knows.
        usage = replace(usage, output_tokens=round(usage.output_tokens * grown), cached_input_tokens=0,
                        cache_write_tokens=0, cache_write_1h_tokens=0,
                        reasoning_tokens=round(usage.reasoning_tokens * grown))  # fmt: skip
        return float(price.cost(usage))
    failed = float(row["cost_pusd"] - (answer["cost_pusd"] or 0)) / 1e12
    return float(price.cost(usage)) + failed  # what retries and climbing cost is likely to be needed again
