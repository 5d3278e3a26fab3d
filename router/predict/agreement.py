"""How sure several answers to one question are, taken together: P(the best supported answer clears).

Two steps. A vote scores the distinct answers given so far by who stands behind them, and "none of them is right"
beside them: a conditional logit (D. McFadden, Conditional logit analysis of qualitative choice behavior, 1974).
Then a logistic regression looks at the two best supported answers: how clear the vote was, how hard the text
looked beforehand, how long the responses are and what shape the answer has. Cheap models that agree are worth
more than one guess, but not always, and not in every task: both steps are fitted on recorded outcomes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from router.answers import Answer
from router.predict.calibrate import logit, sigmoid
from router.predict.labels import Floats, Indices
from router.predict.sureness import Sureness

Mask = NDArray[np.bool_]

SHAPE = (
    "log_characters",
    "is_number",
    "is_fractional",
    "log_magnitude",
    "is_in_prompt",
    "is_missing",
    "is_restated",
    "log_doubts",
    "log_numbers",
)
"""What an answer and the response around it look like, whatever they say."""
VOTE = (
    "support",
    "support_of_others",
    "log_asked",
    "log_agreeing",
    "is_unanimous",
    "unanimous_log_asked",
    "share_agreeing",
    "ease",
    "trust",
    "trust_behind_best",
    "length",
    "length_of_all",
    "other_answers",
    "is_silent",
    "share_silent",
    "unanimous_ease",
    "alone_ease",
    "ease_log_asked",
)
"""What the vote says of an answer, in the order of `Acceptance.contenders`; ease and trust are expected log-odds, of
all models and of those behind the answer."""
COLUMNS = (*VOTE, *SHAPE)
"""Columns of a contender."""
SLOPES = tuple(COLUMNS.index(name) for name in ("support", "ease", "length", *SHAPE))
"""Columns whose weight differs between tasks."""
_DOUBT = re.compile(
    r"\b(?:however|but|wait|assum\w*|approximat\w*|cannot|unclear|seems?|appears?|likely|probably|maybe|perhaps|"
    r"incorrect|mistake|actually|error)\b",
    re.IGNORECASE,
)
_NUMBER = re.compile(r"\d+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """What n requests' models answered; the columns of models that were not asked are never looked at."""

    group: Indices
    """Shape (n, m): equal numbers within a row are equal answers; -1 where a response holds no answer."""
    shape: Floats
    """Shape (n, m, len(SHAPE))."""
    length: Floats
    """Shape (n, m): log(1 + output tokens)."""
    logprob: Floats
    """Shape (n, m): mean log-probability of a response's tokens; NaN where nobody knows."""

    def rows(self, rows: Indices) -> Given:
        """Some of the requests."""
        return Given(
            group=self.group[rows], shape=self.shape[rows], length=self.length[rows], logprob=self.logprob[rows]
        )


def shape_of(answer: Answer, response: str, prompt: str) -> list[float]:
    """The shape columns of one answer; words of doubt are only known in English."""
    before = response[: max(len(response) - len(answer.key) - 10, 0)]
    number = answer.number
    is_number = number is not None
    magnitude = min(abs(number), 1e15) if number is not None else 0.0
    return [
        float(np.log1p(len(answer.key))),
        float(is_number),
        float(is_number and magnitude != int(magnitude)),
        float(np.log1p(magnitude)),
        float(bool(answer.key) and answer.key in prompt),
        float(not answer.key),
        float(bool(answer.key) and answer.key in before),
        float(np.log1p(len(_DOUBT.findall(response)))),
        float(np.log1p(len(_NUMBER.findall(response)))),
    ]


def grouped(keys: Sequence[str]) -> list[int]:
    """Numbers of equal answers, in order of appearance; -1 for an empty key."""
    number_of: dict[str, int] = {}
    return [number_of.setdefault(key, len(number_of)) if key else -1 for key in keys]


@dataclass(frozen=True, slots=True, kw_only=True)
class Votes:
    """Utilities of the distinct answers, and of "none of them"."""

    support: Floats
    """Shape (m,): what each model's support adds to an answer."""
    prior: Floats
    """Shape (4,): weight of the supporters' expected log-odds, and of the 2nd, 3rd, and 5th and later supporter."""
    doubt: Floats
    """Shape (m,): what each model that gave an answer adds to "none"."""
    silence: Floats
    """Shape (m,): what each model that gave none adds to "none"."""
    base: Floats
    """Shape (2,): utility of "none", and weight in it of the expected log-odds of all who answered."""

    def probabilities(self, group: Indices, called: Mask, expected: Floats) -> Floats:
        """P(each distinct answer is right), shape (n, answers); what is missing to 1 is "none of them".

        Args:
            group: shape (n, m), of `Given`.
            called: shape (n, m), which models have been asked.
            expected: shape (n, m), log-odds of each model's quality before any answer.
        """
        members, columns = voters(group, called, expected)
        utility = np.einsum("m,nmk->nk", self.support, members) + columns @ self.prior
        utility = np.where(members.any(axis=1), utility, -np.inf)
        answered = called & (group >= 0)
        none = self.base[0] + self.base[1] * np.where(answered, expected, 0.0).sum(axis=1)
        none = none + answered @ self.doubt + (called & (group < 0)) @ self.silence
        top = np.maximum(utility.max(axis=1), none)[:, None]
        powers = np.exp(utility - top)
        return np.asarray(powers / (powers.sum(axis=1, keepdims=True) + np.exp(none[:, None] - top)))


def voters(group: Indices, called: Mask, expected: Floats) -> tuple[Floats, Floats]:
    """Who stands behind each answer, shape (n, m, answers), and the answers' columns, shape (n, answers, 4)."""
    answers = max(int(group.max(initial=0)) + 1, 1)
    members = (group[:, :, None] == np.arange(answers)) & called[:, :, None]
    size = members.sum(axis=1)
    columns = [np.einsum("nm,nmk->nk", expected, members)]
    columns += [np.maximum(size - above, 0.0) for above in (1, 2, 4)]
    return members.astype(np.float64), np.stack(columns, axis=2)


@dataclass(frozen=True, slots=True, kw_only=True)
class Acceptance:
    """P(the chosen answer clears), and whose answer that is."""

    votes: Votes
    length_center: Floats
    """Shape (tasks + 1, m): mean log length of each model's responses by task; the last row is for unknown tasks."""
    length_scale: Floats
    center: Floats
    """Shape (len(COLUMNS),): training mean of each column."""
    scale: Floats
    weights: Floats
    """Of `design`'s columns."""
    sureness: Sureness | None = None
    """What token log-probabilities add, where training had enough of them."""

    def judge(
        self, given: Given, called: Mask, expected: Floats, task: Indices, leaf: Indices
    ) -> tuple[Floats, Indices]:
        """P(the chosen answer clears), shape (n,), and the model that gave it, shape (n,).

        Args:
            given: the answers.
            called: shape (n, m), which models have been asked; at least one in every row.
            expected: shape (n, m), log-odds of each model's quality before any answer.
            task: shape (n,), -1 for unknown.
            leaf: shape (n,), finest known label, -1 for unknown.
        """
        return chosen(self.scored(given, called, expected, task, leaf))

    def scored(
        self, given: Given, called: Mask, expected: Floats, task: Indices, leaf: Indices
    ) -> list[tuple[Floats, Indices, Mask, Mask]]:
        """The two best supported answers: log-odds, most trusted model, is there one, and who is behind it."""
        found = []
        for columns, model, is_there, own in self.contenders(given, called, expected, task):
            scored = self.design(columns, task, leaf) @ self.weights
            if self.sureness is not None:
                scored = self.sureness.corrected(scored, given.logprob, called, own, task)
            found.append((scored, model, is_there, own))
        return found

    def contenders(
        self, given: Given, called: Mask, expected: Floats, task: Indices
    ) -> list[tuple[Floats, Indices, Mask, Mask]]:
        """The two best supported answers: columns, most trusted model behind it, is there one, and who is behind it.

        Columns are (n, len(COLUMNS)), who is behind it (n, m).
        The first contender of a row without any answer is the response of the most trusted model.
        """
        chance = self.votes.probabilities(given.group, called, expected)
        rows, found = np.arange(len(chance)), []
        order = np.argsort(-chance, axis=1, kind="stable")
        other_answers = (chance > 0).sum(axis=1) - 1.0
        asked = called.sum(axis=1)
        ease = expected.mean(axis=1)
        length = (given.length - self.length_center[task]) / self.length_scale[task]
        best_asked = np.where(called, expected, -np.inf).max(axis=1)
        for rank in (0, 1):
            place = order[:, min(rank, chance.shape[1] - 1)]
            own = (given.group == place[:, None]) & called
            is_there = own.any(axis=1) & (rank < chance.shape[1])
            own = np.where(is_there[:, None], own, called)
            trusted = np.where(own, expected, -np.inf)
            model = trusted.argmax(axis=1)
            rest = chance.copy()
            rest[rows, place] = 0.0
            agree = own.sum(axis=1)
            unanimous = (agree == asked) & (asked > 1) & is_there
            columns = [
                logit(chance[rows, place]),
                logit(np.maximum(rest.max(axis=1), 0.02)),
                np.log(asked),
                np.log(agree),
                unanimous,
                unanimous * np.log(asked),
                agree / asked,
                ease,
                trusted.max(axis=1),
                trusted.max(axis=1) - best_asked,
                np.where(own, length, 0.0).sum(axis=1) / agree,
                np.where(called, length, 0.0).sum(axis=1) / asked,
                other_answers,
                ~is_there,
                (called & (given.group < 0)).sum(axis=1) / asked,
                ease * unanimous,
                ease * (asked == 1),
                ease * np.log(asked),
            ]
            shaped = np.column_stack([*columns, given.shape[rows, model]])
            found.append((shaped, model, is_there | (rank == 0), own))
        return found

    def design(self, columns: Floats, task: Indices, leaf: Indices) -> Floats:
        """Columns of the logistic regression.

        A constant, the scaled columns, a constant for each leaf, then for each task a constant and its own slopes:
        shape (n, 1 + len(COLUMNS) + leaves + tasks * (1 + len(SLOPES))).
        """
        scaled = (columns - self.center) / self.scale
        tasks = len(self.length_center) - 1
        leaves = len(self.weights) - 1 - len(COLUMNS) - tasks * (1 + len(SLOPES))
        of_task = one_hot(task, tasks)
        slopes = [of_task * scaled[:, [column]] for column in SLOPES]
        return np.hstack([np.ones((len(scaled), 1)), scaled, one_hot(leaf, leaves), of_task, *slopes])

    def arrays(self) -> dict[str, NDArray[Any]]:
        """The arrays an artifact keeps, by name."""
        own = {f"acceptance_{name}": getattr(self, name) for name in _OWN}
        own |= {f"votes_{f.name}": getattr(self.votes, f.name) for f in fields(Votes)}
        return own | (self.sureness.arrays() if self.sureness is not None else {})

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> Acceptance:
        """The acceptance that `arrays` was taken from."""
        votes = Votes(**{f.name: arrays[f"votes_{f.name}"] for f in fields(Votes)})
        own = {name: arrays[f"acceptance_{name}"] for name in _OWN}
        return cls(votes=votes, sureness=Sureness.from_arrays(arrays), **own)


def chosen(scored: Sequence[tuple[Floats, Indices, Mask, Mask]]) -> tuple[Floats, Indices]:
    """The likelier of the two answers of `Acceptance.scored`: its chance, and the model that gave it, (n,) each."""
    chances = [np.where(is_there, sigmoid(odds), -1.0) for odds, _, is_there, _ in scored]
    second = chances[1] > chances[0]
    return np.where(second, chances[1], chances[0]), np.where(second, scored[1][1], scored[0][1])


_OWN = tuple(f.name for f in fields(Acceptance) if f.name not in ("votes", "sureness"))


def one_hot(positions: Indices, count: int) -> Floats:
    """Rows of zeros with a 1 at each position, shape (n, count); -1 is a row of zeros."""
    rows = np.zeros((len(positions), count))
    known = np.flatnonzero(positions >= 0)
    rows[known, positions[known]] = 1.0
    return rows
