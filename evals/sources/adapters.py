"""Rows in the shapes that public data sets have, brought into the columns that suites name.

An adapter adds columns to a row and takes none away. What each expects is its data set's own shape, so that a
local file in that shape works like the hub.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from evals.sources.instructions import constraint
from evals.types import EvalError

Row = Mapping[str, Any]
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_THOUSANDS = re.compile(r"(?<=\d),(?=\d{3})")


def gsm8k(row: Row) -> Row:
    """`question`, `answer` with the result behind `####`: adds `reference`, the bare number."""
    worked, mark, result = str(row["answer"]).rpartition("####")
    if not mark:
        raise ValueError(f"`answer` has no result behind '####': {worked or result!r:.60}")
    return {"reference": _THOUSANDS.sub("", result.strip())}


def mmlu(row: Row) -> Row:
    """`question`, `choices` (a list), `answer` (a position or a letter), `subject`: adds `options`, `reference`."""
    return _lettered(row["choices"], row["answer"])


def mmlu_pro(row: Row) -> Row:
    """`question`, `options` (a list of up to ten), `answer` (a letter) or `answer_index`, `category`.

    Adds `options` as lettered lines and `reference`.
    """
    return _lettered(row["options"], row["answer"] if row.get("answer") is not None else row["answer_index"])


def humaneval(row: Row) -> Row:
    """`prompt` (signature and docstring), `test`, `entry_point`, `canonical_solution`: adds `reference` for `code`."""
    return {"reference": _json({"prompt": row["prompt"], "test": row["test"], "entry_point": row["entry_point"]})}


def mbpp(row: Row) -> Row:
    """`text` or `prompt`, `test_list`, `test_imports` or `test_setup_code`: adds `question`, `tests`, `reference`."""
    tests = list(row["test_list"])
    given = {name: row[name] for name in ("test_imports", "test_setup_code") if row.get(name)}
    question = row.get("text") or row["prompt"]
    return {"question": question, "tests": "\n".join(tests), "reference": _json({"test_list": tests, **given})}


def ifeval(row: Row) -> Row:
    """`prompt`, `instruction_id_list`, `kwargs` (one object each): adds `reference` for `constraints`."""
    names, given = list(row["instruction_id_list"]), list(row["kwargs"])
    if len(names) != len(given):
        raise ValueError(f"{len(names)} instructions, but {len(given)} kwargs")
    # Columnar files carry every key in every row; those without a value were never meant.
    options = [{key: value for key, value in (one or {}).items() if value is not None} for one in given]
    return {"reference": _json([constraint(name, one) for name, one in zip(names, options, strict=True)])}


def summarisation(row: Row) -> Row:
    """`article`, `highlights` (CNN/DailyMail) or `document`, `summary` (XSum): adds `text` and `reference`."""
    return {"text": _first(row, "article", "document"), "reference": _first(row, "highlights", "summary")}


def classification(row: Row) -> Row:
    """`text`, `sentence` or `content`, with `label_text` or a `label` that is a name: adds `text`, `reference`.

    Labels that the hub keeps as numbers with names arrive here as names.
    """
    label = row["label_text"] if row.get("label_text") is not None else row["label"]
    if not isinstance(label, str) or label.strip().isdigit():
        raise ValueError(f"`label` is {label!r}, a number without a name; add a column `label_text`")
    return {"text": _first(row, "text", "sentence", "content"), "reference": label}


def extraction(row: Row) -> Row:
    """`text`, with `item` or `fields` (an object, or one as JSON text), perhaps `schema`: adds `keys`, `reference`."""
    item = _first(row, "item", "fields")
    value = json.loads(item) if isinstance(item, str) else item
    if not isinstance(value, dict):
        raise ValueError("the extracted item is no object")
    wanted = row.get("schema")
    shape = wanted if isinstance(wanted, str) else _json(wanted) if wanted else f"an object with {', '.join(value)}"
    return {"keys": shape, "reference": _json(value)}


def rag_qa(row: Row) -> Row:
    """`context`, `question`, `answers: {text: [...]}` (SQuAD) or a list of texts: adds `reference`, a JSON list.

    A question without an answer (SQuAD 2) has the reference `["unanswerable"]`, the word the suite asks for.
    """
    answers = row["answers"]
    texts = list(answers["text"] if isinstance(answers, Mapping) else answers)
    return {"reference": _json(list(dict.fromkeys(texts)) or ["unanswerable"])}


ADAPTERS: Mapping[str, Callable[[Row], Row]] = {
    "classification": classification,
    "extraction": extraction,
    "gsm8k": gsm8k,
    "humaneval": humaneval,
    "ifeval": ifeval,
    "mbpp": mbpp,
    "mmlu": mmlu,
    "mmlu_pro": mmlu_pro,
    "rag_qa": rag_qa,
    "summarisation": summarisation,
}


def adapted(name: str, row: Row, place: str) -> Row:
    """The row with the adapter's columns.

    Raises:
        EvalError: the row is not in the adapter's shape; names the place and what is missing.
    """
    try:
        return {**row, **ADAPTERS[name](row)}
    except KeyError as error:
        raise EvalError(
            f"{place}: adapter {name!r} needs the column {error.args[0]!r}; the row has {', '.join(map(str, row))}"
        ) from error
    except (ValueError, TypeError, IndexError) as error:
        raise EvalError(f"{place}: adapter {name!r} cannot read the row: {error}") from error


def _lettered(options: Sequence[str], answer: Any) -> Row:
    if isinstance(options, str) or not 2 <= len(options) <= len(LETTERS):
        raise ValueError(f"expected a list of 2 to {len(LETTERS)} options")
    place = LETTERS.find(answer) if isinstance(answer, str) and len(answer) == 1 and answer.isalpha() else int(answer)
    if not 0 <= place < len(options):
        raise ValueError(f"answer {answer!r} is none of the {len(options)} options")
    lines = [f"{letter}) {option}" for letter, option in zip(LETTERS, options, strict=False)]
    return {"options": "\n".join(lines), "reference": LETTERS[place]}


def _first(row: Row, *names: str) -> Any:
    for name in names:
        if row.get(name) is not None:
            return row[name]
    raise KeyError(" or ".join(names))


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
