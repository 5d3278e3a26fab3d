"""How a router is judged: quality and cost along its dial, cross-fitted savings, paired bootstrap, RouteLLM's measures.

A cross-fitted saving chooses the operating point on one random half of the judged queries and measures it on the other,
50 times, so that luck in choosing does not count.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from router.predict.calibrate import calibration_error
from router.predict.dial import choose, spread, trace

Array = NDArray[np.float64]
DRAWS = 50
RESAMPLES, DRAWS_PER_RESAMPLE = 500, 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """An outcome table as arrays, queries and models in alphabetical order."""

    queries: list[str]
    models: list[str]
    tasks: NDArray[np.str_]
    leaves: NDArray[np.str_]
    """Task and subtask, shape (n,)."""
    texts: list[str]
    quality: Array
    """Shape (n, m)."""
    cost_usd: Array

    @classmethod
    def of(cls, table: pa.Table) -> Frame:
        """Every query has an outcome of every model."""
        names = [
            n
            for n in ("query_id", "task", "subtask", "prompt", "model", "quality", "cost_usd")
            if n in table.column_names
        ]
        rows = table.select(names).to_pylist()
        queries, models = sorted({row["query_id"] for row in rows}), sorted({row["model"] for row in rows})
        at, column = {name: i for i, name in enumerate(queries)}, {name: i for i, name in enumerate(models)}
        quality, cost = np.full((2, len(queries), len(models)), np.nan)
        first: dict[str, dict[str, Any]] = {}
        for row in rows:
            place = at[row["query_id"]], column[row["model"]]
            quality[place], cost[place] = row["quality"], row["cost_usd"]
            first.setdefault(row["query_id"], row)
        assert np.isfinite(quality).all(), "a query lacks the outcome of a model"
        own = [first[query] for query in queries]
        return cls(
            queries=queries,
            models=models,
            tasks=np.array([row["task"] for row in own]),
            leaves=np.array([f"{row['task']}/{row.get('subtask') or ''}" for row in own]),
            texts=[row["prompt"] for row in own],
            quality=quality,
            cost_usd=cost,
        )

    @property
    def best(self) -> int:
        """The best constant model: the one with the best mean quality."""
        return int(self.quality.mean(0).argmax())


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """What a router did with the judged queries at each of its operating points; shape (points, n)."""

    quality: Array
    cost_usd: Array
    strong: Array
    """Shape (points,): share of queries on which the best constant model was called."""


def is_judged(query: str, split: int = 0) -> bool:
    """Whether a query is in the half that judges, in one of many ways to split."""
    return hashlib.sha256(f"judge{split or ''}/{query}".encode()).digest()[0] % 2 == 0


def halves(table: pa.Table, split: int = 0) -> tuple[pa.Table, pa.Table]:
    """The half that trains and the one that judges."""
    judged = np.array([is_judged(query, split) for query in table["query_id"].to_pylist()])
    return table.filter(pa.array(~judged)), table.filter(pa.array(judged))


def decided(decisions: pa.Table, frame: Frame) -> Curve:
    """The curve of decisions as `router.replay.replay` returns them."""
    points = int(np.max(decisions["point"].to_numpy())) + 1
    quality, cost = np.zeros((2, points, len(frame.queries)))
    strong = np.zeros(points)
    at, column = ({name: i for i, name in enumerate(names)} for names in (frame.queries, frame.models))
    for row in decisions.to_pylist():
        place = row["point"], at[row["query_id"]]
        answered = column[row["answer_model"]]
        quality[place] = frame.quality[place[1], answered]
        cost[place] = sum(frame.cost_usd[place[1], column[model]] for model in row["calls"])
        strong[row["point"]] += frame.models[frame.best] in row["calls"]
    return Curve(quality=quality, cost_usd=cost, strong=strong / len(frame.queries))


def routed(expected: Array, expected_cost: Array, frame: Frame, points: int) -> Curve:
    """The curve of a predictor: the greatest quality minus price x cost, along our dial."""
    rows = np.arange(len(frame.queries))
    prices = spread(*trace(expected, expected_cost), points)
    chosen = np.stack([choose(expected, expected_cost, float(price)) for price in prices])
    return Curve(
        quality=frame.quality[rows, chosen],
        cost_usd=frame.cost_usd[rows, chosen],
        strong=(chosen == frame.best).mean(1),
    )


def mixed(shares: Array, called: Array, frame: Frame) -> Curve:
    """What to expect of models drawn by chance; shares of answers and calls have shape (points, m)."""
    return Curve(quality=shares @ frame.quality.T, cost_usd=called @ frame.cost_usd.T, strong=called[:, frame.best])


def hull(seen: Frame, frame: Frame, points: int) -> Curve:
    """RouterBench's zero router: random mixes of two neighbouring models on the hull of (cost, quality)."""
    cost, quality = seen.cost_usd.mean(0), seen.quality.mean(0)
    corners: list[int] = []
    for model in np.lexsort((-quality, cost)):
        if corners and quality[model] <= quality[corners[-1]]:
            continue
        while len(corners) > 1 and _slope(quality, cost, corners[-1], model) >= _slope(quality, cost, *corners[-2:]):
            corners.pop()
        corners.append(int(model))
    wanted = np.geomspace(cost[corners[0]], cost[corners[-1]], points)
    shares = np.column_stack([np.interp(wanted, cost[corners], np.eye(len(corners))[i]) for i in range(len(corners))])
    whole = np.zeros((points, len(cost)))
    whole[:, corners] = shares
    return mixed(whole, whole, frame)


def _slope(quality: Array, cost: Array, start: int, end: int) -> float:
    return float((quality[end] - quality[start]) / max(cost[end] - cost[start], 1e-15))


def shuffled(decisions: pa.Table, frame: Frame, points: int) -> Curve:
    """The same calls and answers dealt to other queries by chance: what the money alone brings."""
    shares, called = np.zeros((2, points, len(frame.models)))
    column = {name: i for i, name in enumerate(frame.models)}
    for row in decisions.to_pylist():
        shares[row["point"], column[row["answer_model"]]] += 1 / len(frame.queries)
        for model in row["calls"]:
            called[row["point"], column[model]] += 1 / len(frame.queries)
    return mixed(shares, called, frame)


def crossed(curve: Curve, frame: Frame) -> dict[str, float | None]:
    """Cross-fitted savings against the best constant model; None where the aim is missed in a fifth of the draws."""
    random = np.random.RandomState(0)
    draws = np.stack([random.rand(len(frame.queries)) < 0.5 for _ in range(DRAWS)]).astype(float)
    found = _chosen(curve, frame, draws, 1.0 - draws)
    figures: dict[str, float | None] = {}
    for name, values in found.items():
        is_missed = np.isnan(values).mean() > 0.2
        figures[name] = None if is_missed else round(float(np.nanmean(values)), 4)
        if name == "parity_saving":
            figures["parity_saving_sd"] = None if is_missed else round(float(np.nanstd(values)), 4)
    return figures


def _chosen(curve: Curve, frame: Frame, choosing: Array, judging: Array) -> dict[str, Array]:
    """Measures of the points that some queries choose and others judge; weights of shape (draws, n)."""
    choosing, judging = (weights / weights.sum(1, keepdims=True) for weights in (choosing, judging))
    constant, constant_usd = frame.quality[:, frame.best], frame.cost_usd[:, frame.best]
    quality, cost = curve.quality @ choosing.T, curve.cost_usd @ choosing.T
    judged, judged_usd = curve.quality @ judging.T, curve.cost_usd @ judging.T
    draws = np.arange(len(choosing))
    aim, spent = choosing @ constant, judging @ constant_usd
    result = {}
    for name, share in (("parity", 1.0), ("98", 0.98)):
        good = quality >= share * aim - 1e-12
        point = np.where(good, cost, np.inf).argmin(0)
        missed = ~good.any(0)
        result[f"{name}_saving"] = np.where(missed, np.nan, 1 - judged_usd[point, draws] / spent)
        above = judged[point, draws] - share * (judging @ constant)
        result[f"{name}_quality"] = np.where(missed, np.nan, above)
    result["gain"] = judged[quality.argmax(0), draws] - judging @ constant
    return result


def resampled(curve: Curve, frame: Frame) -> dict[str, Array]:
    """The measures on 500 bootstrap samples of the judged queries, the same for every curve; shape (500,) each.

    A query stays in one half of a draw however often it is drawn. Where the aim is missed the best constant serves:
    nothing is saved.
    """
    random = np.random.default_rng(1)
    count = len(frame.queries)
    kept: dict[str, list[float]] = {}
    for _ in range(RESAMPLES):
        weights = random.multinomial(count, np.full(count, 1 / count)).astype(float)
        draws = random.random((DRAWS_PER_RESAMPLE, count)) < 0.5
        for name, values in _chosen(curve, frame, draws * weights, ~draws * weights).items():
            kept.setdefault(name, []).append(float(np.nan_to_num(values).mean()))
        if len(frame.models) == 2:
            kept.setdefault("apgr", []).append(routellm(curve, frame, weights / count)["apgr"])
    return {name: np.array(values) for name, values in kept.items()}


def difference(ours: dict[str, Array], theirs: dict[str, Array]) -> dict[str, list[float]]:
    """95 % intervals of theirs minus ours, paired by query."""
    return {
        name: [round(float(end), 4) for end in np.quantile(theirs[name] - ours[name], (0.025, 0.975))]
        for name in ours
        if not name.endswith("_quality")
    }


def routellm(curve: Curve, frame: Frame, weights: Array | None = None) -> dict[str, float]:
    """APGR and CPT (RouteLLM, arXiv 2406.18665) of a two-model table; cost is the share of the strong model's calls."""
    weights = np.full(len(frame.queries), 1 / len(frame.queries)) if weights is None else weights
    single = weights @ frame.quality
    strong, weak = single[frame.best], single[1 - frame.best]
    recovered = (curve.quality @ weights - weak) / (strong - weak)
    order = np.argsort(curve.strong, kind="stable")
    share, recovered = np.r_[0, curve.strong[order], 1], np.r_[0, recovered[order], 1]
    rising = np.maximum.accumulate(recovered)
    return {
        "apgr": round(float(((recovered[1:] + recovered[:-1]) / 2) @ np.diff(share)), 4),
        "cpt50": round(float(100 * np.interp(0.5, rising, share)), 1),
        "cpt80": round(float(100 * np.interp(0.8, rising, share)), 1),
    }


def calibration(expected: Array, frame: Frame) -> dict[str, float]:
    """Expected calibration error (ten equally full bins a model, mean over models) and Brier score."""
    return {
        "ece": round(calibration_error(expected, frame.quality), 4),
        "brier": round(float(((expected - frame.quality) ** 2).mean()), 4),
    }
