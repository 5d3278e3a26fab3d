"""Fits the coefficients that the semantic cache starts from, and writes `router/cache/score_prior.json`.

    python benchmarks/cache_prior.py --data DIR [--without banking77|pairs --out FILE]

DIR holds banking77.parquet (text, category), fowcache_pairs.parquet (a, b, same_answer), langcache_pairs.parquet
(query_a, query_b, same_answer) and gptcache_mock_pairs.parquet (origin, similar). Streams are replayed with every
answer known: all of banking77's intents; some of them as questions out of scope; and the pairs, where almost nothing
repeats. scikit-learn fits, the cache reads plain numbers.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.linear_model import LogisticRegression

from router.cache.evidence import FEATURES
from router.cache.semantic import SemanticTier
from router.embedding import VERSION, shared

OUT = Path(__file__).parents[1] / "router" / "cache" / "score_prior.json"
SOURCES = {
    "banking77": "PolyAI-LDN/task-specific-datasets 57ec275, CC BY 4.0",
    "fow-cache pairs": "fow-cache 0.1.0, CC BY 4.0, 2026 Mabon ap Gwyn",
    "langcache pairs": "redislabsdev/langcache-customer-data-eval e3b86d7, MIT",
    "gptcache mock pairs": "zilliztech/GPTCache c59fb3a, MIT",
}
Stream = list[tuple[str, str]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--without", choices=("banking77", "pairs"), help="a source to leave out, for honest figures")
    parser.add_argument("--out", type=Path, default=OUT)
    given = parser.parse_args()
    if given.without and given.out == OUT:
        parser.error("--without needs --out: coefficients that miss a source are not shipped")
    streams = [stream for source, stream in training(given.data) if source != given.without]
    prior = np.zeros(len(FEATURES))
    for _ in range(2):  # the answers' own record needs a score, so the second round starts from the first
        rows, wrong = zip(*(watched(stream, prior) for stream in streams), strict=True)
        model = LogisticRegression(C=2.0, fit_intercept=False, max_iter=2_000)
        prior = model.fit(np.concatenate(rows), np.concatenate(wrong)).coef_[0]
    coefficients = {name: round(float(value), 4) for name, value in zip(FEATURES, prior, strict=True)}
    text = {"version": 1, "embedder": VERSION, "sources": SOURCES, "coefficients": coefficients}
    given.out.write_text(json.dumps(text, indent=2) + "\n", encoding="utf-8")
    print(given.out, coefficients)


def training(data: Path) -> Iterable[tuple[str, Stream]]:
    """Streams by their source."""
    bank = pd.read_parquet(data / "banking77.parquet")
    rows = list(zip(bank.text, bank.category, strict=True))
    intents = sorted(set(bank.category))
    for seed, size in ((101, 4_000), (104, 2_000)):
        yield "banking77", shuffled(rows, seed)[:size]
    for seed in (102, 103):
        known = set(np.random.default_rng(seed).permutation(intents)[:60])
        inside = shuffled([row for row in rows if row[1] in known], seed)[:3_700]
        outside = shuffled([(text, f"alone {text}") for text, intent in rows if intent not in known], seed)[:300]
        yield "banking77", shuffled(inside + outside, seed)
    yield "pairs", shuffled(pairs(data), 105)


def pairs(data: Path) -> Stream:
    """Both sides of every pair; those that may share an answer do."""
    fow, lang = pd.read_parquet(data / "fowcache_pairs.parquet"), pd.read_parquet(data / "langcache_pairs.parquet")
    mock = pd.read_parquet(data / "gptcache_mock_pairs.parquet")
    leader: dict[str, str] = {}

    def find(text: str) -> str:
        while leader.setdefault(text, text) != text:
            text = leader[text]
        return text

    same = [
        *zip(fow.a, fow.b, fow.same_answer, strict=True),
        *zip(lang.query_a, lang.query_b, lang.same_answer, strict=True),
    ]
    # One in four paraphrases keeps its partner, so that most questions come once.
    same += [(one, other, True) for one, other in zip(mock.origin[::4], mock.similar[::4], strict=True)]
    for one, other, shares in same:
        a, b = find(one), find(other)
        if shares:
            leader[a] = b
    for text in mock.origin:
        find(text)
    return [(text, find(text)) for text in sorted(leader)]


def shuffled(rows: Sequence[tuple[str, str]], seed: int) -> Stream:
    return [rows[at] for at in np.random.default_rng(seed).permutation(len(rows))]


def watched(stream: Stream, prior: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Features and verdicts of every proposal; of sure and right ones most are not stored, as after a hit."""
    tier, chance = SemanticTier(max_error=1e-3, prior=prior), np.random.default_rng(0)
    vectors = np.concatenate(
        [shared().embed([t for t, _ in stream[at : at + 64]]).vectors for at in range(0, len(stream), 64)]
    )
    rows, wrong = [], []
    for (text, answer), vector in zip(stream, vectors, strict=True):
        decision = tier.lookup("all", text, vector)
        is_right = decision.answer == answer
        if decision.features is not None:
            rows.append(decision.features)
            wrong.append(not is_right)
            tier.learn(decision, answer=answer)
        sure = (
            decision.features is not None and is_right and (decision.cosine or 0) > 0.8 and decision.features[6] >= 0.5
        )
        if not (sure and chance.random() < 0.9):
            tier.insert("all", text, vector, answer)
    return np.array(rows), np.array(wrong)


if __name__ == "__main__":
    main()
