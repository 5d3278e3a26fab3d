"""Beliefs start at the evidence, follow feedback, and decide who stands and who may be explored."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest

from router.decisions import Candidate
from router.policy import Bar
from router.predict.alarm import Watch, watch
from router.predict.online import MOST_PRIOR, Experience, Lessons, Prior, Tally, believe, bounds
from router.select import Offer, plan

BAR = Bar.model_validate({"min": 0.9, "confidence": 0.95})
EVIDENCE = {"small": (0.93, 400), "middle": (0.95, 400), "large": (0.97, 400)}
COSTS = {"small": "0.1", "middle": "0.5", "large": "1"}


def tally(good: int, bad: int) -> Tally:
    heard = Tally()
    for number in range(good + bad):
        heard = heard.hear(0.0 if (number + 1) * bad // (good + bad) > number * bad // (good + bad) else 1.0)
    return heard


def offers(**barred: str) -> list[Offer]:
    return [
        Offer(model=model, quality=mean, quality_low=mean - 0.02, barred=barred.get(model),
              expected_cost_usd=Decimal(COSTS[model]))
        for model, (mean, _) in EVIDENCE.items()
    ]  # fmt: skip


def lessons(bar: Bar = BAR, heard: Watch | None = None, **tallies: Tally) -> Lessons:
    experience = Experience(
        tallies={("qa", model): one for model, one in tallies.items()}, watches={"qa": heard} if heard else {}
    )
    return experience.lessons("qa", bar, EVIDENCE)


def decided(taught: Lessons, share: float = 0.0, request_id: str = "r1") -> tuple[tuple[str, ...], list[Candidate]]:
    adjusted, fallback = taught.adjust(offers())
    order, candidates = plan(adjusted, strategy="single", bar=taught.bar.min, fallback=fallback)
    order, candidates = taught.explore(order, candidates, adjusted, share=share, request_id=request_id)
    return order, list(candidates)


def test_a_belief_starts_at_the_evidence_with_few_pseudo_counts() -> None:
    belief = believe(Prior.of_evidence(0.9, 5_000), Tally())
    assert (belief.mean, belief.effective_n, belief.n) == (0.9, MOST_PRIOR, 0)
    assert belief.low < 0.9 < belief.high
    assert believe(Prior.of_evidence(0.9, 30), Tally()).effective_n == 30


def test_much_feedback_outweighs_the_evidence_and_what_is_old_fades() -> None:
    belief = believe(Prior.of_evidence(0.9, 400), tally(300, 700))
    assert 0.3 < belief.mean < 0.45
    turned = tally(300, 700)
    for _ in range(800):
        turned = turned.hear(1.0)
    assert believe(Prior.of_evidence(0.9, 400), turned).mean > 0.95
    assert turned.weight < 200


@pytest.mark.parametrize(("mean", "n"), [(0.0, 10), (1.0, 10), (0.5, 1), (0.95, 200)])
def test_bounds_lie_around_the_mean_within_0_and_1(mean: float, n: float) -> None:
    low, high = bounds(mean, n, 0.95)
    assert 0 <= low <= mean <= high <= 1
    assert high - low > 0


def test_without_feedback_nothing_changes() -> None:
    assert lessons().adjust(offers()) == (offers(), [])


def test_feedback_below_the_bar_bars_a_model_and_says_so() -> None:
    order, candidates = decided(lessons(small=tally(40, 20)))
    assert order == ("middle", "large")
    (small,) = [one for one in candidates if one.model == "small"]
    assert not small.is_in
    assert small.reason.startswith("feedback: mean 0.")
    assert "over 60 answers" in small.reason and "below bar 0.9" in small.reason


def test_a_little_bad_luck_sends_nobody_away() -> None:
    taught = lessons(small=tally(2, 3))
    assert believe(taught.priors["small"], taught.tallies["small"]).mean < 0.9
    assert decided(taught)[0] == ("small", "middle", "large")


def test_the_best_model_is_never_barred_by_feedback_alone() -> None:
    order, _ = decided(lessons(small=tally(0, 100), middle=tally(0, 100), large=tally(0, 100)))
    assert len(order) == 1


def test_other_reasons_stay() -> None:
    taught, _ = lessons(small=tally(0, 100)).adjust(offers(small="lacks the capability 'json'"))
    assert taught[0].barred == "lacks the capability 'json'"


def test_a_prediction_moves_as_far_as_the_belief_about_the_task_moved() -> None:
    shifted = [replace(offer, quality=0.8) if offer.model == "small" else offer for offer in offers()]
    (small, *_), _ = lessons(small=tally(200, 0)).adjust(shifted)
    assert small.quality is not None and 0.8 < small.quality < 0.97


def test_under_an_alarm_the_best_model_serves_and_the_others_stand_by() -> None:
    order, candidates = decided(lessons(heard=watch([(0.0, 0.9)] * 30)), share=0.5)
    assert order == ("large", "middle", "small")
    assert all("alarm of task qa" in one.reason for one in candidates if one.model != "large")
    assert all(one.propensity is None for one in candidates)


def test_under_an_alarm_feedback_does_not_bar_the_model_with_the_best_evidence() -> None:
    order, _ = decided(lessons(heard=watch([(0.0, 0.9)] * 30), large=tally(0, 30)))
    assert order == ("large", "middle", "small")


def test_under_an_alarm_the_model_of_a_drop_serves() -> None:
    drop = Bar.model_validate({"max_drop": 0.02, "vs": "middle", "confidence": 0.9})
    order, _ = decided(lessons(drop, watch([(0.0, 0.9)] * 30)))
    assert order[0] == "middle"


def test_exploration_asks_each_model_as_often_as_its_propensity_says() -> None:
    firsts = [decided(lessons(), 0.3, f"r{number}") for number in range(3_000)]
    counts = {model: sum(order[0] == model for order, _ in firsts) / 3_000 for model in EVIDENCE}
    chances = {one.model: one.propensity for one in firsts[0][1]}
    assert chances == {"small": pytest.approx(0.8), "middle": pytest.approx(0.1), "large": pytest.approx(0.1)}
    for model, chance in chances.items():
        assert chance is not None and abs(counts[model] - chance) < 0.03
    assert all(set(order) == set(EVIDENCE) for order, _ in firsts)


def test_the_same_request_explores_the_same() -> None:
    first = [decided(lessons(), 0.5, f"r{number}")[0] for number in range(50)]
    assert first == [decided(lessons(), 0.5, f"r{number}")[0] for number in range(50)]
    assert len({order[0] for order in first}) == 3


def test_who_cannot_clear_the_bar_is_not_explored() -> None:
    taught = lessons(small=tally(40, 20))
    assert all(decided(taught, 0.5, f"r{number}")[0][0] != "small" for number in range(200))


def test_an_explored_model_says_so_and_comes_first() -> None:
    found = next(pair for n in range(100) if (pair := decided(lessons(), 0.5, f"r{n}"))[0][0] == "large")
    assert found[1][0].model == "large" and found[1][0].is_in
    assert found[1][0].reason == "explored: one of 3 that may clear bar 0.9"
