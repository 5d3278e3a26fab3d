"""Scorers: small factories that judge one answer against its reference."""

from evals.scorers.registry import SCORERS, scorer
from router.answers import Extracted, extract

__all__ = ["SCORERS", "Extracted", "extract", "scorer"]
