"""Rows of data sets on the Hugging Face hub, or of local files by the same call: the one file that imports datasets."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evals.types import EvalError

if TYPE_CHECKING:
    from evals.suite_schema import HubEntry

LOCAL_BUILDERS = ("arrow", "csv", "json", "parquet", "text")
"""With these as `path`, `data_files` are files on this machine, and nothing is fetched."""


def hub_rows(hub: HubEntry, folder: Path) -> list[tuple[str, Mapping[str, Any]]]:
    """Each row with its place, such as `openai/gsm8k[test]:17`. Numbers that stand for labels become their names.

    Args:
        hub: what to load; `split` defaults to `train` for local files and to `test` else.
        folder: where local `data_files` start from.

    Raises:
        EvalError: the `evals` extra is missing, the hub cannot be reached, or it has no such data set.
    """
    is_local = hub.path in LOCAL_BUILDERS
    split = hub.split or ("train" if is_local else "test")
    files = [hub.data_files] if isinstance(hub.data_files, str) else hub.data_files
    if is_local:
        files = [str(folder / name) for name in files or ()]
        missing = [name for name in files if not Path(name).is_file()]
        if missing or not files:
            told = f"{missing[0]}: no such file; paths are relative to the suite file" if missing else "no file given"
            raise EvalError(f"hub: {{path: {hub.path}}}: {told}; name it as `data_files: FILE`")
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    try:
        from datasets import ClassLabel, load_dataset
    except ImportError as error:
        raise EvalError(
            f"`hub:` needs the library datasets ({error}); pip install 'clearbar[evals]', or give a file of the "
            "same columns with --source FILE"
        ) from error
    try:
        found = load_dataset(hub.path, hub.name, split=split, revision=hub.revision, data_files=files)
    except Exception as error:  # the library raises its own errors, the hub's, and those of every file format
        first = next(iter(str(error).splitlines()), "")[:200] or type(error).__name__
        raise EvalError(
            f"hub {hub.path}: {first.rstrip('.')}; check path, name and split and the connection, or give a file of "
            "the same columns (JSONL, CSV, Parquet) with --source FILE"
        ) from error
    labels = {name: feature for name, feature in found.features.items() if isinstance(feature, ClassLabel)}
    rows: list[tuple[str, Mapping[str, Any]]] = []
    for number, row in enumerate(found, start=1):
        # -1 is how hidden labels of a test split are written.
        named = {
            name: feature.int2str(row[name]) if row[name] is not None and row[name] >= 0 else None
            for name, feature in labels.items()
        }
        rows.append((f"{hub.path}[{split}]:{number}", {**row, **named}))
    if not rows:
        raise EvalError(f"hub {hub.path}: split {split!r} has no rows; give another `split:`")
    return rows
