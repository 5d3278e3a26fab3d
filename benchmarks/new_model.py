"""A new model from few calls: each model of a table is taken out, asked only anchors, and compared with its outcomes.

Beside anchors drawn blindly (the same number from each group), the mean of the anchors' own outcomes, and the mean of
all other models, which needs no call at all. With `--served`, too: an artifact is trained on a half of the queries
without the model, learns it from 50 anchors, and predicts it on the texts of the other half, beside an artifact that
was trained on all of its outcomes in the first half.

    python benchmarks/new_model.py OUTCOMES... [--anchors 25 50 100] [--draws 10] [--served]
"""

from __future__ import annotations

import argparse
import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from _results import write
from numpy.typing import NDArray

from router.outcomes import read_outcomes
from router.predict import Predictor
from router.predict.add_model import add_model
from router.predict.anchors import pick_at_random
from router.predict.matrix import read_matrix
from router.predict.new_model import Known, Study, Trial, expect_spending, trial
from router.predict.train import train

Array = NDArray[np.float64]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("outcomes", type=Path, nargs="+")
    parser.add_argument("--anchors", type=int, nargs="+", default=[25, 50, 100])
    parser.add_argument("--draws", type=int, default=10, help="of blind anchors, per model")
    parser.add_argument("--served", action="store_true")
    arguments = parser.parse_args()
    rows, served = [], []
    for path in arguments.outcomes:
        rows += measured(path, arguments.anchors, arguments.draws)
        if arguments.served:
            served.append(on_new_texts(path))
    print(write("new_model", {"draws": arguments.draws, "rows": rows, "served": served}))


def measured(path: Path, counts: list[int], draws: int) -> list[dict[str, Any]]:
    matrix = read_matrix(read_outcomes(path))
    known = Known.of(matrix)
    cost = matrix.cost_usd[known.rows]
    found: dict[int, list[dict[str, Any]]] = {count: [] for count in counts}
    for model, name in enumerate(known.models):
        rest, own = known.without(model), known.quality[:, model]
        scale = rest.scale()
        for count in counts:
            chosen = scale.pick(count)
            random = np.random.default_rng(model)
            blind = [trial(rest, scale, name, pick_at_random(known.group, count, random), own) for _ in range(draws)]
            spent = expect_spending(
                rest,
                chosen,
                known.input_tokens[chosen, model],
                known.output_tokens[chosen, model],
                cost[chosen, model],
            )
            found[count].append(
                {
                    "chosen": trial(rest, scale, name, chosen, own),
                    "blind": blind,
                    "sampled": [sampled(rest, own, count, random) for _ in range(draws)],
                    "cost_ratio": float(spent.cost_usd.mean() / cost[:, model].mean()),
                    "length_ratio": float(spent.output_tokens.mean() / known.output_tokens[:, model].mean()),
                }
            )
    rows = []
    for count, tried in found.items():
        row = {"table": path.stem, "models": len(known.models), "groups": len(known.names), "anchors": count}
        row |= figures(tried)
        rows.append(row)
        print_row(row)
    return rows


def on_new_texts(path: Path) -> dict[str, Any]:
    """Predictions of the added model on texts that no artifact has seen, mean over models."""
    table = read_outcomes(path)
    # Ladders keep to the models they were found for and take most of the time; without responses there are none.
    table = table.set_column(table.column_names.index("response"), "response", [[""] * len(table)])
    queries = table["query_id"].to_pylist()
    half = np.array([hashlib.sha256(f"judge/{query}".encode()).digest()[0] % 2 == 0 for query in queries])
    seen, unseen = table.filter(pa.array(~half)), table.filter(pa.array(half))
    whole = Predictor(train(seen)[0])
    figures: dict[str, list[float]] = {}
    for model in whole.models:
        rest, own = seen.filter(pc.not_equal(seen["model"], model)), seen.filter(pc.equal(seen["model"], model))
        matrix = read_matrix(rest)
        known = Known.of(matrix)
        ids = [matrix.query_ids[known.rows[place]] for place in known.scale().pick(50)]
        before = train(rest)[0]
        after = Predictor(add_model(before, rest, own.filter(pc.is_in(own["query_id"], pa.array(ids))))[0])
        asked = unseen.filter(pc.equal(unseen["model"], model))
        subtasks = asked["subtask"].to_pylist() if "subtask" in asked.column_names else [None] * len(asked)
        texts = (asked["prompt"].to_pylist(), asked["task"].to_pylist(), subtasks)
        truth, length = asked["quality"].to_numpy(), asked["output_tokens"].to_numpy()
        added, full, place = after.predict_many(*texts), whole.predict_many(*texts), whole.models.index(model)
        for name, value in {
            "brier": ((added.quality[:, -1] - truth) ** 2).mean(),
            "brier_trained_in_full": ((full.quality[:, place] - truth) ** 2).mean(),
            "brier_all_models": ((added.quality[:, :-1].mean(axis=1) - truth) ** 2).mean(),
            "mean_error": abs(added.quality[:, -1].mean() - truth.mean()),
            "mean_error_trained_in_full": abs(full.quality[:, place].mean() - truth.mean()),
            "width": (added.quality_high - added.quality_low)[:, -1].mean(),
            "width_trained_in_full": (full.quality_high - full.quality_low)[:, place].mean(),
            "length_below_p95": (length <= added.output_tokens_p95[:, -1]).mean(),
            "length_below_p95_trained_in_full": (length <= full.output_tokens_p95[:, place]).mean(),
        }.items():
            figures.setdefault(name, []).append(float(value))
    row = {"table": path.stem, **{name: round(float(np.mean(values)), 4) for name, values in figures.items()}}
    print(f"{path.stem}, texts that no artifact has seen: {row}", flush=True)
    return row


def sampled(rest: Known, own: Array, count: int, random: np.random.Generator) -> float:
    """Error of the mean over groups when nothing but the blind anchors' own outcomes is used, shrunk to their mean."""
    at = pick_at_random(rest.group, count, random)
    errors = []
    for number in range(len(rest.names)):
        here = own[at][rest.group[at] == number]
        errors.append(abs((here.sum() + 5.0 * own[at].mean()) / (len(here) + 5.0) - own[rest.group == number].mean()))
    return float(np.mean(errors))


def figures(tried: list[dict[str, Any]]) -> dict[str, Any]:
    chosen = Study(anchors=0, trials=tuple(one["chosen"] for one in tried))
    per_model: dict[str, Callable[[dict[str, Any]], float]] = {
        "group_error": lambda one: group_error(one["chosen"]),
        "group_error_blind": lambda one: float(np.mean([group_error(other) for other in one["blind"]])),
        "group_error_sampled": lambda one: float(np.mean(one["sampled"])),
        "group_error_all_models": lambda one: groups_of(one["chosen"].means - one["chosen"].truth),
        "overall_error": lambda one: abs(float(one["chosen"].error[-1])),
        "overall_error_blind": lambda one: float(np.mean([abs(other.error[-1]) for other in one["blind"]])),
        "overall_error_all_models": lambda one: abs(float(one["chosen"].means[-1] - one["chosen"].truth[-1])),
        "brier": lambda one: one["chosen"].brier,
        "brier_blind": lambda one: float(np.mean([other.brier for other in one["blind"]])),
        "brier_all_models": lambda one: one["chosen"].brier_of_means,
        "cost_error": lambda one: abs(float(np.log(one["cost_ratio"]))),
        "length_error": lambda one: abs(float(np.log(one["length_ratio"]))),
    }
    values = {name: np.array([read(one) for one in tried]) for name, read in per_model.items()}
    row: dict[str, Any] = {}
    for name, own in values.items():
        mean, low, high = chosen.over_models(own)
        row[name] = {"mean": round(mean, 4), "low": round(low, 4), "high": round(high, 4)}
    for versus in ("blind", "sampled", "all_models"):
        row[f"group_error_to_{versus}"] = ratio(values["group_error"], values[f"group_error_{versus}"])
    for versus in ("blind", "all_models"):
        row[f"brier_to_{versus}"] = ratio(values["brier"], values[f"brier_{versus}"])
    raw = [np.abs(one["chosen"].error) <= 1.645 * one["chosen"].deviation for one in tried]
    row["coverage"], row["coverage_unstretched"] = round(chosen.coverage, 3), round(float(np.mean(raw)), 3)
    row["stretch"] = round(chosen.stretch, 2)
    row["half_width"] = round(float(np.mean([1.645 * chosen.stretch * one["chosen"].deviation for one in tried])), 3)
    return row


def groups_of(errors: Array) -> float:
    return float(np.abs(errors[: max(len(errors) - 1, 1)]).mean())


def group_error(one: Trial) -> float:
    return groups_of(one.error)


def ratio(own: Array, other: Array) -> dict[str, float]:
    """Ratio of the means over models, with a 95 % interval of a bootstrap over models."""
    drawn = np.random.default_rng(0).integers(0, len(own), (2_000, len(own)))
    low, high = np.quantile(own[drawn].mean(axis=1) / other[drawn].mean(axis=1), (0.025, 0.975))
    return {
        "mean": round(float(own.mean() / other.mean()), 3),
        "low": round(float(low), 3),
        "high": round(float(high), 3),
    }


def print_row(row: dict[str, Any]) -> None:
    def told(name: str) -> str:
        own = row[name]
        return f"{own['mean']:.4g} ({own['low']:.4g} to {own['high']:.4g})"

    print(f"{row['table']}: {row['models']} models, {row['groups']} groups, {row['anchors']} anchors")
    for name in ("group_error", "group_error_to_blind", "group_error_to_sampled", "group_error_to_all_models",
                 "overall_error", "overall_error_blind", "overall_error_all_models",
                 "brier", "brier_to_blind", "brier_to_all_models", "cost_error", "length_error"):  # fmt: skip
        print(f"  {name:<28} {told(name)}")
    print(f"  90 % intervals hold {row['coverage']:.1%} (unstretched {row['coverage_unstretched']:.1%}), "
          f"half width {row['half_width']}, stretch {row['stretch']}", flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
