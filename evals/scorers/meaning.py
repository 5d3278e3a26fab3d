"""Likeness of meaning, by the local embedder."""

from __future__ import annotations

from evals.types import EvalError, Score, Scored, Scorer, Unscored


def similarity() -> Scorer:
    """Cosine of the two texts' vectors (all-MiniLM-L6-v2, on this machine), 0 where it is negative.

    It sees what a text is about, not whether it is right: "5 mg" and "50 mg", or a sentence and its negation, are
    nearly equal. Paraphrases score 0.5 to 0.95, unrelated texts below 0.3; English only. Of a text longer than 254 word
    pieces (about 190 words) it reads the beginning and the end, and the reason says so.

    Raises:
        EvalError: the extra `embed` is not installed.
    """
    from router.embedding import WINDOW, missing, shared

    if reason := missing():
        raise EvalError(f"scorer 'similarity': {reason}. `spelling` and `rouge_l` need no extra")

    def score(response: str, reference: str) -> Score:
        if not reference.strip():
            return Unscored("the sample has no reference")
        if not response.strip():
            return Scored(0.0, "empty response")
        found = shared().embed([response, reference], windows="head_tail")
        cosine = float(found.vectors[0] @ found.vectors[1])
        sides = [side for side, cut in zip(("response", "reference"), found.truncated, strict=True) if cut]
        read = f"; of the {' and the '.join(sides)} only the first and last {WINDOW - 2} word pieces" if sides else ""
        return Scored(min(1.0, max(0.0, cosine)), f"cosine {cosine:.3f}{read}")

    return score
