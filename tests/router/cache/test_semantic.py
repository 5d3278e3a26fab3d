"""The tier: misses first, hits once certified, never across partitions."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from router.cache.semantic import MOST_TASKS, Decision, SemanticTier

TOPICS = 12


def question(chance: np.random.Generator, topics: int = TOPICS) -> tuple[str, np.ndarray, str]:
    """A text, a vector near its topic's, and the topic's answer."""
    topic = int(chance.integers(topics))
    centre = np.random.default_rng(topic).standard_normal(64)
    vector = centre + 0.45 * chance.standard_normal(64)
    # Words in letters only: a number would be a veto; each text differs, as an exact tier would see to.
    unique = "".join(chance.choice(list("abcdefghijklmnop"), 10))
    return (
        f"topic {'abcdefghijklmnopqrstuvwxyz'[topic % 26]} {unique}",
        (vector / np.linalg.norm(vector)).astype(np.float32),
        f"answer {topic}",
    )


def ask(tier: SemanticTier, partition: str, text: str, vector: np.ndarray, answer: str) -> Decision:
    decision = tier.lookup(partition, text, vector)
    if decision.outcome != "hit":
        tier.learn(decision, answer=answer)
        tier.insert(partition, text, vector, answer)
    return decision


def run(tier: SemanticTier, size: int = 1_500) -> list[Decision]:
    chance = np.random.default_rng(1)
    return [ask(tier, "p", *question(chance)) for _ in range(size)]


def test_a_cold_tier_misses_and_a_certified_one_serves_right_answers() -> None:
    tier = SemanticTier(max_error=0.05)
    decisions = run(tier)
    assert all(decision.outcome == "miss" for decision in decisions[:60])
    late = decisions[-300:]
    assert sum(decision.outcome == "hit" for decision in late) > 200
    assert any(decision.outcome == "verify" for decision in decisions)
    assert tier.standing().wrong_upper <= 0.05


def test_the_same_stream_and_seed_decide_alike() -> None:
    first, second = ([d.reason for d in run(SemanticTier(max_error=0.05), 600)] for _ in range(2))
    assert first == second


def test_unrepeated_answers_are_never_served() -> None:
    tier, chance = SemanticTier(max_error=0.1), np.random.default_rng(2)
    for number in range(1_200):
        text, vector, _ = question(chance)
        assert ask(tier, "p", text, vector, f"alone {number}").outcome == "miss"


@settings(max_examples=15, deadline=None)
@given(st.text(max_size=8), st.text(max_size=8))
def test_an_entry_is_seen_only_in_its_own_partition(mine: str, other: str) -> None:
    tier = SemanticTier(max_error=0.5)
    text, vector, answer = question(np.random.default_rng(3))
    tier.insert(mine, text, vector, answer)
    decision = tier.lookup(other, text, vector)
    assert (decision.answer == answer) == (mine == other)


def test_what_was_removed_is_not_proposed_again() -> None:
    tier = SemanticTier(max_error=0.05)
    text, vector, answer = question(np.random.default_rng(4))
    entry = tier.insert("p", text, vector, answer)
    assert tier.remove("p", entry)
    assert not tier.remove("p", entry)
    assert tier.lookup("p", text, vector).reason == "nothing stored"


def test_a_text_over_the_window_is_refused() -> None:
    tier = SemanticTier(max_error=0.05)
    text, vector, answer = question(np.random.default_rng(5))
    tier.insert("p", text, vector, answer)
    decision = tier.lookup("p", text, vector, truncated=True)
    assert decision.outcome == "miss"
    assert "window" in decision.reason
    tier.learn(decision, answer=answer)  # nothing was proposed, so nothing is learned
    assert tier.standing().labels == 0


def test_a_veto_names_itself_and_teaches_nothing() -> None:
    tier = SemanticTier(max_error=0.05)
    _, vector, _ = question(np.random.default_rng(6))
    tier.insert("p", "pay 10 dollars", vector, "ten")
    decision = tier.lookup("p", "pay 20 dollars", vector)
    assert (decision.outcome, decision.reason) == ("miss", "veto: numbers")
    tier.learn(decision, answer="twenty")
    assert tier.standing().labels == 0


def test_a_hit_whose_model_was_called_anyway_counts_as_a_label_and_not_as_a_hit() -> None:
    tier = SemanticTier(max_error=0.05)
    hit = next(decision for decision in reversed(run(tier)) if decision.outcome == "hit")
    before = tier.standing()
    tier.learn(hit, answer=str(hit.answer))
    after = tier.standing()
    assert (after.hits, after.labels) == (before.hits - 1, before.labels + 1)


def test_a_certified_tier_serves_nothing_to_another_kind_of_questions_and_starts_anew() -> None:
    tier, chance = SemanticTier(max_error=0.05), np.random.default_rng(4)
    assert sum(decision.outcome == "hit" for decision in run(tier)[-300:]) > 200
    decisions = []
    for number in range(400):
        vector = chance.standard_normal(64)
        vector = (vector / np.linalg.norm(vector)).astype(np.float32)
        text = "".join(chance.choice(list("qrstuvwxyz"), 12))
        decisions.append(ask(tier, "p", text, vector, f"alone {number}"))
    assert [decision.outcome for decision in decisions].count("hit") <= 20  # all before it is noticed
    assert "other questions than usual are asked" in [decision.reason for decision in decisions[:25]]
    assert tier.standing().withdrawn == 2
    assert tier.lookup("p", *question(chance)[:2]).reason == "nothing certified yet"


def test_of_invented_tasks_only_the_last_ones_asked_are_remembered() -> None:
    tier, (text, vector, answer) = SemanticTier(max_error=0.05), question(np.random.default_rng(3))
    tier.insert("p", text, vector, answer)
    forgotten, kept = (tier.lookup("p", text, vector, task=task) for task in ("forgotten", "kept"))
    tier.learn(kept, answer="another")
    for number in range(MOST_TASKS):
        tier.lookup("p", text, vector, task=f"invented {number}")
        tier.lookup("p", text, vector, task="kept")
    assert tier.standing("kept").labels == 1
    tier.retract(replace(forgotten, outcome="hit"))
    standing = tier.standing("forgotten")
    assert (standing.hits, standing.labels) == (0, 0)
