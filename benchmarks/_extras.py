"""Beyond cost and quality: are the cascade's chances true, do small changes turn decisions, how many labels?"""

from __future__ import annotations

import random as randoms
import re
import statistics
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from _measures import Array, Curve, Frame, crossed, decided, routed
from _peers import PEERS, expected_cost

from router.climb import Listener
from router.predict import Predictor
from router.predict.calibrate import calibration_error
from router.predict.train import train
from router.replay import replay

SIZES = (100, 300, 1000)
DRAWN = 3
"""Random training sets of each size; the curve shows their mean."""
WORD = re.compile(r"[A-Za-z]{4,}")
SAME = {
    "find": "determine", "calculate": "compute", "what is": "what's", "how many": "what number of", "total": "overall",
    "which of the following": "which one of these", "each": "every", "does not": "doesn't", "because": "since",
    "suppose": "assume", "however": "but", "begin": "start", "bought": "purchased", "also": "too", 
    "approximately": "about",
}  # fmt: skip
"""Words that stand for each other; numbers, code and answer choices stay as they are."""


def extras(seen: pa.Table, unseen: pa.Table, predictor: Predictor, points: int) -> dict[str, Any]:
    return {
        "calibration": acceptance(unseen, predictor),
        "robustness": robustness(unseen, predictor, points),
        "learning": learning(seen, unseen, points),
    }


def acceptance(unseen: pa.Table, predictor: Predictor, points: int = 10) -> list[dict[str, Any]]:
    """The cascade's P(the standing answer clears) against its grade, at the end of every climb along the dial."""
    queries: dict[str, dict[str, Any]] = {}
    for row in unseen.to_pylist():
        queries.setdefault(row["query_id"], {**row, "of": {}})["of"][row["model"]] = row
    claimed, graded, calls = [], [], []
    for query in queries.values():
        labels = predictor.labels(query["task"], query.get("subtask") or None)
        expected = predictor.predict_many([query["prompt"]], [query["task"]], [query.get("subtask") or None])
        for price in predictor.dial(points, "cascade").tolist():
            choice = predictor.choice(price, *labels)
            if choice is None or choice.ladder is None:
                continue
            climb = predictor.climb(choice, expected.quality[0], query["prompt"], *labels)
            listener = Listener(climb, predictor.models)
            for number, model in enumerate(predictor.models[place] for place in climb.models):
                if number and not listener.wants(model):
                    break
                listener.read(model, query["of"][model]["response"] or "", query["of"][model]["output_tokens"])
            claimed.append(climb.chance)
            graded.append(query["of"][listener.standing()]["quality"])
            calls.append(number + 1)
    if not claimed:
        return [{"acceptance": "no cascade was learned"}]
    chance, grade = np.array(claimed)[:, None], np.array(graded)[:, None]
    return [
        {
            "acceptance_ece": round(calibration_error(chance, grade), 4),
            "brier": round(float(((chance - grade) ** 2).mean()), 4),
            "brier_of_the_mean": round(float(grade.var()), 4),
            "mean_claimed": round(float(chance.mean()), 4),
            "mean_graded": round(float(grade.mean()), 4),
            "climbs": len(claimed),
        }
    ]


def typos(text: str, rate: float = 0.1) -> str:
    """Two neighbouring letters swapped in a tenth of the longer words, the same ones every time."""
    random = randoms.Random(text)

    def swap(found: re.Match[str]) -> str:
        word = found[0]
        if random.random() >= rate:
            return word
        at = random.randrange(len(word) - 1)
        return word[:at] + word[at + 1] + word[at] + word[at + 2 :]

    return WORD.sub(swap, text)


def reworded(text: str) -> str:
    """Courtesy, other line ends and synonyms; no paraphrase by a model, which this machine has none for."""
    for word, other in SAME.items():
        text = re.sub(rf"\b{word}\b", other, text, flags=re.IGNORECASE)
    return f"Hi! Could you please help me with this?\n\n{text}\n\nThank you very much."


def lowered(text: str) -> str:
    """All letters small; answer choices are no longer upper case, so a cascade must read answers without them."""
    return text.lower()


CHANGES: dict[str, Callable[[str], str]] = {"typos": typos, "reworded": reworded, "lower case": lowered}


def robustness(unseen: pa.Table, predictor: Predictor, points: int) -> list[dict[str, Any]]:
    """How many decisions turn, and what the turned ones are worth, at the points that keep 98 % of the best.

    Grades are of answers to the unchanged text; only the decision is made on the changed one.
    """
    frame = Frame.of(unseen)
    hidden = [name for name in ("quality", "reference") if name in unseen.column_names]
    place = unseen.column_names.index("prompt")
    rows = []
    for strategy in ("single", "cascade"):
        before = replay(predictor, unseen.drop_columns(hidden), points, strategy)
        for name, change in CHANGES.items():
            changed = pa.array([change(text) for text in unseen["prompt"].to_pylist()])
            after = replay(
                predictor, unseen.set_column(place, "prompt", changed).drop_columns(hidden), points, strategy
            )
            point, row = _at_98(decided(before, frame), frame), {"strategy": strategy, "change": name}
            old, new = (_chosen(table, point) for table in (before, after))
            then, now = decided(before, frame), decided(after, frame)
            rows.append(
                {
                    **row,
                    "flipped_answers": round(statistics.mean(old[q][1] != new[q][1] for q in old), 3),
                    "flipped_calls": round(statistics.mean(old[q][0] != new[q][0] for q in old), 3),
                    "quality": round(float(then.quality[point].mean()), 4),
                    "quality_change": round(float(now.quality[point].mean() - then.quality[point].mean()), 4),
                    "cost_ratio": round(float(now.cost_usd[point].mean() / then.cost_usd[point].mean()), 3),
                }
            )
    return rows


def _at_98(curve: Curve, frame: Frame) -> int:
    good = curve.quality.mean(1) >= 0.98 * frame.quality[:, frame.best].mean()
    return int(np.where(good, curve.cost_usd.mean(1), np.inf).argmin()) if good.any() else len(good) - 1


def _chosen(decisions: pa.Table, point: int) -> dict[str, tuple[list[str], str]]:
    rows = decisions.filter(pc.equal(decisions["point"], point)).to_pylist()
    return {row["query_id"]: (row["calls"], row["answer_model"]) for row in rows}


def learning(seen: pa.Table, unseen: pa.Table, points: int) -> list[dict[str, Any]]:
    """Measures by number of training queries, mean of three random sets (of one, where all are taken)."""
    frame = Frame.of(unseen)
    hidden = [name for name in ("quality", "reference") if name in unseen.column_names]
    names = sorted(set(seen["query_id"].to_pylist()))
    rows = []
    for size in (*(size for size in SIZES if size < len(names)), len(names)):
        found: dict[str, list[dict[str, float | None]]] = {}
        for number in range(1 if size == len(names) else DRAWN):
            kept = np.random.default_rng(number).choice(len(names), size, replace=False)
            part = seen.filter(pc.is_in(seen["query_id"], pa.array([names[place] for place in kept])))
            trained, _ = train(part, seed=0)
            predictor, own = Predictor(trained), Frame.of(part)
            for strategy in ("single", "cascade"):
                curve = decided(replay(predictor, unseen.drop_columns(hidden), points, strategy), frame)
                found.setdefault(f"ours, {strategy}", []).append(_summary(curve, frame))
            for key in ("per-task table (label)", "kNN 40"):
                expected = _peer(key, own, frame)
                if expected is not None:
                    curve = routed(expected, expected_cost(own, frame), frame, points)
                    found.setdefault(key, []).append(_summary(curve, frame))
        for key, values in found.items():
            means = {name: round(float(np.mean([row[name] or 0.0 for row in values])), 4) for name in values[0]}
            rows.append({"queries": size, "router": key, **means})
    return rows


_vectors: dict[str, Array] = {}


def remember(texts: list[str], vectors: Array) -> None:
    """Embeddings that peers may use here, too."""
    _vectors.update(zip(texts, vectors, strict=True))


def _peer(key: str, own: Frame, frame: Frame) -> Array | None:
    if "kNN" not in key:
        nothing = np.zeros((0, 0))
        return PEERS[key](own, frame, nothing, nothing)
    if not _vectors:
        return None
    known, asked = (np.stack([_vectors[text] for text in part.texts]) for part in (own, frame))
    return PEERS[key](own, frame, known, asked)


def _summary(curve: Curve, frame: Frame) -> dict[str, float | None]:
    """Savings (0 where the aim is missed) and gain."""
    row = crossed(curve, frame)
    return {"saving_at_98": row["98_saving"], "saving_at_parity": row["parity_saving"], "gain": row["gain"]}
