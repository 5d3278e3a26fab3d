"""A cold cache over a recorded stream of questions: exact tier, then semantic tier, as a service would ask them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from router.cache.certify import JudgeError, Standing
from router.cache.semantic import SemanticTier
from router.embedding import shared

BATCH = 64


@dataclass(frozen=True, slots=True)
class Step:
    """What one request got."""

    hit: bool
    served: str | None
    """The stored answer; None after a miss."""
    reason: str


@dataclass(slots=True)
class Summary:
    """Counts of a replay."""

    requests: int = 0
    exact: int = 0
    semantic: int = 0
    wrong: int = 0
    """Hits of either kind with another answer than the stream's."""
    reasons: dict[str, int] = field(default_factory=dict)
    standing: Standing | None = None

    def count(self, step: Step, answer: str) -> None:
        """Add one step; `answer` is the true one."""
        self.requests += 1
        self.exact += step.hit and step.reason == "exact"
        self.semantic += step.hit and step.reason != "exact"
        self.wrong += step.hit and step.served != answer

    def text(self) -> str:
        """Two lines for people."""
        hits, n = self.exact + self.semantic, max(1, self.requests)
        first = (
            f"{self.requests:,} requests: {hits / n:.1%} hits ({self.exact:,} exact, {self.semantic:,} semantic); "
            f"wrong / hits {self.wrong / max(1, hits):.2%}, wrong / requests {self.wrong / n:.2%}"
        )
        if self.standing is None:
            return first
        return (
            f"{first}\nfrom {self.standing.labels:,} labels of the stream: wrong / semantic hits "
            f"<= {self.standing.wrong_upper:.2%} (estimate {self.standing.wrong_estimate:.2%}), "
            f"withdrawn {self.standing.withdrawn} times"
        )


def replay_stream(
    prompts: Sequence[str],
    answers: Sequence[str],
    *,
    max_error: float,
    seed: int = 0,
    judge: JudgeError | None = None,
    summary: Summary | None = None,
) -> Iterator[Step]:
    """Ask each prompt in order; an answer is looked at only after its row missed or was audited.

    Args:
        prompts: texts.
        answers: identity of each one's true answer.
        max_error: promised upper bound of wrong / hits.
        seed: of the audit.
        judge: how often labels err, when they do.
        summary: gets the tier's standing at the end.
    """
    tier = SemanticTier(max_error=max_error, judge=judge, seed=seed)
    exact: dict[str, str] = {}
    stored: dict[int, str] = {}
    for start in range(0, len(prompts), BATCH):
        batch = prompts[start : start + BATCH]
        embedded = shared().embed(batch)
        for at, prompt in enumerate(batch):
            if prompt in exact:
                yield Step(True, exact[prompt], "exact")
                continue
            vector, is_truncated = embedded.vectors[at], embedded.truncated[at]
            decision = tier.lookup("stream", prompt, vector, truncated=is_truncated)
            if decision.outcome == "hit" and decision.entry is not None:
                yield Step(True, stored[decision.entry], decision.reason)
                continue
            answer = answers[start + at]
            tier.learn(decision, answer=answer)
            exact[prompt] = answer
            if not is_truncated:
                stored[tier.insert("stream", prompt, vector, answer)] = answer
            yield Step(False, None, decision.reason)
    if summary is not None:
        summary.standing = tier.standing()
