from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from router.predict import features
from router.predict.features import BUCKETS, SURFACE_NAMES, WINDOW, Embedder, buckets, surface, windowed


@pytest.fixture(scope="module")
def embedder() -> Embedder:
    random = np.random.default_rng(0)
    width = 8 + len(SURFACE_NAMES)
    return Embedder(
        row_of_bucket=random.integers(-1, 50, BUCKETS).astype(np.int32),
        weight=np.ones(50, dtype=np.float32),
        projection=random.normal(size=(50, 8)).astype(np.float32),
        center=np.zeros(width, dtype=np.float32),
        scale=np.ones(width, dtype=np.float32),
    )


@pytest.mark.parametrize(
    "text",
    [
        "",
        " \n\t ",
        "🙂🙃" * 40,
        "数学の問題を解いてください。",
        "word " * 20_000,
        "\x00\x01",
        "\ud800 broken",
        "9" * 100_000,
    ],
    ids=["empty", "blank", "emoji", "japanese", "100 KB", "control", "lone surrogate", "digits"],
)
def test_any_text_becomes_finite_numbers_of_one_width(embedder: Embedder, text: str) -> None:
    row = embedder.embed(text)
    assert row.shape == (embedder.width,)
    assert row.dtype == np.float32
    assert np.isfinite(row).all()


@settings(max_examples=50, deadline=None)
@given(st.text())
def test_surface_counts_are_finite_whatever_is_written(text: str) -> None:
    counts = surface(text)
    assert len(counts) == len(SURFACE_NAMES)
    assert np.isfinite(counts).all()


def test_many_texts_give_the_same_rows_as_one_by_one(embedder: Embedder) -> None:
    texts = ["one text", "", "another one"]
    np.testing.assert_array_equal(embedder.embed_many(texts), np.stack([embedder.embed(text) for text in texts]))
    assert embedder.embed_many([]).shape == (0, embedder.width)


def test_hashes_do_not_depend_on_the_process() -> None:
    code = "from router.predict.features import buckets; print(sorted(buckets('Prove the claim, 42 times').items()))"
    there = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert there.stdout.strip() == str(sorted(buckets("Prove the claim, 42 times").items()))


def test_a_long_text_keeps_its_head_and_its_tail() -> None:
    text = "first " + "x" * 50_000 + " last question?"
    assert len(windowed(text)) <= 2 * WINDOW + 1
    assert windowed(text).startswith("first")
    assert windowed(text).endswith("last question?")


def test_the_length_is_that_of_the_whole_text() -> None:
    assert surface("word " * 100_000)[0] > surface("word " * 10_000)[0]


def test_case_is_not_a_different_word_but_order_is_a_different_pair() -> None:
    assert buckets("Sum It") == buckets("sum it")
    assert buckets("sum it") != buckets("it sum")


@pytest.mark.parametrize("text", ["Which ONE?\n(A) Mars\n(B) Venus", "Ann met Bob. Ann paid $5.", "Straße ÉCOLE Ω"])
def test_who_writes_no_capitals_asks_the_same(embedder: Embedder, text: str) -> None:
    np.testing.assert_array_equal(embedder.embed(text), embedder.embed(text.lower()))


@given(st.text(st.characters(max_codepoint=127)))
def test_words_are_found_in_ascii_text_as_in_any_other(text: str) -> None:
    words = features._TOKEN.findall(text.lower())
    assert [word.decode() for word in features._ASCII_TOKEN.findall(text.lower().encode())] == words


def test_importing_the_package_loads_no_training_library() -> None:
    code = (
        "import sys, router.predict; "
        "print([name for name in ('sklearn', 'scipy', 'pyarrow', 'pandas', 'litellm') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
