"""What learning from feedback is worth and costs: alarms, barring, exploration and estimates of another policy.

Everything is simulated, because only then the truth is known: answers are right or wrong by a chance that is set, and
the real beliefs, alarms, choices and estimates run. Floors in the same run: a fixed test repeated after every answer
(alarm), no learning and no exploration (routing), the plain mean of what was served (estimate).

    python benchmarks/online.py [--streams 2000] [--length 2000]
"""

from __future__ import annotations

import argparse
import math
from decimal import Decimal
from typing import Any

import numpy as np
from _results import write
from numpy.typing import NDArray

from router.policy import Bar
from router.predict.alarm import ALPHA, Watch
from router.predict.online import Experience, Tally
from router.predict.value import LEAST_EFFECTIVE, Scored, value
from router.select import Offer, plan

Array = NDArray[np.float64]
BAR = Bar.model_validate({"min": 0.9, "confidence": 0.95})
MEANS = {"small": 0.93, "middle": 0.95, "large": 0.97}
"""What evidence says, on 400 samples each."""
COSTS = {"small": 1.0, "middle": 4.0, "large": 20.0}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--streams", type=int, default=2_000)
    parser.add_argument("--length", type=int, default=2_000)
    arguments = parser.parse_args()
    few = max(20, arguments.streams // 25)
    parts = {
        "false_alarms": lambda: false_alarms(arguments.streams, arguments.length),
        "delays": lambda: delays(few),
        "drops": lambda: drops(few),
        "routing": lambda: routing(max(10, few // 3)),
        "estimates": lambda: estimates(few),
    }
    figures: dict[str, Any] = {"streams": arguments.streams, "length": arguments.length}
    for name, measured in parts.items():
        figures[name] = measured()
        print(name)
        for row in figures[name]:
            print("   " + "  ".join(f"{key} {shown(given)}" for key, given in row.items()), flush=True)
    print(write("online", figures))


def shown(given: Any) -> str:
    return f"{given:.3g}" if isinstance(given, float) else str(given)


def false_alarms(streams: int, length: int) -> list[dict[str, Any]]:
    """Share of streams that ever alarm though the promise just holds; a level of 5 % is said."""
    rows = []
    for promise in (0.6, 0.9, 0.98):
        alarmed = warned = floored = 0
        for stream in range(streams):
            scores = right(np.full(length, promise), stream)
            state, has_warned = Watch(), False
            for score in scores.tolist():
                state = state.hear(score, promise)
                has_warned |= state.warns
            alarmed += state.raised
            warned += has_warned
            floored += repeated_test(scores, promise) is not None
        rows.append({
            "promise": promise, "alarms": alarmed / streams, "warnings": warned / streams,
            "repeated_fixed_test": floored / streams, "said": ALPHA,
        })  # fmt: skip
    return rows


def delays(streams: int) -> list[dict[str, Any]]:
    """Scored answers between a drift and its alarm, and its warning."""
    rows = []
    for before, after, good in (
        (0.9, 0.8, 0),
        (0.93, 0.85, 300),
        (0.93, 0.8, 300),
        (0.93, 0.8, 3_000),
        (0.93, 0.6, 300),
    ):
        alarms, warnings = [], []
        for stream in range(streams):
            chances = np.r_[np.full(good, before), np.full(3_000, after)]
            state, warned_at = Watch(), None
            for number, score in enumerate(right(chances, stream).tolist(), 1):
                state = state.hear(score, 0.9)
                warned_at = number if warned_at is None and state.warns and number > good else warned_at
                if state.raised:
                    break
            alarms.append(state.n - good if state.raised else math.inf)
            warnings.append(min(warned_at or math.inf, state.n) - good)
        rows.append({
            "bar": 0.9, "before": before, "after": after, "good_answers_before": good,
            "alarm_median": float(np.median(alarms)), "alarm_p90": float(np.quantile(alarms, 0.9)),
            "warning_or_alarm_median": float(np.median(warnings)),
        })  # fmt: skip
    return rows


def drops(streams: int) -> list[dict[str, Any]]:
    """The alarm under a drop of at most 0.03 against a model of 0.9, of which a share of requests is an audit."""
    rows = []
    for share in (0.05, 0.2):
        for plan_mean, length in ((0.87, 2_000), (0.8, 6_000), (0.7, 6_000)):
            random = np.random.default_rng(5)
            found = [_drop_raised_at(random, length, plan_mean, share) for _ in range(streams)]
            rows.append(
                {
                    "audited": share,
                    "plan": plan_mean,
                    "length": length,
                    "raised": float(np.mean([at is not None for at in found])),
                    "median_answers": float(np.median([at or length for at in found])),
                }
            )
    return rows


def _drop_raised_at(random: np.random.Generator, length: int, plan_mean: float, share: float) -> int | None:
    state = Watch()
    for number in range(length):
        is_audit = bool(random.random() < share)
        right = float(random.random() < (0.9 if is_audit else plan_mean))
        state = state.hear_drop(right, 0.03, share, is_other=is_audit)
        if state.raised:
            return number + 1
    return None


def routing(streams: int, requests: int = 3_000, answered: float = 0.3) -> list[dict[str, Any]]:
    """A task served for a while, with feedback on a share of its answers: mean quality and cost, learning or not."""
    cases = {
        "evidence is right": MEANS,
        "small is worse than measured (0.80)": {**MEANS, "small": 0.8},
        "small just fails (0.88)": {**MEANS, "small": 0.88},
        "all are worse (0.70, 0.75, 0.92)": {"small": 0.7, "middle": 0.75, "large": 0.92},
    }
    rows = []
    for case, truth in cases.items():
        for how, learns, share in (
            ("off", False, 0.0),
            ("feedback", True, 0.0),
            ("feedback, explore 0.05", True, 0.05),
        ):
            runs = [served(truth, requests, answered, learns, share, stream) for stream in range(streams)]
            quality, cost, small, alarmed = np.mean(runs, axis=0).tolist()
            rows.append({"case": case, "learning": how, "quality": quality, "cost": cost,
                         "first_is_small_at_the_end": small, "alarmed": alarmed})  # fmt: skip
    return rows


def served(
    truth: dict[str, float], requests: int, answered: float, learns: bool, share: float, seed: int
) -> tuple[float, float, float, float]:
    random = np.random.default_rng(seed)
    known = Experience()
    evidence = {model: (mean, 400) for model, mean in MEANS.items()}
    offers = [
        Offer(model=model, quality=mean, expected_cost_usd=Decimal(str(COSTS[model]))) for model, mean in MEANS.items()
    ]
    quality = cost = late_small = 0.0
    for number in range(requests):
        lessons = known.lessons("qa", BAR, evidence)
        taught, fallback = lessons.adjust(offers) if learns else (offers, [])
        order, candidates = plan(taught, strategy="single", bar=BAR.min, fallback=fallback)
        if learns:
            order, _ = lessons.explore(order, candidates, taught, share=share, request_id=f"{seed} {number}")
        model = order[0]
        quality += truth[model]
        cost += COSTS[model]
        late_small += (number >= requests - 500) * (model == "small") / 500
        if random.random() < answered:
            score = float(random.random() < truth[model])
            pair = ("qa", model)
            known = Experience(
                row=known.row + 1,
                tallies={**known.tallies, pair: known.tallies.get(pair, Tally()).hear(score)},
                watches={"qa": known.watches.get("qa", Watch()).hear(score, BAR.min)},
            )
    return quality / requests, cost / requests, late_small, float(known.watches["qa"].raised if known.watches else 0)


def estimates(streams: int) -> list[dict[str, Any]]:
    """Error and coverage of what `large everywhere` would have earned, from logs that explore a share."""
    rows = []
    for expected in ("right", "0.1 too high"):
        for n, share in ((500, 0.5), (2_000, 0.1), (2_000, 0.25), (10_000, 0.05)):
            found = [value(logs(n, share, stream, 0.1 if expected != "right" else 0.0)) for stream in range(streams)]
            ready = [one for one in found if one.suffices]
            row: dict[str, Any] = {"n": n, "explore": share, "expectations": expected,
                                   "effective_n": float(np.mean([one.effective_n for one in found])),
                                   "refused": 1 - len(ready) / len(found)}  # fmt: skip
            if ready:
                row |= {
                    "coverage": float(
                        np.mean([one.doubly_robust.low <= 0.9 <= one.doubly_robust.high for one in ready])
                    ),
                    "rmse_doubly_robust": rmse([one.doubly_robust.mean for one in ready]),
                    "rmse_inverse_propensity": rmse([one.inverse_propensity.mean for one in ready]),
                    "rmse_mean_of_what_was_served": rmse([one.recorded.mean for one in ready]),
                    "least_effective_n": LEAST_EFFECTIVE,
                }
            rows.append(row)
    return rows


def logs(n: int, share: float, seed: int, error: float) -> list[Scored]:
    """Requests of two kinds; `small` is asked first and as good as 0.8 on average, `large` as 0.9."""
    random = np.random.default_rng(seed)
    chances = {"small": 1 - share / 2, "large": share / 2}
    made = []
    for hard in (random.random(n) < 0.5).tolist():
        truth = {"small": 0.65 if hard else 0.95, "large": 0.82 if hard else 0.98}
        action = "large" if random.random() < share / 2 else "small"
        expected = {model: min(1.0, rate + error) for model, rate in truth.items()}
        made.append(Scored(score=float(random.random() < truth[action]), action=action, chances=chances,
                           wanted="large", expected=expected, expected_cost_usd={}))  # fmt: skip
    return made


def rmse(found: list[float]) -> float:
    return float(np.sqrt(np.mean((np.array(found) - 0.9) ** 2)))


def repeated_test(scores: Array, promise: float) -> int | None:
    """First answer at which a z-test at 5 % says that the mean lies below, looked at from the 30th on."""
    n = np.arange(1, len(scores) + 1)
    z = (promise - np.cumsum(scores) / n) / np.sqrt(promise * (1 - promise) / n)
    hits = np.flatnonzero((z > 1.645) & (n >= 30))
    return int(hits[0]) if len(hits) else None


def right(chances: Array, seed: int) -> Array:
    return (np.random.default_rng(seed).random(len(chances)) < chances).astype(np.float64)


if __name__ == "__main__":
    main()
