"""IFEval's instruction ids (Zhou et al. 2023, arXiv 2311.07911) as constraints of the scorer `constraints`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

UNCHECKED = "unchecked_instruction"
"""No name of the scorer's: a sample with such an instruction stays unscored instead of being judged by the rest."""

_COUNTED = {
    "length_constraints:number_words": ("words", "num_words", "relation"),
    "length_constraints:number_sentences": ("sentences", "num_sentences", "relation"),
    "change_case:capital_word_frequency": ("capital_words", "capital_frequency", "capital_relation"),
}
_PLAIN: Mapping[str, Mapping[str, Any]] = {
    "detectable_format:json_format": {"json": True},
    "detectable_format:title": {"title": True},
    "detectable_format:constrained_response": {
        "one_of": ["My answer is yes.", "My answer is no.", "My answer is maybe."]
    },
    "startend:quotation": {"quoted": True},
    "change_case:english_capital": {"case": "upper"},
    "change_case:english_lowercase": {"case": "lower"},
    "punctuation:no_comma": {"commas": False},
    "combination:two_responses": {"matches": r"(?s)\A(?:(?!\*{6}).)+\*{6}(?:(?!\*{6}).)+\Z"},
}
_VALUED = {
    "keywords:existence": ("include", "keywords"),
    "keywords:forbidden_words": ("exclude", "forbidden_words"),
    "detectable_content:number_placeholders": ("min_placeholders", "num_placeholders"),
    "detectable_format:number_bullet_lists": ("bullets", "num_bullets"),
    "combination:repeat_prompt": ("starts_with", "prompt_to_repeat"),
    "startend:end_checker": ("ends_with", "end_phrase"),
}


def constraint(name: str, options: Mapping[str, Any]) -> Mapping[str, Any]:
    """One instruction with its options as one constraint.

    Cases are checked whatever the language; `language:response_language` cannot be checked here.

    Raises:
        KeyError: an option that the instruction needs is missing.
    """
    if name in _PLAIN:
        return _PLAIN[name]
    if name in _VALUED:
        ours, theirs = _VALUED[name]
        value = options[theirs]
        return {ours: int(value) if isinstance(value, float) else value}
    if name in _COUNTED:
        ours, theirs, relation = _COUNTED[name]
        low, high = _range(options[theirs], options[relation])
        return {f"min_{ours}": low} if high is None else {f"max_{ours}": high}
    if name == "keywords:frequency":
        return {"counts": {options["keyword"]: list(_range(options["frequency"], options["relation"]))}}
    pattern = _pattern(name, options)
    return {UNCHECKED: name} if pattern is None else {"matches": pattern}


def _pattern(name: str, options: Mapping[str, Any]) -> str | None:
    if name == "keywords:letter_frequency":
        letter = re.escape(str(options["letter"]))
        low, high = _range(options["let_frequency"], options["let_relation"])
        times = rf"(?:[^{letter}]*{letter}){{{low if high is None else high + 1}}}"
        return rf"(?is)\A{times}" if high is None else rf"(?is)\A(?!{times})"
    if name == "length_constraints:number_paragraphs":
        return rf"(?s)\A(?:(?!\*\*\*).)*(?:\*\*\*(?:(?!\*\*\*).)*){{{int(options['num_paragraphs']) - 1}}}\Z"
    if name == "length_constraints:nth_paragraph_first_word":
        block, number = r"(?:(?!\n\s*\n).)+", int(options["num_paragraphs"])
        before = rf"(?:{block}\n\s*\n){{{int(options['nth_paragraph']) - 1}}}"
        whole = rf"(?={block}(?:\n\s*\n{block}){{{number - 1}}}\s*\Z)"
        return rf"(?is)\A\s*{whole}{before}\W*{re.escape(str(options['first_word']))}\b"
    if name == "detectable_format:number_highlighted_sections":
        return rf"(?s)(?:\*[^\n*]+\*.*?){{{int(options['num_highlights'])}}}"
    if name == "detectable_format:multiple_sections":
        return rf"(?s)(?:{re.escape(str(options['section_spliter']))}\s?\d+.*?){{{int(options['num_sections'])}}}"
    if name == "detectable_content:postscript":
        letters = [re.escape(letter) for letter in str(options["postscript_marker"]) if letter.isalpha()]
        return r"(?im)^\s*" + r"\.?\s?".join(letters) if letters else None
    return None


def _range(count: Any, relation: str) -> tuple[int | None, int | None]:
    """`at least` and `less than`, as the lowest and the highest count."""
    return (int(count), None) if relation == "at least" else (None, int(count) - 1)
