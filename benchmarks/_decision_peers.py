"""Peers whose decisions run offline, for `decision.py`."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

Decide = Callable[[dict[str, Any]], object]


def semantic_router(requests: list[dict[str, Any]]) -> dict[str, Decide]:
    """semantic-router with a local encoder over the same MiniLM as ours."""
    if find_spec("semantic_router") is None:
        raise ImportError("not installed; run: pip install 'semantic-router>=1.1'")
    from semantic_router import Route
    from semantic_router.encoders import DenseEncoder
    from semantic_router.routers import IndexedRouter

    from router.embedding import Embedder

    embedder = Embedder(memory_bytes=0)

    class Local(DenseEncoder):  # type: ignore[misc]
        def __call__(self, docs: list[str]) -> list[list[float]]:
            return [vector.tolist() for vector in embedder.embed(docs).vectors]

    routes = [
        Route(name=f"route {number}", utterances=[row["prompt"][:200] for row in requests[number * 5 : number * 5 + 5]])
        for number in range(10)
    ]
    peer = IndexedRouter(encoder=Local(name="minilm"), routes=routes)
    return {
        "encoder_alone": lambda request: embedder.embed([request["prompt"]]),
        "semantic_router": lambda request: peer(request["prompt"]),
    }


def litellm_rules(_: list[dict[str, Any]]) -> dict[str, Decide]:
    """The auto-router of litellm that goes by rules."""
    os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")
    import litellm
    from litellm.router_strategy.complexity_router.complexity_router import ComplexityRouter

    tiers = {
        tier: "large" if tier in ("COMPLEX", "REASONING") else "small"
        for tier in ("SIMPLE", "MEDIUM", "COMPLEX", "REASONING")
    }
    models = [
        {"model_name": n, "litellm_params": {"model": f"openai/{n}", "api_key": "none"}} for n in ("small", "large")
    ]
    peer = ComplexityRouter(
        model_name="auto",
        litellm_router_instance=litellm.Router(model_list=models),
        complexity_router_config={"tiers": tiers},
        default_model="small",
    )
    loop = asyncio.new_event_loop()

    def decide(request: dict[str, Any]) -> object:
        messages = [{"role": "user", "content": request["prompt"]}]
        return loop.run_until_complete(peer.async_pre_routing_hook(model="auto", request_kwargs={}, messages=messages))

    return {"litellm_complexity_router": decide}
