"""Scorers: small factories that judge one answer against its reference."""

from evals.scorers.extract import Extracted, extract
from evals.scorers.registry import SCORERS, scorer

__all__ = ["SCORERS", "Extracted", "extract", "scorer"]
