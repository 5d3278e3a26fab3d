"""The training table as arrays: one row a query, one column a model."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from router.errors import OutcomesError
from router.predict.labels import Floats, Indices

if TYPE_CHECKING:
    import pyarrow as pa

MIN_MODELS, MIN_QUERIES, MIN_PROMPTS = 2, 20, 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Matrix:
    """Outcomes by query (n) and model (m); NaN where a model was not asked."""

    query_ids: tuple[str, ...]
    """Sorted, so that the order of the rows in the file changes nothing."""
    models: tuple[str, ...]
    texts: tuple[str, ...]
    tasks: tuple[str, ...]
    subtasks: tuple[str, ...]
    """Empty text where the table has none."""
    responses: tuple[tuple[str, ...], ...]
    """n rows of m texts; empty where a model was not asked, or its answer was not recorded."""
    quality: Floats
    """Shape (n, m); the mean, where a query was asked several times."""
    response_quality: Floats
    """That of the very response in `responses`."""
    cost_usd: Floats
    input_tokens: Floats
    output_tokens: Floats
    latency_s: Floats
    """NaN also where it was not recorded."""
    logprob: Floats
    """Mean log-probability of a response's tokens; the same."""
    verifier: str
    """Who gave the verdicts, and by which prompt: `router.verify.signature`; empty where there are none."""
    verified: Floats
    """What it said of each response, 0 to 1."""
    verified_usd: Floats
    """What that cost."""
    sha256: str
    """Hash of everything above: the same outcomes in any order and file format give the same."""

    @property
    def complete(self) -> NDArray[np.bool_]:
        """Queries that every model has answered, shape (n,)."""
        return np.asarray(np.isfinite(self.quality).all(axis=1))

    def folds(self, count: int, seed: int) -> Indices:
        """A fold for every query, shape (n,), spread evenly over each task; equal texts share a fold."""
        random = np.random.default_rng(seed)
        fold_of: dict[str, int] = {}
        per_task: dict[str, int] = {}
        for position in random.permutation(len(self.texts)):
            text, task = self.texts[position], self.tasks[position]
            if text not in fold_of:
                fold_of[text] = per_task.get(task, 0) % count
                per_task[task] = per_task.get(task, 0) + 1
        if not any(fold_of.values()):  # no task has two texts, so there is nothing to spread within tasks
            fold_of = {text: number % count for number, text in enumerate(fold_of)}
        return np.asarray([fold_of[text] for text in self.texts], dtype=np.int64)


def read_matrix(table: pa.Table) -> Matrix:
    """Arrange an outcome table (as `read_outcomes` returns it).

    Raises:
        OutcomesError: fewer than 2 models or 20 queries, or a model without any outcome.
    """
    ids, id_of = np.unique(_texts(table, "query_id"), return_inverse=True)
    models, model_of = np.unique(_texts(table, "model"), return_inverse=True)
    if len(models) < MIN_MODELS or len(ids) < MIN_QUERIES:
        raise OutcomesError(
            f"training needs at least {MIN_MODELS} models and {MIN_QUERIES} queries; the outcome table has "
            f"{len(models)} ({', '.join(map(str, models[:3]))}) and {len(ids)}; record more with: clearbar eval"
        )

    def grid(name: str) -> Floats:
        values = np.full((len(ids), len(models)), np.nan)
        if name in table.column_names:
            values[id_of, model_of] = table[name].to_numpy()
        return values

    responses = np.full((len(ids), len(models)), "", dtype=object)
    responses[id_of, model_of] = _texts(table, "response")

    first = np.zeros(len(ids), dtype=np.int64)
    first[id_of[::-1]] = np.arange(len(id_of))[::-1]
    blank = np.full(len(table), "", dtype=object)
    subtasks = _texts(table, "subtask") if "subtask" in table.column_names else blank
    prompts, tasks = _texts(table, "prompt"), _texts(table, "task")
    if len(set(prompts)) < MIN_PROMPTS:
        raise OutcomesError(
            f"training needs at least {MIN_PROMPTS} different prompts, to judge by others than it learns from; the "
            f"{len(ids)} queries of the outcome table have {len(set(prompts))}"
        )
    unhashed = Matrix(
        query_ids=tuple(map(str, ids)),
        models=tuple(map(str, models)),
        texts=tuple(map(str, prompts[first])),
        tasks=tuple(map(str, tasks[first])),
        subtasks=tuple(map(str, subtasks[first])),
        responses=tuple(map(tuple, responses.tolist())),
        quality=grid("quality"),
        response_quality=grid("response_quality" if "response_quality" in table.column_names else "quality"),
        cost_usd=grid("cost_usd"),
        input_tokens=grid("input_tokens"),
        output_tokens=grid("output_tokens"),
        latency_s=grid("latency_s"),
        logprob=grid("logprob"),
        verifier=_verifier(table),
        verified=grid("verified"),
        verified_usd=grid("verified_usd"),
        sha256="",
    )
    return replace(unhashed, sha256=_hash(unhashed))


def _hash(matrix: Matrix) -> str:
    hashed = hashlib.sha256()
    texts = (matrix.models, matrix.query_ids, matrix.texts, matrix.tasks, matrix.subtasks, *matrix.responses)
    for names in texts:
        # Lengths first, so that no two tables join to the same bytes.
        hashed.update("".join(f"{len(name)}:{name}" for name in names).encode("utf-8", "surrogatepass"))
    for values in (matrix.quality, matrix.cost_usd, matrix.input_tokens, matrix.output_tokens):
        hashed.update(values.tobytes())
    hashed.update(matrix.verifier.encode())
    for values in (matrix.latency_s, matrix.logprob, matrix.verified, matrix.verified_usd):
        if np.isfinite(values).any():
            hashed.update(values.tobytes())
    if not np.array_equal(matrix.response_quality, matrix.quality, equal_nan=True):
        hashed.update(matrix.response_quality.tobytes())
    return hashed.hexdigest()


def _verifier(table: pa.Table) -> str:
    """The one verifier whose verdicts a table has; empty where it has none."""
    if "verified" not in table.column_names or not table["verified"].is_valid().to_numpy().any():
        return ""
    lacking = [name for name in ("verifier", "verified_usd") if name not in table.column_names]
    if lacking:
        raise OutcomesError(
            f"the outcome table has the column 'verified' and lacks {lacking[0]!r}: who said so, and at what cost; "
            "`clearbar eval verify` writes all three"
        )
    names = {
        name for name, said in zip(*map(table.__getitem__, ("verifier", "verified")), strict=True) if said.is_valid
    }
    found = sorted({name.as_py() or "" for name in names})
    if len(found) != 1 or not found[0]:
        raise OutcomesError(
            f"the column 'verified' needs one verifier, named in each row; the outcome table has "
            f"{', '.join(map(repr, found))}; keep the rows of one"
        )
    return str(found[0])


def _texts(table: pa.Table, name: str) -> NDArray[np.object_]:
    return np.asarray(table[name].to_pylist(), dtype=object)
