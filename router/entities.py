"""Names of people and places in texts, found by a spaCy pipeline of this machine: `pip install 'clearbar[names]'`.

CLEARBAR_NER names the pipeline: an installed package, or a folder that holds one. Nothing is fetched here.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from router.errors import ConfigurationError

DEFAULT = "en_core_web_sm"
KIND_OF = {"PERSON": "person", "PER": "person", "GPE": "place", "LOC": "place", "FAC": "place"}
"""Kinds of findings, by the labels of spaCy's pipelines."""
MOST_CHARACTERS = 50_000
"""Read at once; a longer text is read in pieces, for memory's sake."""
OVERLAP = 200
"""Characters that two pieces share, so that no name is cut."""
_UNUSED = ["parser", "lemmatizer", "senter", "textcat"]
_lock = threading.Lock()


def missing() -> str | None:
    """Why names cannot be found on this machine, with the remedy, as one sentence; None if they can."""
    if find_spec("spacy") is None:
        return "spaCy is not installed; run: pip install 'clearbar[names]'"
    name = _pipeline_name()
    is_there = (Path(name) / "config.cfg").is_file() or (name.isidentifier() and find_spec(name) is not None)
    if is_there:
        return None
    return f"no spaCy pipeline {name!r} is here; run: python -m spacy download {DEFAULT}, or set CLEARBAR_NER to yours"


def named_in(texts: Iterable[str]) -> frozenset[str]:
    """Kinds of names in texts: `person`, `place`.

    Raises:
        ConfigurationError: there is no pipeline, or it finds no names.
    """
    if reason := missing():
        raise ConfigurationError(f"names of people and places: {reason}")
    with _lock:
        pipeline = _pipeline(_pipeline_name())
    step = MOST_CHARACTERS - OVERLAP
    pieces = (text[at : at + MOST_CHARACTERS] for text in texts for at in range(0, max(1, len(text) - OVERLAP), step))
    labels = {entity.label_ for found in pipeline.pipe(pieces) for entity in found.ents}
    return frozenset(KIND_OF[label] for label in labels if label in KIND_OF)


def _pipeline_name() -> str:
    return os.environ.get("CLEARBAR_NER") or DEFAULT


@cache
def _pipeline(name: str) -> Any:
    import spacy

    try:
        pipeline = spacy.load(name, exclude=_UNUSED)
    except (OSError, ValueError, ImportError) as error:
        raise ConfigurationError(f"CLEARBAR_NER: {name!r} cannot be loaded ({str(error)[:200]})") from error
    if not {"ner", "entity_ruler", "span_ruler"} & set(pipeline.pipe_names):
        raise ConfigurationError(f"CLEARBAR_NER: the pipeline {name!r} finds no names; it has no component `ner`")
    return pipeline
