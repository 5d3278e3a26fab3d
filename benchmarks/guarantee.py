"""How often a promised bar or drop is broken, and how much it lets the router save.

Decisions come from a plan that has not seen the query: each table is cut in two by a hash of `query_id`, each half is
decided by the plan trained on the other; or they are read from a file that `clearbar replay` wrote. Then, 200 times,
a random half of the judged queries certifies an operating point, for the whole table and for each task by itself.

A promise is about the mean over queries like these, so it is broken if the mean over all judged queries breaks it. The
mean over the other half alone is printed beside it: that half is a sample itself, and the luckier the first, the
unluckier the second, so it may fall below a promise that holds (up to 18 % of the splits at confidence 0.9).

    python benchmarks/guarantee.py OUTCOMES [--decisions FILE] [--strategy cascade] [--splits 200] [--points 20]
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from _measures import Frame, decided, is_judged
from _results import write
from numpy.typing import NDArray

from router.outcomes import read_outcomes
from router.predict import Predictor, artifact
from router.predict.guarantee import Promise, certify_drop, certify_min
from router.predict.train import train
from router.replay import Strategy, replay

Array = NDArray[np.float64]
DROPS = ((0.01, 0.9), (0.02, 0.9), (0.02, 0.95), (0.05, 0.9))
"""Allowed drop against the best constant model, and confidence."""
SHARES = ((0.9, 0.9), (0.95, 0.9), (0.98, 0.9), (0.98, 0.95))
"""Bar as a share of the best constant model's mean quality, and confidence."""
FEWEST = 100
"""Tasks with fewer queries are judged as part of the whole table only."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("outcomes", type=Path)
    parser.add_argument("--decisions", type=Path, help="of queries that the plan was not trained on")
    parser.add_argument("--strategy", choices=("single", "cascade"), default="cascade")
    parser.add_argument("--splits", type=int, default=200)
    parser.add_argument("--points", type=int, default=20)
    arguments = parser.parse_args()
    table = read_outcomes(arguments.outcomes)
    if arguments.decisions:
        decisions = pq.read_table(arguments.decisions)
    else:
        decisions = cross_fitted(table, arguments.points, arguments.strategy)
    plan = Recorded.of(table, decisions)
    figures = plan.figures(arguments.splits)
    for row in figures["rows"]:
        print(
            f"{row['what']:>28}  {row['bar']:<22} promised {row['promised']:>5.0%}  broken {row['broken']:>5.1%}  "
            f"below on the other half {row['below_on_other_half']:>5.1%}  "
            f"routed down {row['routed_down']:>5.1%} of the spend"
        )
    print(write(f"guarantee_{arguments.outcomes.stem}", {"table": arguments.outcomes.stem, **figures}))


def cross_fitted(table: pa.Table, points: int, strategy: Strategy) -> pa.Table:
    """Decisions about every query, by the plan trained on the half that it is not in."""
    judged = np.array([is_judged(query) for query in table["query_id"].to_pylist()])
    parts = []
    for half in (judged, ~judged):
        seen, unseen = table.filter(pa.array(~half)), table.filter(pa.array(half))
        with tempfile.TemporaryDirectory() as folder:
            artifact.save(train(seen, seed=0)[0], Path(folder, "artifact"), created="")
            predictor = Predictor.load(Path(folder, "artifact"))
        hidden = [name for name in ("quality", "reference") if name in unseen.column_names]
        parts.append(replay(predictor, unseen.drop_columns(hidden), points, strategy))
    return pa.concat_tables(parts)


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """Outcomes of a plan's decisions beside the best constant model's; n queries in random order."""

    quality: Array
    """Shape (points, n)."""
    cost_usd: Array
    reference: Array
    """Shape (n,)."""
    reference_usd: Array
    all_models_usd: Array
    tasks: NDArray[np.str_]
    reference_model: str

    @classmethod
    def of(cls, table: pa.Table, decisions: pa.Table) -> Recorded:
        """What the decisions served and cost, by an outcome table that may hold more queries."""
        queries = pc.unique(decisions["query_id"])
        frame = Frame.of(table.filter(pc.is_in(table["query_id"], queries)))
        curve, best = decided(decisions, frame), frame.best
        return cls(
            quality=curve.quality,
            cost_usd=curve.cost_usd,
            reference=frame.quality[:, best],
            reference_usd=frame.cost_usd[:, best],
            all_models_usd=frame.cost_usd.sum(1),
            tasks=frame.tasks,
            reference_model=frame.models[best],
        )

    def figures(self, splits: int) -> dict[str, Any]:
        """Every bar on the whole table, on each task, and on all tasks together, each at its own point."""
        tasks = [str(task) for task in np.unique(self.tasks) if (self.tasks == task).sum() >= FEWEST]
        groups = {"whole table": np.arange(len(self.tasks))}
        if len(tasks) > 1:
            groups |= {task: np.flatnonzero(self.tasks == task) for task in tasks}
        rows = []
        for kind, levels in (("drop", DROPS), ("min", SHARES)):
            for level, confidence in levels:
                found = {name: self.tried(rows_, kind, level, confidence, splits) for name, rows_ in groups.items()}
                bar = f"{kind} {level:g}{' of the best' if kind == 'min' else ''} at {confidence:g}"
                rows += [{"what": name, "bar": bar, **row} for name, row in found.items()]
                if len(tasks) > 1:
                    rows.append({"what": "tasks, each by itself", "bar": bar, **self.joined(found, groups)})
        return {"reference": self.reference_model, "queries": len(self.tasks), "splits": splits, "rows": rows}

    def tried(
        self, group: NDArray[np.int64], kind: str, level: float, confidence: float, splits: int
    ) -> dict[str, float]:
        """Shares of the splits in which a point was promised, in which that was wrong, and the spend it saves."""
        random = np.random.default_rng(0)
        least = level * float(self.reference[group].mean())
        promised = broken = below = 0
        saved = 0.0
        for _ in range(splits):
            order = random.permutation(group)
            known, other = order[: len(order) // 2], order[len(order) // 2 :]
            if kind == "drop":
                result = certify_drop(
                    self.quality[:, known],
                    self.reference[known],
                    level,
                    confidence,
                    cost_usd=self.cost_usd[:, known],
                    reference_cost_usd=self.reference_usd[known],
                    label_cost_usd=float(self.all_models_usd.mean()),
                )
            else:
                result = certify_min(self.quality[:, known], least, confidence, cost_usd=self.cost_usd[:, known])
            if not isinstance(result, Promise):
                continue
            promised += 1
            served = self.quality[result.point]
            above = served - self.reference + level if kind == "drop" else served - least
            broken += bool(above[group].mean() < -1e-12)
            below += bool(above[other].mean() < -1e-12)
            # The reference serves where nothing cheaper is promised.
            spent = self.cost_usd[result.point, other].mean() / self.reference_usd[other].mean()
            saved += max(0.0, 1.0 - float(spent))
        return {
            "promised": promised / splits,
            "broken": broken / splits,
            "below_on_other_half": below / splits,
            "routed_down": round(saved / splits, 4),
        }

    def joined(
        self, found: Mapping[str, Mapping[str, float]], groups: Mapping[str, NDArray[np.int64]]
    ) -> dict[str, float]:
        """All tasks together, each at the point that its own labels certify: rates on average, spend by its size."""
        names = [name for name in groups if name != "whole table"]
        spend = np.array([self.reference_usd[groups[name]].sum() for name in names])
        rates = {key: float(np.mean([found[name][key] for name in names])) for key in found[names[0]]}
        saved = np.array([found[name]["routed_down"] for name in names])
        return {**rates, "routed_down": round(float(saved @ spend / spend.sum()), 4)}


if __name__ == "__main__":
    main()
