"""Graded likeness of two texts, without a model: shared words, common subsequence, shared character runs."""

from __future__ import annotations

import math
import re
import string
import unicodedata
from collections import Counter
from collections.abc import Sequence

from evals.types import Score, Scored, Scorer, Unscored
from router.answers import extract

_ARTICLES = re.compile(r"\b(?:a|an|the)\b")
_WORD = re.compile(r"\w+")
_NO_REFERENCE = Unscored("the sample has no reference")
MAX_WORDS = 4_000
"""`rouge_l` reads at most so many words of each side: its time grows with their product."""


def token_f1() -> Scorer:
    """F1 of shared words after SQuAD's normalisation: lower case, without punctuation and articles.

    The reference may be a JSON list of accepted answers; the best one counts (Rajpurkar et al. 2016).
    """

    def score(response: str, reference: str) -> Score:
        accepted = [words for words in map(_squad_words, _alternatives(reference)) if words]
        if not accepted:
            return _NO_REFERENCE
        answer = _squad_words(extract(response).text)
        return Scored(max(_word_f1(answer, words) for words in accepted), f"answered {' '.join(answer)[:80]!r}")

    return score


def rouge_l() -> Scorer:
    """F-measure of the longest common subsequence of words (ROUGE-L, Lin 2004, with equal weights).

    Reads the whole response. Words are runs of letters and digits in lower case, without stemming.
    """

    def score(response: str, reference: str) -> Score:
        wanted = _WORD.findall(reference.casefold())[:MAX_WORDS]
        if not wanted:
            return _NO_REFERENCE
        words = _WORD.findall(response.casefold())[:MAX_WORDS]
        common = common_length(words, wanted)
        if not common:
            return Scored(0.0, "no common word")
        precision, recall = common / len(words), common / len(wanted)
        reason = f"precision {precision:.2f}, recall {recall:.2f}"
        return Scored(2 * precision * recall / (precision + recall), reason)

    return score


def spelling(n: int = 3) -> Scorer:
    """Cosine of the two texts' counts of character runs: likeness of spelling, not of meaning.

    Counts are damped, 1 + ln(count), as in TF weighting; there is no collection to take an IDF from. Texts that
    say the same in other words score low; for meaning, use `similarity` or a judge.

    Args:
        n: length of the runs, in characters.
    """

    def score(response: str, reference: str) -> Score:
        wanted = _runs(reference, n)
        if not wanted:
            return _NO_REFERENCE
        return Scored(_cosine(_runs(response, n), wanted))

    return score


def common_length(left: Sequence[str], right: Sequence[str]) -> int:
    """Length of the longest common subsequence, by one row of the usual table.

    >>> common_length("police killed the gunman".split(), "police kill the gunman".split())
    3
    """
    row = [0] * (len(right) + 1)
    for word in left:
        diagonal = 0
        for place, other in enumerate(right, start=1):
            above = row[place]
            row[place] = diagonal + 1 if word == other else max(above, row[place - 1])
            diagonal = above
    return row[-1]


def _word_f1(answer: Sequence[str], wanted: Sequence[str]) -> float:
    common = sum((Counter(answer) & Counter(wanted)).values())
    return 2 * common / (len(answer) + len(wanted)) if common else 0.0


def _squad_words(text: str) -> list[str]:
    bare = "".join(ch for ch in text.lower() if ch not in string.punctuation)
    return _ARTICLES.sub(" ", bare).split()


def _alternatives(reference: str) -> list[str]:
    import json

    if reference.lstrip().startswith("["):
        try:
            found = json.loads(reference)
        except ValueError:
            return [reference]
        if isinstance(found, list) and found and all(isinstance(item, str) for item in found):
            return found
    return [reference]


def _runs(text: str, n: int) -> Counter[str]:
    bare = f" {' '.join(unicodedata.normalize('NFKC', text).casefold().split())} "
    return Counter(bare[i : i + n] for i in range(max(1, len(bare) - n + 1))) if bare.strip() else Counter()


def _cosine(left: Counter[str], right: Counter[str]) -> float:
    def weight(count: int) -> float:
        return 1 + math.log(count)

    dot = math.fsum(weight(left[run]) * weight(right[run]) for run in left.keys() & right.keys())
    norms = math.prod(math.sqrt(math.fsum(weight(count) ** 2 for count in side.values())) for side in (left, right))
    return min(1.0, dot / norms) if norms else 0.0
