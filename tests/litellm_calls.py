"""What the tests of the litellm transport share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from router.types import Call

Answer = dict[str, Any]
Ask = Callable[[Call], Any]
KEY = "sk-loopback-0123456789"


def text_of(chunks: list[Any], index: int = 0) -> str:
    return "".join(
        choice["delta"].get("content") or ""
        for chunk in chunks
        for choice in chunk["choices"]
        if choice["index"] == index
    )


def usage_of(chunks: list[Any]) -> Any:
    return next((chunk["usage"] for chunk in chunks if chunk.get("usage")), None)


OPENAI_LIKE = pytest.mark.parametrize("via", ["openai", "hosted_vllm"])
"""One provider that litellm reaches through the openai client, one that it reaches by itself."""
