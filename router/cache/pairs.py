"""What vetoes and score make of labelled pairs of questions: a measurement, no certificate.

Each pair is a cache with one entry, so the agreement of neighbours, which carries most of the score in a filled cache,
is missing here: it says what vetoes and words can tell apart, and how often.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from router.bounds import clopper_pearson_upper
from router.cache.certify import EDGES
from router.cache.evidence import Record, Voter, weigh
from router.cache.score import Score
from router.cache.vetoes import traits, vetoes
from router.embedding import shared


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What would pass."""

    pairs: int
    same: int
    vetoed_same: int
    """Pairs with the same answer that a veto stands between."""
    vetoed_different: int
    vetoes: Mapping[str, tuple[int, int]]
    """By name: pairs with the same answer, pairs with different ones."""
    max_error: float
    threshold: float | None
    """Largest p wrong up to which at most `max_error` of those that pass are different, by the upper bound at 95 %.
    None: there is none."""
    passed: int = 0
    passed_different: int = 0
    passed_different_upper: float = 1.0

    def text(self) -> str:
        """Some lines for people."""
        lines = [
            f"{self.pairs:,} pairs, {self.same:,} with the same answer",
            f"vetoes stand between {self.vetoed_same:,} of the same, {self.vetoed_different:,} of the different pairs",
            *(f"  {name}: {same:,} same, {other:,} different" for name, (same, other) in sorted(self.vetoes.items())),
        ]
        if self.threshold is None:
            return "\n".join([*lines, f"no threshold of the score keeps wrong / passed <= {self.max_error:g} here"])
        return "\n".join(
            [
                *lines,
                f"at p wrong <= {self.threshold:.4f}: {self.passed:,} pass ({self.passed / self.pairs:.1%}), "
                f"{self.passed_different:,} of them different (<= {self.passed_different_upper:.2%} at 95 %)",
                "this certifies nothing: a cache counts the labels of its own requests",
            ]
        )


def measure(asked: Sequence[str], stored: Sequence[str], same: Sequence[bool], *, max_error: float) -> Measured:
    """Look each question up in a cache that holds the other one of its pair alone.

    Args:
        asked: texts.
        stored: texts.
        same: whether the one's answer may be served to the other.
        max_error: of wrong / passed.
    """
    score, by_veto = Score(), dict[str, list[int]]()
    ps, passing, vetoed = [], [], [0, 0]
    for one, other, is_same in zip(asked, stored, same, strict=True):
        found = shared().embed([one, other])
        if any(found.truncated):
            continue
        cosine = float(np.einsum("i,i->", found.vectors[0], found.vectors[1]))
        voters = [Voter(1, cosine, "stored", traits(other))]
        case = weigh(traits(one), voters, answer="stored", of_answer=1, of_all=1, record=Record())
        against = vetoes(traits(one), traits(other))
        for name in against:
            by_veto.setdefault(name, [0, 0])[not is_same] += 1
        if against:
            vetoed[not is_same] += 1
        else:
            ps.append(score.p_wrong(case.features))
            passing.append(is_same)
    values, right = np.array(ps), np.array(passing, dtype=bool)
    best: dict[str, float] = {}
    for edge in EDGES:
        inside = values <= edge
        n, wrong = int(inside.sum()), int((inside & ~right).sum())
        upper = clopper_pearson_upper(wrong, n) if n else 1.0
        if upper <= max_error:
            best = {"threshold": float(edge), "passed": n, "passed_different": wrong, "passed_different_upper": upper}
    return Measured(
        pairs=len(same), same=sum(same), vetoed_same=vetoed[0], vetoed_different=vetoed[1],
        vetoes={name: (counts[0], counts[1]) for name, counts in by_veto.items()}, max_error=max_error,
        **({"threshold": None} | best),  # type: ignore[arg-type]
    )  # fmt: skip
