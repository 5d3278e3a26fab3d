"""The learned part: what each model's quality, tokens and cost will be on a text."""

from router.predict.dial import choose
from router.predict.predictor import Predictions, Predictor

__all__ = ["Predictions", "Predictor", "choose"]
