"""Stored answers that should be served no more: deleted by choice, or left behind by another epoch or document."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from alike import Make, ask, routers, rows
from click.testing import CliRunner

import router
from router.cli import cli
from router.embedding import missing

pytestmark = pytest.mark.skipif(missing() is not None, reason="needs clearbar[embed]")

WHO = {
    "acme": {"task": "cheap", "customer": "acme", "team": "a", "tags": {"document": "faq"}},
    "dear": {"task": "dear", "customer": "acme", "team": "b", "tags": {"document": "manual"}},
    "other": {"task": "cheap", "customer": "other", "team": "a"},
}


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    yield from routers(tmp_path)


def kinds(one: router.Router) -> dict[str, str]:
    """Who finds an answer, in the order of WHO; nothing new is stored."""
    return {
        name: one.complete(ask("Hello?"), cache="no-store", **options).cache  # type: ignore[arg-type]
        for name, options in WHO.items()
    }


def gone(one: router.Router) -> set[str]:
    return {name for name, kind in kinds(one).items() if kind == "miss"}


@pytest.fixture
def filled(make: Make) -> router.Router:
    one = make("shadow")
    for options in WHO.values():
        one.complete(ask("Hello?"), **options)  # type: ignore[arg-type]
    assert gone(one) == set()
    return one


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--task", "dear"], {"dear"}),
        (["--model", "large"], {"dear"}),
        (["--team", "a"], {"acme", "other"}),
        (["--team", "a", "--customer", "acme"], {"acme"}),
        (["--document", "faq"], {"acme"}),
        (["--tag", "document=manual"], {"dear"}),
        (["--before", "2001-01-01"], set()),
        (["--before", "2999-01-01"], {"acme", "dear", "other"}),
        (["--customer", "nobody"], set()),
        ([], {"acme", "dear", "other"}),
    ],
)
def test_the_command_deletes_what_is_named_in_both_tiers_and_nothing_else(
    filled: router.Router, tmp_path: Path, words: list[str], expected: set[str]
) -> None:
    done = CliRunner().invoke(cli, ["cache", "purge", *words, "--yes", "--json", "--state", str(tmp_path / "state")])
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout) == {"exact": len(expected), "semantic": len(expected), "unknown": 0}
    assert gone(filled) == expected
    assert rows(tmp_path, "SELECT COUNT(*) FROM entries") == [(3 - len(expected),)]


def test_python_deletes_the_same(filled: router.Router) -> None:
    done = filled.purge_cache(tags={"customer": "acme"}, before_s=time.time())
    assert (done.exact, done.semantic) == (2, 2)
    assert gone(filled) == {"acme", "dear"}


def test_what_another_process_deleted_does_not_go_on_voting(make: Make) -> None:
    one, other = make("shadow"), make("shadow")
    for text in ("How do I pay?", "How can I pay?", "How to pay?"):
        one.complete(ask(text), task="cheap")
    other.reject(one.complete(ask("How do I pay?"), task="cheap").id)  # out of the exact cache
    assert one._kit.caches.alike is not None
    (promise,) = one._kit.caches.alike._promises.values()
    one.complete(ask("Please tell me how to pay"), task="cheap", cache="no-store")
    (entries,) = (len(part.entries) for part in promise.tier._partitions.values())
    assert entries == len(promise.rows) == 2
    other.purge_cache()
    said = one.complete(ask("Tell me how to pay"), task="cheap").decision.semantic
    assert said is not None
    assert said.reason == "nothing stored"


def test_a_request_that_the_ledger_does_not_know_is_counted_and_left(filled: router.Router, tmp_path: Path) -> None:
    rows(tmp_path, "UPDATE entries SET request_id = 'stranger'")
    done = filled.purge_cache(task="cheap")
    assert (done.exact, done.semantic, done.unknown) == (2, 0, 1)


def test_another_epoch_starts_with_no_answers_and_keeps_what_was_learned(make: Make, tmp_path: Path) -> None:
    for text in ("How do I pay?", "How can I pay?"):
        make("{mode: shadow, epoch: 3}").complete(ask(text), task="cheap")
    assert rows(tmp_path, "SELECT COUNT(*) FROM labels") == [(1,)]
    one = make("{mode: shadow, epoch: 4}")
    done = one.complete(ask("How do I pay?"), task="cheap")
    assert done.decision.semantic is not None
    assert (done.cache, done.decision.semantic.reason) == ("miss", "nothing stored")
    one.complete(ask("How can I pay?"), task="cheap")
    assert one._kit.caches.alike is not None
    (promise,) = one._kit.caches.alike._promises.values()
    assert promise.tier.standing("cheap").labels == 2


def test_a_tag_that_the_rule_names_must_be_equal_also_for_the_same_request(make: Make) -> None:
    for cache, expected in (("exact", "exact"), ("{mode: exact, tags: version}", "miss")):
        one = make(cache, state=f"state-{expected}")
        one.complete(ask("Hello?"), task="cheap", tags={"version": "1"})
        assert one.complete(ask("Hello?"), task="cheap", tags={"version": "2"}).cache == expected
        assert one.complete(ask("Hello?"), task="cheap", tags={"version": "1"}).cache == "exact"


def test_what_changes_has_a_time_to_live_of_its_own(make: Make) -> None:
    one = make("{mode: exact, ttl: 24h, fresh_ttl: 1s}")
    for text in ("What is the price today?", "What is a price index?", "What is a bond?"):
        one.complete(ask(text), task="cheap")
    time.sleep(1.1)
    found = [one.complete(ask(text), task="cheap").cache for text in ("What is the price today?", "What is a bond?")]
    assert found == ["miss", "exact"]
