"""`router.embed()` without a provider: the local embedder behind a policy's model."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest

from router import Router
from router.embedding import missing, shared
from router.errors import (
    BadRequestError,
    ContextTooLongError,
    ModelNotFoundError,
    ProviderTimeoutError,
    UnsupportedParameterError,
)
from router.transports.local_embedding import LocalEmbeddingTransport
from router.types import Call, Deployment

pytestmark = pytest.mark.skipif(missing() is not None, reason=missing() or "")

POLICY = """
version: 1
models:
  - {id: chat, call: fake/chat, price: {input: 0.1, output: 0.4}}
  - {id: vectors, call: local/minilm, price: {input: 0.02, output: 0}, capabilities: [embedding]}
rules: [{candidates: chat, strategy: fixed}]
"""
CALL = Call(
    request_id="r", model="vectors", deployment=Deployment(call="local/minilm"), kind="embedding", messages=(),
    params={"input": ["a cat"]}, timeout_s=30,
)  # fmt: skip


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    path = tmp_path / "policy.yaml"
    path.write_text(POLICY, encoding="utf-8")
    return path


def test_embed_is_served_by_the_local_embedder_and_priced_by_the_policy(policy: Path, tmp_path: Path) -> None:
    with Router(policy, tmp_path / "state") as router:
        done = router.embed(["a cat", "a dog"])
    assert done.model == "vectors"
    found = np.array([one.embedding for one in done.data], dtype=np.float32)
    assert np.allclose(found, shared().embed(["a cat", "a dog"]).vectors)
    assert done.attempts[-1].model_version == "sha256:8199be6f699a"
    assert done.cost_usd == Decimal("0.02") / 10**6 * 8  # each text is two pieces and two marks


def test_awaiting_gives_the_same() -> None:
    transport = LocalEmbeddingTransport()
    assert asyncio.run(transport.asend(CALL)).payload == transport.send(CALL).payload


@pytest.mark.parametrize(
    ("params", "error", "said"),
    [
        ({"input": ["short", "word " * 300]}, ContextTooLongError, "input 1 is longer"),
        ({"input": [[1, 2]]}, BadRequestError, "not token numbers"),
        ({"input": "x", "dimensions": 64}, UnsupportedParameterError, "dimensions=64"),
        ({"input": "x", "encoding_format": "base64"}, UnsupportedParameterError, "encoding_format='base64'"),
    ],
)
def test_what_the_model_cannot_do_is_refused(params: dict[str, object], error: type[Exception], said: str) -> None:
    with pytest.raises(error, match=said):
        LocalEmbeddingTransport().send(replace(CALL, params=params))


def test_chat_is_refused() -> None:
    with pytest.raises(ModelNotFoundError, match="answers no chat"):
        LocalEmbeddingTransport().send(replace(CALL, kind="chat"))


def test_too_many_texts_for_the_time_end_in_a_time_out() -> None:
    with pytest.raises(ProviderTimeoutError, match="of 2 texts"):
        LocalEmbeddingTransport().send(replace(CALL, params={"input": ["a", "b"]}, timeout_s=-1))
