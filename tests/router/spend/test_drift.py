"""Tokens of the same text: what moves is told, what only wobbles is not."""

from __future__ import annotations

import random
from decimal import Decimal
from typing import Any

import pytest

from router.spend.corpus import CORPUS
from router.spend.drift import Reading, read_corpus, reading_changes, traffic_drift, usd_per_1000_characters
from router.tokens import count_tokens

DAY = 86_400_000_000


def rows(
    n: int, chance: random.Random, *, factor: float = 1.0, version: str = "v1", day: int = 0, per: float = 0.25,
    workflow: str = "chat", runs: int | None = None,
) -> list[dict[str, Any]]:  # fmt: skip
    """Calls of one kind of traffic: `per` tokens a character, give or take a fifth, with something for the format."""
    made = []
    for number in range(n):
        characters = chance.randint(300, 6_000)
        rate = per * factor * chance.lognormvariate(0, 0.2)
        made.append({
            "model": "m", "call": "x/m", "model_version": version, "at_us": day * DAY + number,
            "usage_source": "provider", "input_characters": characters, "input_tokens": 8 + round(rate * characters),
            "workflow": workflow, "feature": None, "request_id": f"{version}-{day}-{number}",
            "run_id": None if runs is None else f"{version}-{day}-{number % runs}",
        })  # fmt: skip
    return made


def test_a_version_that_makes_a_fifth_more_tokens_is_told() -> None:
    chance = random.Random(1)
    found = traffic_drift(rows(300, chance) + rows(300, chance, factor=1.2, version="v2", day=10), 100 * DAY)
    (one,) = found
    assert (one.version_before, one.version_after, one.runs) == ("v1", "v2", 300)
    assert one.is_alert
    assert one.change == pytest.approx(0.2, abs=0.06)
    assert one.tokens_after > one.tokens_before


def test_a_version_that_changes_silently_is_told() -> None:
    chance = random.Random(2)
    (one,) = traffic_drift(rows(300, chance) + rows(300, chance, factor=0.85, day=10), 5 * DAY)
    assert one.is_alert
    assert one.version_before == one.version_after == "v1"
    assert one.change == pytest.approx(-0.15, abs=0.06)


def test_noise_is_no_alert() -> None:
    chance = random.Random(3)
    alerts = 0
    for _ in range(200):
        found = traffic_drift(rows(60, chance) + rows(60, chance, day=10), 5 * DAY)
        alerts += sum(one.is_alert for one in found)
    assert alerts == 0


def test_another_mix_of_traffic_is_no_drift() -> None:
    chance = random.Random(4)
    mostly_english = rows(300, chance) + rows(40, chance, workflow="chinese", per=1.2)
    mostly_chinese = rows(40, chance, day=10) + rows(300, chance, workflow="chinese", per=1.2, day=10)
    (one,) = traffic_drift(mostly_english + mostly_chinese, 5 * DAY)
    assert one.tokens_after > 2 * one.tokens_before
    assert not one.is_alert


def test_one_kind_of_traffic_that_grows_chattier_is_not_the_tokenizer() -> None:
    chance = random.Random(5)
    names = [f"w{number}" for number in range(6)]
    before = [row for name in names for row in rows(60, chance, workflow=name)]
    after = [
        row for name in names for row in rows(60, chance, workflow=name, day=10, factor=1.4 if name == "w0" else 1.0)
    ]
    (one,) = traffic_drift(before + after, 5 * DAY)
    assert not one.is_alert


def test_a_run_counts_once() -> None:
    chance = random.Random(6)
    found = traffic_drift(rows(400, chance, runs=5) + rows(400, chance, runs=5, factor=1.5, day=10), 5 * DAY)
    assert found == []


def test_what_cannot_be_compared_is_left_out() -> None:
    chance = random.Random(7)
    counted = [{**row, "usage_source": "counted"} for row in rows(100, chance)]
    short = [{**row, "input_characters": 10} for row in rows(100, chance)]
    old = [{name: value for name, value in row.items() if name != "input_characters"} for row in rows(100, chance)]
    assert traffic_drift(counted + short + old, 0) == []


def test_the_fixed_text_is_read_without_what_the_format_adds() -> None:
    plain = read_corpus(count_tokens)
    assert read_corpus(lambda text: count_tokens(text) + 11) == plain
    assert plain.tokens == {name: count_tokens(text) for name, text in CORPUS.items()}
    assert plain.per_1000["english"] < plain.per_1000["russian"] < plain.per_1000["chinese"]


def test_a_tokenizer_that_moved_is_told_text_by_text() -> None:
    before = read_corpus(count_tokens)
    after = Reading(tokens={**before.tokens, "json": round(before.tokens["json"] * 1.5)})
    assert list(reading_changes(before, before)) == []
    ((name, share),) = reading_changes(before, after)
    assert (name, share) == ("json", pytest.approx(0.5))


def test_the_effective_price_is_by_the_character() -> None:
    assert usd_per_1000_characters(250.0, Decimal(4)) == Decimal("0.001")
