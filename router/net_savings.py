"""What was saved against asking one model for everything, after all costs, with what is known of quality beside it.

Every request is compared with itself: its baseline is what the baseline model would have billed for the same tokens
(answers longer or shorter by the ratio of the means in the task), asked directly, without any cache, batch or retry.
The way from there to what was paid goes in steps that add up:

    baseline - paid = routing or cascade (same prompt, other models, caches and batch left out)
                    + batch (another service tier) + prompt caching (of the provider) + cache (no call at all)
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

import numpy as np

from router.cache.savings import Hit, hits
from router.hindsight import CHOSEN, against
from router.policy import Policy
from router.predict.value import value
from router.spend.ledger import Ledger
from router.spend.lengths import Lengths
from router.spend.prices import Price, price_on
from router.spend.prices.rerate import usage_in
from router.spend.ratios import Ratio, estimate, total
from router.types import Usage

LINES = ("routing", "cascade", "batch", "prompt caching", "cache")
LEAST_KNOWN = 0.9
"""With evidence for a smaller share of the requests, quality is not known."""
OVERHEAD = ({"workflow": "eval"}, {"workflow": "eval-judge"})
"""Tags of calls that serve nobody: of evals and of judges, as they tag themselves."""
SHADOWS = "models in the shadow"
CONFIDENCE = 0.95
PAGE = 1_000
Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Quality:
    """How much better (negative: worse) the served answers are than the baseline's, 0 to 1 a request."""

    delta: float
    low: float
    high: float
    source: str
    """`feedback`: scored answers, doubly robust, with an interval of 95 %. `evidence`: what evidence and artifact said
    of the models when each was chosen; from the served ones' lower bounds to the baseline's."""
    requests: int
    note: str = ""


@dataclass(slots=True)
class Left:
    """Requests that are not in the comparison."""

    unpriced: int = 0
    """A cost, or the baseline's price, is unknown."""
    failed: int = 0
    failed_usd: float = 0.0
    hits_unknown: int = 0
    """Answers out of a cache of which nobody knows what they saved."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NetSavings:
    """All in USD."""

    requests: int
    baselines: Mapping[str, int]
    """Requests by their baseline model."""
    baseline_usd: float
    paid_usd: float
    lines: Mapping[str, Ratio]
    """Saved by each lever; below 0: it cost more than it saved."""
    overhead_usd: Mapping[str, float]
    net: Ratio
    """All lines less the overhead."""
    share: Ratio
    """Net / baseline."""
    explored: int
    audited: int
    """Requests that went elsewhere to learn, and hits called all the same; their cost is among what was paid."""
    quality: Quality | None
    """None: nothing is known, and no saving should be told."""
    left: Left


@dataclass(slots=True)
class _Sums:
    runs: dict[str, list[float]] = field(default_factory=dict)
    """By run: baseline, then each of `LINES`."""
    baselines: dict[str, int] = field(default_factory=dict)
    overhead: dict[str, float] = field(default_factory=dict)
    deltas: list[tuple[float, float, float]] = field(default_factory=list)
    left: Left = field(default_factory=Left)
    explored: int = 0
    audited: int = 0


def net_savings(
    ledger: Ledger, policy: Policy, *, baseline: str | None = None, since_us: int = 0, until_us: int | None = None,
    overhead: Sequence[Mapping[str, str]] = OVERHEAD,
) -> NetSavings:  # fmt: skip
    """Compare what was paid with a baseline.

    Args:
        ledger: of what was done.
        policy: has the baseline models' prices.
        baseline: policy id of the model that everything would have gone to. Default: what each request's bar is
            measured against (`vs`), else the candidate of the best expected quality, else the model that served.
        since_us: requests from this moment on, in microseconds since 1970.
        until_us: and before this one.
        overhead: tags of calls that are no traffic, but a cost.
    """
    sums, lengths, served = _Sums(), Lengths(ledger.rows), hits(ledger.rows)
    prices: dict[str, Price | None] = {}

    def price_of(id: str | None) -> Price | None:
        if id is not None and id not in prices:
            prices[id] = ledger.price(id)
        return prices.get(id) if id else None

    for row, attempts in _requests(ledger, since_us, until_us):
        if (name := _overhead(row, overhead)) is not None:
            sums.overhead[name] = sums.overhead.get(name, 0.0) + (row["cost_pusd"] or 0) / 1e12
        elif row["outcome"] != "ok":
            sums.left.failed += 1
            sums.left.failed_usd += (row["cost_pusd"] or 0) / 1e12
        else:
            _compare(sums, row, attempts, policy, baseline, lengths, served.get(row["id"]), ledger, price_of)
    columns = np.array(list(sums.runs.values())).T if sums.runs else np.zeros((1 + len(LINES), 0))
    spent = sum(sums.overhead.values())
    saved = columns[1:].sum(axis=0)
    net = total(saved, CONFIDENCE)
    both = np.array([saved, columns[0]])
    return NetSavings(
        requests=sum(sums.baselines.values()),
        baselines=sums.baselines,
        baseline_usd=float(columns[0].sum()),
        paid_usd=float(columns[0].sum() - saved.sum()),
        lines={name: total(columns[place], CONFIDENCE) for place, name in enumerate(LINES, start=1)},
        overhead_usd=sums.overhead,
        net=_less(net, spent),
        share=estimate(both, lambda of: (of[0] - spent) / np.where(of[1], of[1], np.nan), CONFIDENCE),
        explored=sums.explored,
        audited=sums.audited,
        quality=_quality(ledger, baseline, sums),
        left=sums.left,
    )


def _overhead(row: Row, overhead: Sequence[Mapping[str, str]]) -> str | None:
    """What a request is that served nobody; None: it is traffic."""
    if row["strategy"] == "shadow":
        return SHADOWS
    tags = next((one for one in overhead if all(row.get(name) == value for name, value in one.items())), None)
    return None if tags is None else ", ".join(f"{tag}={value}" for tag, value in tags.items())


def baseline_of(decision: Mapping[str, Any], given: str | None) -> str | None:
    """The model that a request is compared with, by its decision in the ledger; None: no other than the one asked."""
    if decision.get("strategy") not in CHOSEN:
        return None  # a pinned model would have been pinned
    if given is not None:
        return given
    if versus := decision.get("versus"):
        return str(versus)
    known = [one for one in decision.get("candidates", ()) if one.get("quality") is not None]
    return str(max(known, key=lambda one: one["quality"])["model"]) if known else None


def _compare(
    sums: _Sums, row: Row, attempts: list[dict[str, Any]], policy: Policy, given: str | None, lengths: Lengths,
    hit: Hit | None, ledger: Ledger, price_of: Callable[[str | None], Price | None],
) -> None:  # fmt: skip
    decision = json.loads(row["decision"] or "{}")
    origin = decision
    if hit is not None:  # what it would have been without a cache is in the request whose answer it is
        source = ledger.request(hit.source) if hit.source else None
        if source is None or hit.usd is None:
            sums.left.hits_unknown += 1
            return
        origin, attempts = json.loads(source["decision"] or "{}"), ledger.attempts(hit.source or "")
    answers = [one for one in attempts if one["model"] == row["model_served"] and one["input_tokens"] is not None]
    model = baseline_of(origin, given) or row["model_served"]
    day = datetime.fromtimestamp(row["at_us"] / 1e6, UTC).date()
    price = price_on(policy.prices.get(model, ()), day)
    steps = _steps(attempts, price_of)
    if not answers or price is None or steps is None:
        sums.left.unpriced += 1
        return
    usage = _plain(usage_in(answers[-1]))
    if model != row["model_served"]:
        grown = lengths.ratio(row["task"], model, row["model_served"])
        usage = replace(usage, output_tokens=round(usage.output_tokens * grown), reasoning_tokens=0)
    base = float(price.cost(usage))
    direct, tiered, paid = steps
    if hit is not None and hit.usd is not None:
        direct = tiered = paid = float(hit.usd)
    lever = "cascade" if origin.get("strategy") == "cascade" else "routing"
    line = dict.fromkeys(LINES, 0.0) | {lever: base - direct, "batch": direct - tiered, "prompt caching": tiered - paid}
    line["cache"] = paid if hit is not None else 0.0
    run = sums.runs.setdefault(row["run_id"] or row["id"], [0.0] * (1 + len(LINES)))
    for place, usd in enumerate((base, *line.values())):
        run[place] += usd
    sums.baselines[model] = sums.baselines.get(model, 0) + 1
    sums.explored += _explored(decision)
    sums.audited += (decision.get("semantic") or {}).get("outcome") == "verify"
    qualities = {one["model"]: one for one in origin.get("candidates", ())}
    one, other = qualities.get(row["model_served"]), qualities.get(model)
    if model == row["model_served"]:
        sums.deltas.append((0.0, 0.0, 0.0))
    elif one and other and one.get("quality") is not None and other.get("quality") is not None:
        low = one["quality"] if one.get("quality_low") is None else min(one["quality_low"], one["quality"])
        least = other["quality"] if other.get("quality_low") is None else min(other["quality_low"], other["quality"])
        sums.deltas.append((one["quality"] - other["quality"], low - other["quality"], one["quality"] - least))


def _steps(
    attempts: Sequence[Row], price_of: Callable[[str | None], Price | None]
) -> tuple[float, float, float] | None:
    """USD of the calls without caching and batch, without caching alone, and as paid; None: unknown."""
    direct = tiered = paid = 0.0
    for one in attempts:
        if one["cost_pusd"] is None:
            return None
        cost = one["cost_pusd"] / 1e12
        price, paid = price_of(one["price_id"]), paid + cost
        if price is None or one["input_tokens"] is None:
            direct, tiered = direct + cost, tiered + cost
            continue
        usage = usage_in(one)
        direct += float(price.cost(_plain(usage)))
        tiered += float(price.cost(replace(_plain(usage), service_tier=usage.service_tier)))
    return direct, tiered, paid


def _plain(usage: Usage) -> Usage:
    """The same tokens without a prompt cache, at the standard tier."""
    return replace(usage, cached_input_tokens=0, cache_write_tokens=0, cache_write_1h_tokens=0, service_tier="standard")


def _explored(decision: Mapping[str, Any]) -> bool:
    """Whether chance sent it to a model that was not the likeliest."""
    chances = {one["model"]: one["propensity"] for one in decision.get("candidates", ()) if one.get("propensity")}
    plan = decision.get("plan") or [None]
    return bool(chances) and chances.get(plan[0], 0.0) < max(chances.values())


def _quality(ledger: Ledger, given: str | None, sums: _Sums) -> Quality | None:
    scored = against(ledger, lambda decision: baseline_of(decision, given))
    if scored:
        seen = value(scored)
        if seen.suffices:
            note = f"of {seen.extrapolated:.0%} the baseline was never seen" if seen.extrapolated else ""
            of = seen.difference  # the baseline's minus what was served
            return Quality(delta=-of.mean, low=-of.high, high=-of.low, source="feedback", requests=seen.n, note=note)
    if not sums.deltas or len(sums.deltas) < LEAST_KNOWN * sum(sums.baselines.values()):
        return None
    mean, low, high = (float(one) for one in np.mean(sums.deltas, axis=0))
    return Quality(delta=mean, low=low, high=high, source="evidence", requests=len(sums.deltas))


def _requests(
    ledger: Ledger, since_us: int, until_us: int | None
) -> Iterator[tuple[dict[str, Any], list[dict[str, Any]]]]:
    after, end_us = 0, 1 << 62 if until_us is None else until_us
    while True:
        page = ledger.rows(
            "SELECT * FROM requests WHERE seq > ? AND at_us >= ? AND at_us < ? AND kind = 'chat' ORDER BY seq LIMIT ?",
            (after, since_us, end_us, PAGE),
        )
        if not page:
            return
        made: dict[str, list[dict[str, Any]]] = {}
        marks = ", ".join("?" * len(page))
        for one in ledger.rows(
            f"SELECT * FROM attempts WHERE request_id IN ({marks}) ORDER BY request_id, number",  # noqa: S608
            [row["id"] for row in page],
        ):
            made.setdefault(one["request_id"], []).append(one)
        for row in page:
            yield row, made.get(row["id"], [])
        after = page[-1]["seq"]


def _less(one: Ratio, usd: float) -> Ratio:
    return Ratio(
        value=(one.value or 0.0) - usd,
        low=None if one.low is None else one.low - usd,
        high=None if one.high is None else one.high - usd,
    )
