"""Which entries of a full store go first."""

from __future__ import annotations

from collections import Counter

from router.stores.eviction import LEAST_USD, Kept, victims


def entry(key: str, owner: str = "a", size: float = 1, usd: float = 0.01, hits: int = 1, clock: float = 0) -> Kept[str]:
    return Kept(key, owner, size, usd, hits, clock)


def test_nothing_goes_while_there_is_room() -> None:
    assert victims([entry("a"), entry("b")], 2) == ([], 0.0)
    assert victims([], 0) == ([], 0.0)


def test_the_cheap_the_large_and_the_seldom_asked_go_first() -> None:
    kept = [entry("dear", usd=1), entry("large", size=10), entry("often", hits=50), entry("plain")]
    assert victims(kept, 4)[0] == ["large"]
    assert victims(kept, 2)[0] == ["large", "plain"]
    assert victims(kept, 0)[0] == ["large", "plain", "often", "dear"]


def test_the_clock_lets_what_was_dear_and_is_not_asked_any_more_go_in_the_end() -> None:
    old, clock = entry("old", usd=0.05), 0.0
    for number in range(20):
        new = entry(str(number), clock=clock)
        gone, moved = victims([old, new], 1)
        clock = max(clock, moved)
        if gone == ["old"]:
            break
    assert number in (4, 5)  # about as many as it was times dearer


def test_an_answer_without_a_price_counts_for_how_often_it_is_asked() -> None:
    assert entry("free", usd=0, hits=3).worth == 3 * LEAST_USD
    assert victims([entry("seldom", usd=0), entry("often", usd=0, hits=3)], 1)[0] == ["seldom"]


def test_who_floods_evicts_only_his_own_until_he_holds_no_more_than_others() -> None:
    flood = [entry(f"f{n}", "flood", usd=1) for n in range(90)]
    quiet = [entry(f"q{n}", "quiet", usd=0) for n in range(10)]
    gone, _ = victims([*quiet, *flood], 50)
    assert Counter(key[0] for key in gone) == {"f": 50}
    gone, _ = victims([*quiet, *flood], 10)
    assert Counter(key[0] for key in gone) == {"f": 85, "q": 5}
