"""How far a judge can be trusted: the record of its verdicts beside people's labels.

A calibration holds for one judge, one rubric and the versions of it that answered, and for a time;
`Calibration.void_because` says when it no longer does. It is measured by `evals.judges.measure`, and what it does
to a judged run is `evals.corrected`'s.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from evals.agreement import Share, Slope
from evals.stats import JudgeRecord, lower_behind, part_of_error
from evals.types import EvalError

VERSION = 2
LIFETIME = timedelta(days=90)
"""How long a calibration holds for a judge that its provider may change behind its name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """A judge beside people's labels."""

    judge: str
    """Policy id of the judge."""
    call: str
    """Its model string."""
    versions: tuple[str, ...]
    """What the provider said it served."""
    rubric: str
    rubric_sha256: str
    created: str
    """ISO time in UTC of the first verdict's session."""
    expires: str | None
    """ISO time; None where every version is the hash of weights, which cannot change."""
    labels: int
    """Labelled answers."""
    judged: int
    """Of these, answers with a verdict; all shares below are among them."""
    base_rate: float | None
    """Share that people labelled right: what agreement is to be compared with."""
    agreement: Share
    kappa: float | None
    """Cohen's kappa; None when judge or people gave one verdict throughout."""
    sensitivity: Share
    """Of the answers labelled right, those that the judge passes."""
    specificity: Share
    """Of the answers labelled wrong, those that the judge fails."""
    self_consistency: Share | None
    """Answers with the same verdict every time; None without repeats."""
    length_slope: Slope | None
    """Change of (verdict - label) for each doubling of the answer's words, labels held fixed; above 0: it likes long
    answers. None where too few answers, or hardly a mistake, leave nothing to tell."""
    length_slope_pairs: Slope | None
    """The same in comparisons: change of the chance to win for each doubling of one answer's words over the other's,
    with the difference of labels held fixed."""
    position_flips: Share | None
    """Pairs whose winner changes with the order in which they are shown. None without pairs."""
    position_first: Share | None
    """Of these, pairs in which the answer shown first gains; 0.5 is fair. None without pairs."""
    family_leniency: Slope | None
    """Mean of (verdict - label) on answers of the judge's own family less that on others, labels held fixed.
    None without both."""
    kin: int
    """Judged answers by models of the judge's family."""
    cost_per_answer_usd: float | None
    """Of one judgement that gave a verdict, those without one included; None when any price is unknown."""

    @property
    def record(self) -> JudgeRecord | None:
        """Its mistakes in numbers; None when either right or wrong answers are missing among the labels."""
        if not self.sensitivity.of or not self.specificity.of:
            return None
        return JudgeRecord(
            right_passed=self.sensitivity.count,
            right=self.sensitivity.of,
            wrong_failed=self.specificity.count,
            wrong=self.specificity.of,
        )

    @property
    def weakness(self) -> str | None:
        """Why no verdict of this judge can be corrected; None when it can."""
        record = self.record
        if record is None:
            return "its labels hold no right or no wrong answer with a verdict, so one kind of mistake is unmeasured"
        if record.sensitivity + record.specificity <= 1:
            return (
                f"it tells right from wrong no better than a coin (passes {record.sensitivity:.0%} of right and "
                f"{1 - record.specificity:.0%} of wrong answers)"
            )
        return None

    def reach(self, confidence: float = 0.95) -> float:
        """The highest bar that a model without a mistake could hold by this judge, were it judged without end."""
        record = self.record
        if record is None or self.weakness is not None:
            return 0.0
        return lower_behind(record.sensitivity, record, part_of_error(confidence))

    @property
    def biases(self) -> list[str]:
        """What its verdicts go along with and should not, as far as the intervals prove it."""
        first = self.position_first
        found = []
        if first is not None and (first.low > 0.5 or first.high < 0.5):
            found.append(f"in pairs it favours the {'first' if first.low > 0.5 else 'second'} place")
        slopes = (
            (self.length_slope, "it", "longer answers"),
            (self.length_slope_pairs, "in pairs it", "the longer answer"),
            (self.family_leniency, "it", "its own family"),
        )
        for slope, where, whom in slopes:
            if slope is not None and (slope.low > 0 or slope.high < 0):
                found.append(f"{where} {'favours' if slope.low > 0 else 'is hard on'} {whom}")
        return found

    def void_because(
        self,
        rubric_sha256: str,
        judge: str,
        call: str,
        versions: Sequence[str] = (),
        *,
        now: datetime | None = None,
    ) -> str | None:
        """Why this calibration does not hold for a judge and its rubric; None when it does."""
        if rubric_sha256 != self.rubric_sha256:
            return f"the rubric changed ({self.rubric_sha256[:12]} is now {rubric_sha256[:12]})"
        if (judge, call) != (self.judge, self.call):
            return f"it is of judge {self.judge} ({self.call}), not {judge} ({call})"
        unknown = [version for version in versions if version not in self.versions]
        if unknown:
            return f"the judge's version changed ({', '.join(self.versions) or 'unknown'} is now {unknown[0]})"
        if self.expires is not None and datetime.fromisoformat(self.expires) <= (now or datetime.now(UTC)):
            return f"it expired on {self.expires[:10]}"
        return None

    def to_json(self) -> dict[str, Any]:
        """As plain JSON values."""
        return {"version": VERSION, **asdict(self)}


def expiry(created: datetime, versions: Sequence[str]) -> datetime | None:
    """When a calibration of that time expires; never where every version is pinned by the hash of its weights."""
    is_pinned = bool(versions) and all(version.startswith("sha256:") for version in versions)
    return None if is_pinned else created + LIFETIME


def read_calibration(path: str | Path) -> Calibration:
    """Read back a calibration.

    Raises:
        EvalError: the file is missing or no calibration.
    """
    try:
        values = json.loads(Path(path).read_text(encoding="utf-8"))
        if values.pop("version") != VERSION:
            raise EvalError(f"{path}: written by another version of clearbar; calibrate again")
        for name in ("agreement", "sensitivity", "specificity", "self_consistency", "position_flips", "position_first"):
            values[name] = None if values[name] is None else Share(**values[name])
        for name in ("length_slope", "length_slope_pairs", "family_leniency"):
            values[name] = None if values[name] is None else Slope(**values[name])
        return Calibration(**{**values, "versions": tuple(values["versions"])})
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise EvalError(f"{path}: not a calibration ({error}); run `clearbar eval calibrate`") from error
