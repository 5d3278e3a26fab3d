"""The trained router on outcomes it has not seen: cost against quality, beside baselines, peers and an oracle.

Each table is split in half by a hash of `query_id`; one half trains, the other judges. Savings are cross-fitted:
the operating point is chosen on one random half of the judged queries and measured on the other, 50 times. Intervals
of differences are paired bootstraps over the judged queries. Further splits (`--splits`) say how much is the luck of
one: each trains ours again, beside the baselines that need no embedding; mean and standard deviation are printed.

Prints tables in Markdown; writes `results/routing_NAME.json` and a plot, `results/routing_NAME.svg`, for each table.

    python benchmarks/routing.py OUTCOMES [OUTCOMES ...] [--points 40] [--embedding] [--peers] [--more] [--splits 3]
        [--embeddings FILE.npz]
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from _extras import extras, remember
from _measures import (
    Array,
    Curve,
    Frame,
    calibration,
    crossed,
    decided,
    difference,
    halves,
    hull,
    mixed,
    resampled,
    routed,
    routellm,
    shuffled,
)
from _peers import PEERS, PUBLISHED, embeddings, expected_cost
from _plot import plot
from _results import RESULTS, write

from router.outcomes import read_outcomes
from router.predict import Predictor, artifact
from router.predict.train import train
from router.replay import Strategy, replay

STRATEGIES: tuple[Strategy, ...] = ("single", "cascade")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("outcomes", nargs="+", type=Path)
    parser.add_argument("--points", type=int, default=40)
    parser.add_argument("--embedding", action="store_true", help="also ours with MiniLM's columns (the embed extra)")
    parser.add_argument("--peers", action="store_true", help="also the papers' routers, which need the embed extra")
    parser.add_argument("--more", action="store_true", help="also calibration, robustness and learning curves")
    parser.add_argument("--splits", type=int, default=1, help="ways to halve a table; the first has all the figures")
    parser.add_argument("--embeddings", type=Path, help="where to keep the peers' embeddings between runs")
    arguments = parser.parse_args()
    for path in arguments.outcomes:
        table = read_outcomes(path)
        judged = Judged.of(table, arguments.points, with_embedding=arguments.embedding)
        curves, expected = judged.curves(arguments.peers, arguments.embeddings, path.stem)
        figures: dict[str, Any] = {"facts": judged.facts, "routers": judged.rows(curves, expected)}
        if arguments.more:
            figures |= extras(judged.seen_table, judged.unseen_table, judged.predictor, arguments.points)
        if arguments.splits > 1:
            figures["splits"] = spread_over_splits(table, curves, judged.frame, arguments.points, arguments.splits)
        name = f"routing_{path.stem}"
        written = write(name, {"table": path.stem, "points": arguments.points, **figures})
        plot(path.stem, judged.frame, curves, RESULTS / f"{name}.svg")
        print(markdown(path.stem, figures), written, sep="\n\n", flush=True)


def spread_over_splits(
    table: pa.Table, first: dict[str, Curve], frame: Frame, points: int, splits: int
) -> list[dict[str, Any]]:
    """Mean and standard deviation of our strategies and the cheap baselines over several splits, the first included.

    Where an aim was missed nothing is saved, as in the bootstrap.
    """
    found: dict[str, list[dict[str, float | None]]] = {}
    for split in range(splits):
        if split:
            other = Judged.of(table, points, split)
            curves, frame = other.curves(False, None, "")[0], other.frame
        else:
            curves = first
        for name, curve in curves.items():
            two = routellm(curve, frame) if len(frame.models) == 2 else {}
            found.setdefault(name, []).append({**crossed(curve, frame), **two})
    rows = []
    for name, of_split in found.items():
        if len(of_split) == splits:  # not the peers, which only the first split knows
            row: dict[str, Any] = {"router": name, "splits": splits}
            for key in ("parity_saving", "98_saving", "gain", "apgr"):
                values = [one[key] or 0.0 for one in of_split if key in one]
                if values:
                    row |= {key: round(statistics.mean(values), 4), f"{key}_sd": round(statistics.stdev(values), 4)}
            rows.append(row)
    return rows


def fitted(seen: pa.Table, embedding: str | None = None) -> tuple[Predictor, dict[str, Any]]:
    """A predictor by way of its artifact, and what training said and took."""
    started = time.perf_counter()
    trained, report = train(seen, seed=0, embedding=embedding)
    took = time.perf_counter() - started
    with tempfile.TemporaryDirectory() as folder:
        artifact.save(trained, Path(folder, "artifact"), created="")
        predictor = Predictor.load(Path(folder, "artifact"))
    told = {"promoted": list(report.promoted), "train_s": round(took, 1)}
    return predictor, told | ({"verdict": report.embedding.verdict} if report.embedding else {})


def decide(predictor: Predictor, unseen: pa.Table, points: int, strategy: Strategy) -> pa.Table:
    """The decisions about a table whose grades and references are hidden."""
    hidden = [name for name in ("quality", "reference") if name in unseen.column_names]
    return replay(predictor, unseen.drop_columns(hidden), points, strategy)


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """One table: its halves, our predictor and its decisions."""

    seen_table: pa.Table
    unseen_table: pa.Table
    seen: Frame
    frame: Frame
    predictor: Predictor
    decisions: dict[str, pa.Table]
    """By the name of the router: strategy, or strategy and embedding."""
    points: int
    facts: dict[str, Any]

    @classmethod
    def of(cls, table: pa.Table, points: int, split: int = 0, *, with_embedding: bool = False) -> Judged:
        """Train on one half, decide the other."""
        seen_table, unseen_table = halves(table, split)
        seen, frame = Frame.of(seen_table), Frame.of(unseen_table)
        predictor, told = fitted(seen_table)
        started = time.perf_counter()
        decisions = {strategy: decide(predictor, unseen_table, points, strategy) for strategy in STRATEGIES}
        told["replay_s"] = round(time.perf_counter() - started, 1)
        if with_embedding:
            reader, told["with_minilm"] = fitted(seen_table, "local/minilm")
            decisions |= {f"{way} with MiniLM": decide(reader, unseen_table, points, way) for way in STRATEGIES}
        best = frame.best
        return cls(
            seen_table=seen_table,
            unseen_table=unseen_table,
            seen=seen,
            frame=frame,
            predictor=predictor,
            decisions=decisions,
            points=points,
            facts={
                "queries_trained": len(seen.queries),
                "queries_judged": len(frame.queries),
                "models": len(frame.models),
                "best_constant": frame.models[best],
                "best_constant_quality": round(float(frame.quality[:, best].mean()), 4),
                "best_constant_usd_per_1000": round(float(frame.cost_usd[:, best].mean() * 1000), 4),
                "oracle_quality": round(float(frame.quality.max(1).mean()), 4),
                **told,
            },
        )

    def curves(self, with_peers: bool, kept: Path | None, name: str) -> tuple[dict[str, Curve], dict[str, Array]]:
        """Every router's curve, and the expected quality of those that predict one."""
        seen, frame, points = self.seen, self.frame, self.points
        alone = np.eye(len(frame.models))[[frame.best]]
        curves = {f"ours, {way}": decided(table, frame) for way, table in self.decisions.items()}
        curves |= {
            "best constant": mixed(alone, alone, frame),
            "random mix hull (zero router)": hull(seen, frame, points),
            "our single's models, shuffled": shuffled(self.decisions["single"], frame, points),
            "our cascade's calls, shuffled": shuffled(self.decisions["cascade"], frame, points),
        }
        expected = {"ours, single": self.expected()}
        peers = PEERS if with_peers else {key: peer for key, peer in PEERS.items() if "table" in key}
        nothing = np.zeros((0, 0))
        known = embeddings(seen.texts, kept) if with_peers else nothing
        asked = embeddings(frame.texts, kept) if with_peers else nothing
        for key, peer in peers.items():
            expected[key] = peer(seen, frame, known, asked)
            curves[key] = routed(expected[key], expected_cost(seen, frame), frame, points)
        curves["oracle"] = routed(frame.quality, frame.cost_usd, frame, points)
        if with_peers:
            remember([*seen.texts, *frame.texts], np.vstack([known, asked]))
        self.facts["published"] = PUBLISHED.get(name, {})
        return curves, expected

    def expected(self) -> Array:
        """Our expected quality, models in the frame's order."""
        tasks, subtasks = zip(*(leaf.split("/", 1) for leaf in self.frame.leaves.tolist()), strict=True)
        many = self.predictor.predict_many(self.frame.texts, tasks, [subtask or None for subtask in subtasks])
        return many.quality[:, [self.predictor.models.index(model) for model in self.frame.models]]

    def rows(self, curves: dict[str, Curve], expected: dict[str, Array]) -> dict[str, dict[str, Any]]:
        """The measures of every router, with intervals of the difference to ours."""
        samples = {name: resampled(curve, self.frame) for name, curve in curves.items()}
        rows: dict[str, dict[str, Any]] = {}
        for name, curve in curves.items():
            rows[name] = {
                **crossed(curve, self.frame),
                **(routellm(curve, self.frame) if len(self.frame.models) == 2 else {}),
                **(calibration(expected[name], self.frame) if name in expected else {}),
            }
            for way in STRATEGIES:
                if name != f"ours, {way}":
                    rows[name][f"minus_our_{way}"] = difference(samples[f"ours, {way}"], samples[name])
        return rows


def markdown(name: str, figures: dict[str, Any]) -> str:
    """One table's figures for people."""
    facts = figures["facts"]
    has_two = facts["models"] == 2
    key = "apgr" if has_two else "98_saving"
    head = ["router", "saving at the best's quality", "(quality)", "saving at 98 %", "best quality gain"]
    head += ["APGR", "CPT50", "CPT80"] if has_two else []
    head += ["ECE", "Brier", f"{'APGR' if has_two else 'saving at 98 %'} minus our single's", "... our cascade's"]
    columns = ["parity_saving", "parity_quality", "98_saving", "gain"]
    columns += ["apgr", "cpt50", "cpt80"] if has_two else []
    columns += ["ece", "brier"]
    lines = [f"\n## {name}\n", ", ".join(f"{k} {v}" for k, v in facts.items() if k != "published"), ""]
    lines += ["| " + " | ".join(head) + " |", "|--" * len(head) + "|"]
    for router, row in figures["routers"].items():
        cells = [router, *(_cell(row, column) for column in columns)]
        for way in STRATEGIES:
            ends = row.get(f"minus_our_{way}", {}).get(key)
            cells.append(f"{ends[0]:+.3f} to {ends[1]:+.3f}" if ends else "")
        lines.append("| " + " | ".join(cells) + " |")
    for router, row in facts["published"].items():
        cells = [router, "", "", "", "", *(str(row[column]) for column in ("apgr", "cpt50", "cpt80")), "", "", "", ""]
        lines.append("| " + " | ".join(cells) + " |")
    for title in ("splits", "calibration", "robustness", "learning"):
        if title in figures:
            lines += ["", f"{title}:", *(f"- {line}" for line in _listed(figures[title]))]
    return "\n".join(lines)


def _listed(rows: list[dict[str, Any]]) -> list[str]:
    return [", ".join(f"{key} {value}" for key, value in row.items()) for row in rows]


def _cell(row: dict[str, Any], column: str) -> str:
    if column not in row:
        return ""
    value = row[column]
    if value is None:
        return "missed"
    if column.startswith("cpt"):
        return f"{value:.1f}"
    return f"{value:+.4f}" if column in ("gain", "parity_quality") else f"{value:.3f}"


if __name__ == "__main__":
    main()
