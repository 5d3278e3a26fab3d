"""What changed since the evidence was taken: the model, the traffic, or the judge?

Three questions, each with data that only its own answer can move:

- model: the same questions (anchors) asked again and judged as before; a paired test of the scores.
- traffic: fresh questions beside the anchors; two-sample tests of wording and length, and where both were answered now,
  also of scores and subtasks.
- judge: the very same answers judged again; whatever differs is the judge's doing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import Literal

from evals.outcomes import by_pair, value_of
from evals.stats import holm, paired_bootstrap, sign_flip_p
from evals.store import Run
from evals.traffic import two_sample_p, wording
from evals.types import EvalError, Result, Sample, Scored
from router.outcomes import read_outcomes

ALPHA = 0.05
"""Chance of an alarm anywhere, if nothing changed: the tests of one report share it (Holm)."""
LEAST = 20
"""With fewer samples than this on a side, nothing is called the same; a change may show even so."""
DRAWS = 2_000

Verdict = Literal["changed", "same", "not enough evidence"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """The answer to one question about one candidate on one task."""

    about: Literal["model", "traffic", "judge"]
    task: str
    candidate: str
    """Empty where no model has a part in it."""
    measure: str
    """What was compared: score, prompt length, answer length, subtasks, wording."""
    before: float
    now: float
    n: int
    """Samples on the smaller side."""
    p: float
    """Two-sided p-value, before it is corrected for the number of tests."""
    verdict: Verdict = "same"
    note: str = ""

    def words(self) -> str:
        """One line."""
        told = f"{self.measure} {self.before:.3f} before, {self.now:.3f} now (n {self.n}, p {self.p:.4f})"
        note = f"; {self.note}" if self.note else ""
        where = f"{self.candidate} on {self.task}" if self.candidate else self.task
        return f"{self.about} {self.verdict}: {where}: {told}{note}"


def drift(
    anchors: Run,
    now: Run | None = None,
    fresh: Run | None = None,
    rescored: Path | None = None,
    *,
    requests: Mapping[str, Sequence[Sample]] | None = None,
) -> list[Finding]:
    """Compare what evidence stands on with today.

    Args:
        anchors: the run that the evidence stands on.
        now: the same samples asked again; without it nothing is said about models.
        fresh: samples of today's traffic, asked now.
        requests: samples of today's traffic by task, not asked again (`evals.traffic.fresh_samples`); without these
            and `fresh` nothing is said about traffic.
        rescored: outcome table of `anchors` with today's judge in the column `rescored` (`clearbar eval rescore`);
            without it the answers that came back word for word are compared.

    Raises:
        EvalError: the runs share no sample and candidate, or `fresh` is given without `now`.
    """
    samples = {sample.id: sample for sample in anchors.samples()}
    asked = [] if requests is None else _requests(list(samples.values()), requests)
    if now is None:
        if fresh is not None or rescored is not None:
            raise EvalError(f"{anchors.directory}: give also the run in which the same samples were asked again")
        return _corrected(asked)
    old, new = by_pair(anchors), by_pair(now)
    shared = [pair for pair in old if pair in new and pair[0] in samples]
    if not shared:
        raise EvalError(
            f"{now.directory} shares no sample and candidate with {anchors.directory}; ask the same suite again"
        )
    columns = None if rescored is None else _columns(rescored)
    found: list[Finding] = []
    for task, candidate in dict.fromkeys((samples[sample].task, candidate) for sample, candidate in shared):
        mine = [pair for pair in shared if pair[1] == candidate and samples[pair[0]].task == task]
        values = _same_answers([(old[p], new[p]) for p in mine]) if columns is None else columns.get((task, candidate))
        found += _judge(task, candidate, values or [])
        found += _model(task, candidate, [(old[pair], new[pair]) for pair in mine])
        if fresh is not None:
            today = [sample for sample in fresh.samples() if sample.task == task]
            anchored = [samples[pair[0]] for pair in mine]
            found += _traffic(task, candidate, anchored, new, today, by_pair(fresh))
    return _corrected(found + asked)


def conclusion(found: Sequence[Finding]) -> str:
    """What the findings amount to, in words."""
    changed = {about: [one for one in found if one.about == about and one.verdict == "changed"]
               for about in ("judge", "model", "traffic")}  # fmt: skip
    lines = []
    if changed["judge"]:
        lines.append(
            "The judge changed: it values the same answers differently. Calibrate it before anything else "
            "is concluded; the scores below are not comparable."
        )
    if changed["model"]:
        names = ", ".join(dict.fromkeys(one.candidate for one in changed["model"]))
        lines.append(
            f"The model changed: {names} answers the same questions differently. Its evidence is void; "
            "run the suite again and propose."
        )
    if changed["traffic"]:
        tasks = ", ".join(dict.fromkeys(one.task for one in changed["traffic"]))
        lines.append(
            f"The traffic changed on {tasks}: the anchors do not stand for it. Draw a fresh suite from the ledger."
        )
    if not lines:
        few = any(one.verdict == "not enough evidence" for one in found)
        lines.append("Too few samples to tell; ask more." if few else "Nothing changed that these samples can show.")
    if unseen := [about for about in changed if all(one.about != about for one in found)]:
        lines.append(f"Nothing is said about: {', '.join(unseen)}.")
    return "\n".join(lines)


def _model(task: str, candidate: str, pairs: Sequence[tuple[list[Result], list[Result]]]) -> list[Finding]:
    values = [(a, b) for before, after in pairs if (a := _mean(before)) is not None and (b := _mean(after)) is not None]
    versions = [{result.model_version for side in pairs for result in side[turn]} - {None} for turn in (0, 1)]
    note = ""
    if versions[0] and versions[1] and versions[0] != versions[1]:
        note = f"version {', '.join(sorted(map(str, versions[0])))} became {', '.join(sorted(map(str, versions[1])))}"
    if not values:
        return []
    before, after = [a for a, _ in values], [b for _, b in values]
    change = paired_bootstrap(after, before, draws=DRAWS)
    told = f"change {change.value:+.3f} ({change.low:+.3f} to {change.high:+.3f})"
    p = sign_flip_p([b - a for a, b in values])
    return [
        Finding(
            about="model",
            task=task,
            candidate=candidate,
            measure="score",
            before=fmean(before),
            now=fmean(after),
            n=len(values),
            p=p,
            note="; ".join(filter(None, (told, note))),
            verdict="changed" if note else "same",  # another version is another model, whatever its scores
        )
    ]


def _columns(table: Path) -> dict[tuple[str, str], list[tuple[float, float]]]:
    """By task and model: each answer's value as recorded and as judged again."""
    found: dict[tuple[str, str], list[tuple[float, float]]] = {}
    for row in read_outcomes(table).to_pylist():
        if "rescored" not in row:
            raise EvalError(f"{table}: has no column `rescored`; make it with `clearbar eval rescore --outcomes ...`")
        if row["quality"] is not None and row["rescored"] is not None:
            found.setdefault((row["task"], row["model"]), []).append((row["quality"], row["rescored"]))
    return found


def _same_answers(pairs: Sequence[tuple[list[Result], list[Result]]]) -> list[tuple[float, float]]:
    return [
        (one.score.value, other.score.value)
        for before, after in pairs
        for one, other in zip(before, after, strict=False)
        if one.response == other.response and isinstance(one.score, Scored) and isinstance(other.score, Scored)
    ]


def _judge(task: str, candidate: str, same: Sequence[tuple[float, float]]) -> list[Finding]:
    if not same:
        return []
    moved = sum(a != b for a, b in same)
    p = sign_flip_p([b - a for a, b in same])
    return [
        Finding(
            about="judge",
            task=task,
            candidate=candidate,
            measure="score of the same answers",
            before=fmean(a for a, _ in same),
            now=fmean(b for _, b in same),
            n=len(same),
            p=p,
            note=f"{moved} of {len(same)} the same answers got another score",
        )
    ]


def _traffic(
    task: str,
    candidate: str,
    anchors: Sequence[Sample],
    answered: Mapping[tuple[str, str], list[Result]],
    today: Sequence[Sample],
    fresh: Mapping[tuple[str, str], list[Result]],
) -> list[Finding]:
    def finding(measure: str, before: Sequence[float], now: Sequence[float]) -> list[Finding]:
        if not before or not now:
            return []
        return [
            Finding(
                about="traffic",
                task=task,
                candidate=candidate,
                measure=measure,
                before=fmean(before),
                now=fmean(now),
                n=min(len(before), len(now)),
                p=two_sample_p(before, now),
            )
        ]

    old = [results for sample in anchors if (results := answered.get((sample.id, candidate)))]
    new = [results for sample in today if (results := fresh.get((sample.id, candidate)))]
    scores = [[value for results in side if (value := _mean(results)) is not None] for side in (old, new)]
    lengths = [[float(len(result.response)) for results in side for result in results[:1]] for side in (old, new)]
    prompts = [[float(len(sample.prompt)) for sample in side] for side in (anchors, today)]
    found = [
        *finding("score", scores[0], scores[1]),
        *finding("answer length", lengths[0], lengths[1]),
        *finding("prompt length", prompts[0], prompts[1]),
    ]
    kinds = [Counter(sample.subtask for sample in side) for side in (anchors, today)]
    if len(kinds[0] | kinds[1]) > 1:
        top = kinds[0].most_common(1)[0][0]
        shares = [[float(sample.subtask == top) for sample in side] for side in (anchors, today)]
        found += finding(f"share of {top or 'no subtask'}", shares[0], shares[1])
    return found


def _requests(anchors: Sequence[Sample], requests: Mapping[str, Sequence[Sample]]) -> list[Finding]:
    """What today's requests look like beside the anchors, whoever answers them."""
    found: list[Finding] = []
    for task in dict.fromkeys(sample.task for sample in anchors):
        before, now = [s for s in anchors if s.task == task], requests.get(task, ())
        n = min(len(before), len(now))
        apart = wording(before, now)
        if apart is None:
            few = Finding(about="traffic", task=task, candidate="", measure="requests", before=len(before),
                          now=len(now), n=n, p=1.0, note="too few requests with text")  # fmt: skip
            found.append(few)
            continue
        is_drawn = any("ledger.sqlite3:" in str(sample.metadata.get("source")) for sample in before)
        note = "" if is_drawn else "the anchors come from no ledger: this is how far they are from the traffic"
        lengths = [[float(len(sample.prompt)) for sample in side] for side in (before, now)]
        found += [
            Finding(about="traffic", task=task, candidate="", measure="wording (mean distance to the anchors)",
                    before=apart.within, now=apart.between, n=apart.n, p=apart.p, note=note),
            Finding(about="traffic", task=task, candidate="", measure="prompt length", before=fmean(lengths[0]),
                    now=fmean(lengths[1]), n=n, p=two_sample_p(*lengths)),
        ]  # fmt: skip
    return found


def _corrected(found: Sequence[Finding]) -> list[Finding]:
    adjusted = holm({str(number): one.p for number, one in enumerate(found)}).values()
    verdicts: list[Verdict] = [
        "changed" if one.verdict == "changed" or p <= ALPHA else "not enough evidence" if one.n < LEAST else "same"
        for one, p in zip(found, adjusted, strict=True)
    ]
    return [replace(one, verdict=verdict) for one, verdict in zip(found, verdicts, strict=True)]


def _mean(results: Sequence[Result]) -> float | None:
    values = [value for value in map(value_of, results) if value is not None]
    return fmean(values) if values else None
