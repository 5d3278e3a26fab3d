"""What rows of LiteLLM's SpendLogs and of Langfuse's observations say, as requests of a ledger."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from router.spend.imports import Imported
from router.spend.imports_files import Row, count_of, decimal_of, list_of, mapping_of, moment_us, text_of
from router.spend.shapes import figures_of, tier_of
from router.spend.usage import normalised
from router.types import TAG_NAMES, Usage

FREE = ("ollama", "ollama_chat", "vllm", "hosted_vllm", "lm_studio", "llamafile", "xinference", "local")
"""Providers on one's own machines, whose 0 is a price."""
MAKERS = {"gpt": "openai", "o1": "openai", "o3": "openai", "o4": "openai", "text-embedding": "openai",
          "claude": "anthropic", "gemini": "gemini", "mistral": "mistral", "deepseek": "deepseek", "grok": "xai",
          "command": "cohere"}  # fmt: skip
"""Provider by the beginning of a model's name, where a log names none."""


def from_litellm(row: Row) -> Imported | None:
    """A row of `LiteLLM_SpendLogs`, or None where it lacks id, time or model.

    LiteLLM books 0 for what it has no price for, and floats for the rest. A successful call with tokens at 0 is of
    unknown cost here, unless its provider runs on one's own machine or a cache answered.
    """
    name, at_us = text_of(row.get("request_id")), moment_us(row.get("startTime"))
    model = text_of(row.get("model"))
    if name is None or at_us is None or model is None:
        return None
    meta = mapping_of(row.get("metadata"))
    provider = text_of(row.get("custom_llm_provider")) or _provider(model)
    is_hit = str(row.get("cache_hit")).lower() == "true"
    is_failed = row.get("status") == "failure" or meta.get("status") == "failure"
    usage = _litellm_usage(row, meta)
    cost = decimal_of(row.get("spend"))
    if cost == 0 and usage is not None and not (is_hit or is_failed or provider in FREE):
        cost = None
    ended = moment_us(row.get("endTime"))
    return Imported(
        source="litellm", id=name, at_us=at_us, model=text_of(row.get("model_group")) or model,
        call=model if model.startswith(f"{provider}/") else f"{provider}/{model}",
        outcome="error" if is_failed else "ok", error="failure" if is_failed else None,
        latency_s=max(0.0, (ended - at_us) / 1e6) if ended else 0.0, usage=None if is_hit else usage,
        cost_usd=Decimal(0) if is_hit else cost, cache="exact" if is_hit else "off", tags=_litellm_tags(row, meta),
    )  # fmt: skip


def _litellm_usage(row: Row, meta: Row) -> Usage | None:
    said = mapping_of(meta.get("usage_object"))
    figures = figures_of(_whole(said)) if said else None
    usage = normalised(figures, tier_of(said)) if figures else None
    if usage is not None and (usage.input_tokens or usage.output_tokens):
        return usage
    read, made = count_of(row.get("prompt_tokens")), count_of(row.get("completion_tokens"))
    return None if not read and not made else normalised({"input_tokens": read or 0, "output_tokens": made or 0})


def _litellm_tags(row: Row, meta: Row) -> dict[str, str]:
    given: dict[str, Any] = {
        "team": meta.get("user_api_key_team_alias") or row.get("team_id"), "customer": row.get("end_user"),
        "run_id": row.get("session_id"), "agent": row.get("agent_id"), "user": row.get("user"),
        "organisation": row.get("organization_id"), "project": meta.get("user_api_key_project_id"),
        "key": meta.get("user_api_key_alias"),
    }  # fmt: skip
    for tag in map(str, list_of(row.get("request_tags"))):
        sign = ":" if ":" in tag else "="
        name, _, value = tag.partition(sign)
        given.setdefault(name.strip(), value.strip() or "true")
    return _texts(given)


def from_langfuse(row: Row) -> Imported | None:
    """An observation of Langfuse, or None where it is no model's call or lacks id, time or model."""
    name, at_us = text_of(row.get("id")), moment_us(_any(row, "startTime", "start_time"))
    model = text_of(_any(row, "model", "providedModelName", "provided_model_name"))
    kind = str(row.get("type") or "GENERATION").upper()
    if name is None or at_us is None or model is None or kind not in ("GENERATION", "EMBEDDING"):
        return None
    costs = mapping_of(_any(row, "costDetails", "cost_details"))
    total = _any(row, "totalCost", "total_cost", "calculatedTotalCost", "calculated_total_cost")
    cost = decimal_of(costs.get("total") if costs.get("total") is not None else total)
    usage = _langfuse_usage(mapping_of(_any(row, "usageDetails", "usage_details", "usage")))
    ended = moment_us(_any(row, "endTime", "end_time"))
    is_failed = row.get("level") == "ERROR"
    provider, _, _ = model.partition("/")
    return Imported(
        source="langfuse", id=name, at_us=at_us, model=model,
        call=model if provider in MAKERS.values() and "/" in model else f"{_provider(model)}/{model}",
        outcome="error" if is_failed else "ok",
        error=(text_of(_any(row, "statusMessage", "status_message")) or "error")[:500] if is_failed else None,
        latency_s=max(0.0, (ended - at_us) / 1e6) if ended else 0.0, usage=usage,
        cost_usd=None if cost == 0 and usage is not None and not is_failed else cost,
        model_version=text_of(row.get("version")), tags=_langfuse_tags(row),
    )  # fmt: skip


def _langfuse_usage(said: Row) -> Usage | None:
    """Langfuse's keys are apart from each other: whatever begins with input or cache was read, with output made."""
    counts = {str(name): count for name, value in said.items() if (count := count_of(value)) is not None}
    read = sum(n for name, n in counts.items() if name.startswith(("input", "cache", "prompt")))
    made = sum(n for name, n in counts.items() if name.startswith(("output", "completion")))
    if not read and not made:
        return None
    cached = sum(n for name, n in counts.items() if "cache" in name and ("read" in name or "cached" in name))
    wrote = sum(n for name, n in counts.items() if "cache" in name and ("creation" in name or "write" in name))
    thought = sum(n for name, n in counts.items() if name.startswith("output") and "reasoning" in name)
    return normalised({"input_tokens": read, "output_tokens": made, "cached_input_tokens": cached,
                       "cache_write_tokens": wrote, "reasoning_tokens": thought})  # fmt: skip


def _langfuse_tags(row: Row) -> dict[str, str]:
    meta = mapping_of(row.get("metadata"))
    named = {name: meta.get(name) for name in TAG_NAMES}
    return _texts({
        **named, "feature": named["feature"] or row.get("name"), "environment": row.get("environment"),
        "run_id": named["run_id"] or _any(row, "traceId", "trace_id"),
        "customer": named["customer"] or _any(row, "userId", "user_id"),
        "session": _any(row, "sessionId", "session_id"),
        "trace_tags": ",".join(map(str, list_of(_any(row, "tags", "traceTags")))),
    })  # fmt: skip


def _any(row: Row, *names: str) -> Any:
    return next((row[name] for name in names if row.get(name) not in (None, "")), None)


def _provider(model: str) -> str:
    head, slash, _ = model.partition("/")
    return head if slash else next((to for start, to in MAKERS.items() if model.startswith(start)), "unknown")


def _whole(said: Mapping[str, Any]) -> dict[str, Any]:
    """Counts that a file carried as other numbers or texts, as counts."""
    return {
        name: _whole(one) if isinstance(one, Mapping) else (whole if (whole := count_of(one)) is not None else one)
        for name, one in said.items()
    }


def _texts(given: Mapping[str, Any]) -> dict[str, str]:
    return {name: text for name, value in given.items() if name and (text := text_of(value)) is not None}
