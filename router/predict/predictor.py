"""What a trained artifact says about a text: its task, and every model's quality, tokens and cost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from router.decisions import Pace, Prediction, TaskGuess
from router.errors import ArtifactError
from router.predict import artifact as artifacts
from router.predict.calibrate import logit
from router.predict.cascade import Cascade, Choice, Climb
from router.predict.cost import CostModel
from router.predict.dial import spread
from router.predict.labels import Floats, Labels
from router.predict.latency import recorded_pace
from router.predict.meaning import Reader
from router.predict.promises import Promises
from router.predict.quality import QualityModel
from router.predict.seen import share_seen
from router.predict.tasks import TaskModel


@dataclass(frozen=True, slots=True, kw_only=True)
class Predictions:
    """Expectations for n texts and m models; every array has shape (n, m), models in the predictor's order."""

    quality: Floats
    """Expected quality, in [0, 1]."""
    quality_low: Floats
    """Lower end of the 90 % interval of that expectation."""
    quality_high: Floats
    output_tokens: Floats
    """Expected (mean) output tokens."""
    output_tokens_p50: Floats
    """Half of the answers are at most so long: what routing goes by."""
    output_tokens_p95: Floats
    """95 of 100 answers are at most so long: what a hold on a budget needs."""
    input_tokens: Floats
    cost_usd: Floats
    """Expected USD at the training table's prices, steadied toward the task's mean (`cost.REQUEST_SHARE`):
    what the dial weighs against quality."""


class Predictor:
    """A trained artifact, ready to predict; immutable and safe to share between threads."""

    def __init__(self, artifact: artifacts.Artifact) -> None:
        manifest, arrays = artifact.manifest, artifact.arrays
        self.models: tuple[str, ...] = tuple(manifest["models"])
        self.tasks: tuple[str, ...] = tuple(manifest["tasks"])
        self.promoted: frozenset[str] = frozenset(manifest["promoted"])
        """The strategies of which held-out queries said that they beat one constant model and the per-task table."""
        self.version: str = artifact.sha256[:12]
        self._labels = Labels(tasks=self.tasks, cells=tuple((task, sub) for task, sub in manifest["cells"]))
        self._reader = Reader.of(manifest, arrays)
        self._quality = QualityModel.from_arrays(arrays)
        self._cost = CostModel.from_arrays(arrays)
        self._task_model = TaskModel.from_arrays(arrays)
        self._dial = (arrays["dial_lambdas"], arrays["dial_costs"])
        self.cascade: Cascade | None = Cascade.from_arrays(arrays) if "cascade_stops" in arrays else None
        """None: training found nothing that looking at answers could tell."""
        self.verifier: str | None = manifest.get("verifier")
        """Whose verdicts, by which prompt, the strategy `verified` was learned with; None: it was not learned."""
        self._latency: Floats | None = arrays.get("latency_s")
        self._seen = arrays.get("seen")
        self.promises = Promises.from_arrays(arrays, self.models, self.tasks)

    @classmethod
    def load(cls, directory: str | Path) -> Predictor:
        """Read an artifact directory that `clearbar train` wrote.

        Raises:
            ArtifactError: it is missing, incomplete, altered, of another version, or needs an embedder that is not
                here.
        """
        artifact = artifacts.load(directory)
        try:
            return cls(artifact)
        except ArtifactError as error:
            raise ArtifactError(f"{directory}: {error}") from error
        except (KeyError, TypeError, ValueError) as error:
            raise ArtifactError(f"{directory}: incomplete ({error}); {artifacts.REMEDY}") from error

    def guess(self, text: str) -> TaskGuess:
        """The task of a text, by the trained classifier; `by="none"` where it is not sure enough to say."""
        return self._task_model.guess(text, self._reader.ngrams, self.tasks)

    def predict(self, text: str, task: str | None, subtask: str | None = None) -> dict[str, Prediction]:
        """Expectations of every model on one text.

        Args:
            text: the whole text of the request.
            task: its task; None or a task that training has not seen stands for the mean of all tasks.
            subtask: its subtask within the task, if known.
        """
        return self.by_model(self.predict_many([text], [task], [subtask]))

    def by_model(self, many: Predictions) -> dict[str, Prediction]:
        """The first row of predictions, by model."""
        columns = zip(
            many.quality[0].tolist(),
            many.quality_low[0].tolist(),
            many.quality_high[0].tolist(),
            many.output_tokens[0].tolist(),
            many.output_tokens_p50[0].tolist(),
            many.output_tokens_p95[0].tolist(),
            strict=True,
        )
        return {
            model: Prediction(
                quality=q,
                quality_low=low,
                quality_high=high,
                output_tokens=mean,
                output_tokens_p50=half,
                output_tokens_p95=most,
            )
            for model, (q, low, high, mean, half, most) in zip(self.models, columns, strict=True)
        }

    def predict_many(
        self, texts: Sequence[str], tasks: Sequence[str | None], subtasks: Sequence[str | None]
    ) -> Predictions:
        """Expectations of every model on many texts; the three sequences have the same length."""
        embedded = self._reader.columns(texts)
        task, cell = self._labels.encode(tasks, subtasks)
        columns = self._quality.heads.design(embedded, task, cell)
        quality, low, high = self._quality.predict(columns, task, cell)
        lengths = np.fromiter(map(len, texts), dtype=np.float64, count=len(texts))
        tokens = self._cost.tokens(columns, lengths, task)
        return Predictions(
            quality=quality,
            quality_low=low,
            quality_high=high,
            output_tokens=tokens.written,
            output_tokens_p50=tokens.written_p50,
            output_tokens_p95=tokens.written_p95,
            input_tokens=tokens.read,
            cost_usd=self._cost.cost_usd(tokens, task),
        )

    def seen(self, texts: Sequence[str]) -> float | None:
        """Share of texts that it was trained on; None where an older training kept no marks of them."""
        return None if self._seen is None else share_seen(self._seen, texts)

    def dial(self, points: int, strategy: str = "single") -> Floats:
        """Prices of quality, in quality per USD, of operating points 0..points-1, shape (points,).

        They do not rise, so expected cost does not fall: point 0 is the cheapest, the last the best quality. With
        one call, a request goes to the model with the greatest `quality - price * cost_usd`.

        Args:
            points: at least 1.
            strategy: `cascade` where there is one, else `single`.
        """
        if strategy == "cascade" and self.cascade is not None:
            return spread(self.cascade.prices, self.cascade.costs, points)
        return spread(*self._dial, points)

    def labels(self, task: str | None, subtask: str | None) -> tuple[int, int]:
        """Positions of a task and of its subtask; -1 where training did not know them."""
        at, cell = self._labels.encode([task], [subtask])
        return int(at[0]), int(cell[0])

    def pace(self, model: str, task: str | None) -> Pace | None:
        """How long a model's recorded calls took in a task; None where too few of them say so."""
        if self._latency is None or model not in self.models:
            return None
        return recorded_pace(self._latency, self.models.index(model), self.labels(task, None)[0], model)

    def choice(self, price: float, task: int, leaf: int) -> Choice | None:
        """Whether to climb a ladder at a price of quality, in quality per USD; None without cascades."""
        return self.cascade.choice(task, leaf, price) if self.cascade is not None else None

    def climb(self, choice: Choice, expected: Floats, text: str, task: int, leaf: int) -> Climb:
        """The cascade for one request, as chosen.

        Args:
            choice: of `choice`, one that climbs.
            expected: expected quality of every model, shape (m,).
            text: the whole text of the request.
            task: of `labels`.
            leaf: of `labels`.
        """
        assert self.cascade is not None and choice.ladder is not None  # noqa: S101  `choice` said so
        ladder = self.cascade.ladder(choice.ladder)
        return Climb(self.cascade, ladder, choice.price, logit(expected), task, leaf, text)
