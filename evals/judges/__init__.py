"""Judges: models that say how good an answer is, by a rubric."""

from evals.judges.models import Judge, Judged, PairwiseJudge, Panel, RubricJudge
from evals.judges.rubric import Rubric, family, load_rubric

__all__ = ["Judge", "Judged", "PairwiseJudge", "Panel", "Rubric", "RubricJudge", "family", "load_rubric"]
