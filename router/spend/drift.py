"""Tokenizer drift: how many tokens a provider makes of the same text, and when that moves.

A price is per token, a bill is per text: a model version whose tokenizer makes a fifth more tokens of a text costs a
fifth more at the same price. Two measures: all traffic (free, noisy, always there), and a fixed text (a few calls,
exact).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from itertools import pairwise
from statistics import median
from typing import Any

from router.spend.corpus import CORPUS

Row = Mapping[str, Any]

LEAST_CHARACTERS = 200
"""Shorter inputs tell more of what a chat format adds than of the tokenizer."""
LEAST_RUNS = 20
"""Independent observations that each side of a comparison needs, in each kind of traffic."""
LEAST_CHANGE = 0.03
"""Smaller moves are not worth an alert, however sure they are."""
SURE = 4.0
"""Standard errors beyond which a move is no noise. Simulated at a scatter of 20 %, 4,000 comparisons each: false alerts
0.15 % with 20 runs on a side, 0.08 % with 50, none with 200; a move of 20 % is seen in 8, 35 and 100 % of the cases."""
SMALLEST_ERROR = 0.002
"""On a logarithm of tokens per character: counts are whole numbers, and identical texts must not make it 0."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Drift:
    """Tokens per 1,000 characters of a model, before and after."""

    model: str
    call: str
    version_before: str | None
    version_after: str | None
    tokens_before: float
    tokens_after: float
    change: float
    """Share by which the tokens of a text rose, likes compared with likes; 0.2: a fifth more."""
    errors: float
    """The change in standard errors."""
    runs: int
    """Independent observations on the smaller side."""

    @property
    def is_alert(self) -> bool:
        """Whether it moved beyond noise, and by enough to matter."""
        return abs(self.change) >= LEAST_CHANGE and abs(self.errors) >= SURE


def usd_per_1000_characters(tokens: float, usd_per_million: Decimal) -> Decimal:
    """Effective price of a text: tokens per 1,000 characters x price of a million tokens / 1,000,000."""
    return Decimal(repr(tokens)) * usd_per_million / 1_000_000


def traffic_drift(rows: Iterable[Row], recent_from_us: int) -> list[Drift]:
    """Where the tokens of traffic moved: between two versions of a model, and within one between then and lately.

    Kinds of traffic (workflow, feature) are compared each with itself, since their texts differ more than tokenizers
    do: the difference of the medians of log(tokens / characters), pooled by inverse variance, with the variance
    between kinds added (DerSimonian and Laird 1986). A run counts once, by its median. A median's standard error is
    1.2533 x 1.4826 x MAD / sqrt(n).

    Args:
        rows: attempts of the ledger with `input_tokens`, `input_characters` and `usage_source`.
        recent_from_us: microseconds since 1970 from which on a call is lately.

    Returns:
        Every comparison for which there is enough traffic, the largest change first; `is_alert` tells which matter.
    """
    seen: dict[tuple[str, str], dict[str | None, list[Row]]] = {}
    for row in rows:
        if row["usage_source"] == "provider" and (row.get("input_characters") or 0) >= LEAST_CHARACTERS:
            versions = seen.setdefault((row["model"], row["call"]), {})
            versions.setdefault(row["model_version"], []).append(row)
    found = []
    for (model, call), versions in seen.items():
        order = sorted(versions, key=lambda version: min(row["at_us"] for row in versions[version]))
        sides = [(old, new, versions[old], versions[new]) for old, new in pairwise(order)]
        for version in order:
            then = [row for row in versions[version] if row["at_us"] < recent_from_us]
            lately = [row for row in versions[version] if row["at_us"] >= recent_from_us]
            sides.append((version, version, then, lately))
        for old, new, before, after in sides:
            moved = _moved(_by_kind(before), _by_kind(after))
            if moved is not None:
                change, errors, runs = moved
                found.append(Drift(
                    model=model, call=call, version_before=old, version_after=new,
                    tokens_before=_rate(before), tokens_after=_rate(after), change=change, errors=errors, runs=runs,
                ))  # fmt: skip
    return sorted(found, key=lambda one: (-abs(one.change), one.model))


def _rate(rows: list[Row]) -> float:
    tokens: int = sum(row["input_tokens"] for row in rows)
    characters: int = sum(row["input_characters"] for row in rows)
    return 1000 * tokens / characters


def _by_kind(rows: list[Row]) -> dict[Any, list[float]]:
    """Logarithms of tokens per character, one a run, by kind of traffic."""
    runs: dict[tuple[Any, Any], list[float]] = {}
    for row in rows:
        kind = (row.get("workflow"), row.get("feature"))
        one = row.get("run_id") or (row["request_id"], "alone")
        runs.setdefault((kind, one), []).append(math.log(max(1, row["input_tokens"]) / row["input_characters"]))
    kinds: dict[Any, list[float]] = {}
    for (kind, _), logs in runs.items():
        kinds.setdefault(kind, []).append(median(logs))
    return kinds


def _moved(before: dict[Any, list[float]], after: dict[Any, list[float]]) -> tuple[float, float, int] | None:
    """Change as a share, in standard errors, and runs on the smaller side; None: too little to compare."""
    kinds = [kind for kind in before if min(len(before[kind]), len(after.get(kind, ()))) >= LEAST_RUNS]
    if not kinds:
        return None
    moves = [median(after[kind]) - median(before[kind]) for kind in kinds]
    variances = [_error(before[kind]) ** 2 + _error(after[kind]) ** 2 for kind in kinds]
    weights = [1 / variance for variance in variances]
    mean = sum(w * move for w, move in zip(weights, moves, strict=True)) / sum(weights)
    spread = sum(w * (move - mean) ** 2 for w, move in zip(weights, moves, strict=True)) - (len(kinds) - 1)
    scale = sum(weights) - sum(w * w for w in weights) / sum(weights)
    between = max(0.0, spread / scale) if scale > 0 else 0.0
    weights = [1 / (variance + between) for variance in variances]
    mean = sum(w * move for w, move in zip(weights, moves, strict=True)) / sum(weights)
    runs = min(sum(len(side[kind]) for kind in kinds) for side in (before, after))
    return math.expm1(mean), mean * math.sqrt(sum(weights)), runs


def _error(logs: list[float]) -> float:
    middle = median(logs)
    scatter = 1.4826 * median(abs(one - middle) for one in logs)
    return max(SMALLEST_ERROR, 1.2533 * scatter / math.sqrt(len(logs)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What one tokenizer makes of the fixed text."""

    tokens: Mapping[str, int]
    """By name in `CORPUS`, without what the chat format adds."""

    @property
    def per_1000(self) -> dict[str, float]:
        """Tokens per 1,000 characters, by name."""
        return {name: 1000 * count / len(CORPUS[name]) for name, count in self.tokens.items()}

    @property
    def overall(self) -> float:
        """Their mean: every language and kind counts the same."""
        return sum(self.per_1000.values()) / len(self.tokens)


def read_corpus(count: Callable[[str], int]) -> Reading:
    """Measure a tokenizer on the fixed text.

    Args:
        count: tokens of a text as the provider bills them; what it adds to every text (roles, separators) is found
            with a text that stands twice, and taken off.
    """
    probe = CORPUS["log"]
    # Twice the text less once the text is the text alone; the lines end in a line break, where tokens end.
    once = count(probe)
    added = max(0, once - (count(probe + probe) - once))
    return Reading(tokens={name: (once if name == "log" else count(text)) - added for name, text in CORPUS.items()})


def reading_changes(before: Reading, after: Reading) -> Iterator[tuple[str, float]]:
    """By which share the tokens of each text rose, the same ones left out. A tokenizer has no noise: any is real."""
    for name, count in after.tokens.items():
        old = before.tokens.get(name)
        if old and count != old:
            yield name, count / old - 1
