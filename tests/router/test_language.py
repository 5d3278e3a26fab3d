"""The language of a text is told where it is plain, and not guessed where it is not."""

from __future__ import annotations

import pytest

from router.language import MOST_CHARACTERS, language_of


@pytest.mark.parametrize(
    ("language", "text"),
    [
        ("en", "Please summarize this text in two sentences."),
        ("de", "Bitte fasse diesen Text in zwei Sätzen zusammen."),
        ("fr", "Écris un courriel à mon patron pour lui dire que je suis malade."),
        ("es", "¿Cuál es la capital de Francia?"),
        ("it", "Qual è la capitale della Francia?"),
        ("pt", "Escreva um e-mail ao meu chefe dizendo que não estou bem."),
        ("nl", "Vat deze tekst samen in twee zinnen."),
        ("sv", "Skriv ett mejl till min chef om att jag är sjuk."),
        ("pl", "Napisz do mojego szefa, że jestem chory i nie przyjdę."),
        ("cs", "Napiš mému šéfovi, že jsem nemocný a nepřijdu do práce."),
        ("tr", "Bana bir e-posta yaz, patronuma hasta olduğumu söyle."),
        ("ru", "Напиши письмо моему начальнику, что я болею."),
        ("uk", "Напиши листа моєму начальнику, що я хворію."),
        ("ja", "フランスの首都はどこですか？"),
        ("zh", "法国的首都是哪里？"),
        ("ko", "프랑스의 수도는 어디입니까?"),
        ("ar", "ما هي عاصمة فرنسا؟"),
        ("fa", "پایتخت فرانسه کجاست؟"),
        ("el", "Ποια είναι η πρωτεύουσα της Γαλλίας;"),
        ("hi", "फ्रांस की राजधानी क्या है?"),
    ],
)
def test_plain_sentences(language: str, text: str) -> None:
    assert language_of(text) == language


@pytest.mark.parametrize(
    "text",
    [
        "", "12345 67890", "ok", "def f(x): return x + 1", '{"a": [1, 2]}', "Lorem ipsum dolor sit amet consectetur",
        "SELECT id, name FROM users WHERE age > 3 ORDER BY name", "import numpy as np\nx = np.zeros(3)",
        "Hvordan baker man brød hjemme",  # Danish and Norwegian share too many words
    ],
)  # fmt: skip
def test_what_is_no_plain_prose_is_unknown(text: str) -> None:
    assert language_of(text) == "unknown"


def test_a_foreign_word_does_not_change_the_language() -> None:
    assert language_of("What does the word Straße mean in the song by Kraftwerk?") == "en"
    assert language_of("Translate 你好 and explain how it is used in the north of China.") == "en"


def test_only_the_beginning_of_a_long_text_is_read() -> None:
    assert language_of("This is the text of it. " * MOST_CHARACTERS + "ü" * 10**6) == "en"
