"""A first policy for a new project, out of the keys and servers that are there or an existing litellm config."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from router.config import double_quoted, read_yaml
from router.errors import PolicyError


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A model that could be a candidate."""

    id: str
    call: str
    where: str
    """Where it was found, for the comment above it."""
    api_base: str | None = None
    api_key_env: str | None = None
    is_local: bool = False


PROVIDERS: Mapping[str, tuple[str, ...]] = {
    "OPENAI_API_KEY": ("openai/gpt-5.4-nano", "openai/gpt-5.4-mini", "openai/gpt-5.4"),
    "ANTHROPIC_API_KEY": ("anthropic/claude-haiku-4-5", "anthropic/claude-sonnet-5", "anthropic/claude-opus-5"),
    "GEMINI_API_KEY": ("gemini/gemini-2.5-flash-lite", "gemini/gemini-2.5-flash", "gemini/gemini-2.5-pro"),
    "MISTRAL_API_KEY": ("mistral/mistral-small-latest", "mistral/mistral-large-latest"),
    "GROQ_API_KEY": ("groq/openai/gpt-oss-20b", "groq/openai/gpt-oss-120b"),
    "DEEPSEEK_API_KEY": ("deepseek/deepseek-flash", "deepseek/deepseek-v4-pro"),
    "XAI_API_KEY": ("xai/grok-4.3", "xai/grok-4.5"),
}
"""For each key, models of its provider from cheap to strong; a test holds them against litellm's price map."""

SERVERS: Mapping[str, str] = {
    "Ollama": "http://127.0.0.1:11434/v1",
    "vLLM": "http://127.0.0.1:8000/v1",
    "llama.cpp": "http://127.0.0.1:8080/v1",
    "LM Studio": "http://127.0.0.1:1234/v1",
}
"""Where local OpenAI-compatible servers listen by default."""

PROBE_TIMEOUT_S = 0.5


def from_environment(environ: Mapping[str, str], servers: Mapping[str, str] = SERVERS) -> list[Found]:
    """Models of the providers whose keys are set, and of the servers that answer on this machine."""
    keyed = [
        Found(id=call.rpartition("/")[2], call=call, api_key_env=key, where=f"{key} is set")
        for key, calls in PROVIDERS.items()
        if environ.get(key)
        for call in calls
    ]
    served = [model for name, base in servers.items() for model in _served(name, base)]
    return served + keyed  # from cheap to strong: what comes last serves first


def _served(name: str, base: str) -> list[Found]:
    import httpx

    try:
        answer = httpx.get(f"{base}/models", timeout=PROBE_TIMEOUT_S, trust_env=False)
        listed = [str(row["id"]) for row in answer.raise_for_status().json()["data"]]
    except (httpx.HTTPError, ValueError, KeyError, TypeError):
        return []  # nothing there, or no such server
    return [
        Found(id=model, call=f"openai/{model}", api_base=base, where=f"{name} answers at {base}", is_local=True)
        for model in listed
        if "embed" not in model.lower()
    ]


def from_litellm(path: Path) -> list[Found]:
    """The models of a litellm config (`model_list`).

    Raises:
        PolicyError: the file holds no `model_list` of named models.
    """
    document = read_yaml(path)
    listed = document.values.get("model_list") if isinstance(document.values, dict) else None
    if not isinstance(listed, list) or not listed:
        raise PolicyError(document.problem((), "no `model_list` here; give a litellm proxy config"))
    return [_of_litellm(document.problem(("model_list", i), ""), row) for i, row in enumerate(listed)]


def _of_litellm(place: str, row: Any) -> Found:
    given = row.get("litellm_params") if isinstance(row, dict) else None
    if not isinstance(given, dict) or not given.get("model") or not row.get("model_name"):
        raise PolicyError(f"{place}needs `model_name` and `litellm_params: {{model: ...}}`")
    key = str(given.get("api_key") or "")
    # A key that stands in the file itself is not copied: the policy names variables only.
    name = key.removeprefix("os.environ/") if key.startswith("os.environ/") else None
    where = "the litellm config"
    if key and name is None:
        name = f"MODEL_{re.sub('[^A-Z0-9]', '_', str(row['model_name']).upper())}_API_KEY"
        where += f" (export its inline key as {name})"
    base = given.get("api_base")
    if isinstance(base, str) and base.startswith("os.environ/"):
        variable = base.removeprefix("os.environ/")
        base = os.environ.get(variable)
        if not base:
            # Without it the prompts would go to the provider's public address.
            raise PolicyError(f"{place}api_base is {variable} of the environment, which is not set; export it first")
    return Found(id=str(row["model_name"]), call=str(given["model"]), api_base=base, api_key_env=name, where=where)


EMBEDDED = tuple(
    Found(id=name, call=f"local/{name}", where="local model, fetched by `clearbar models pull`", is_local=True)
    for name in ("qwen2.5-coder-1.5b", "qwen2.5-coder-0.5b", "smollm2-135m")
)
"""What remains on a machine with no key and no server."""


def render(found: Sequence[Found]) -> str:
    """The text of a first policy: everything to the last (strongest) model, the others standing by.

    Nothing is routed down yet, because nothing has been measured; the comments say how to get there.
    """
    groups: dict[str, list[Found]] = {}
    for model in found:
        groups.setdefault(model.id, []).append(model)
    lines = [
        "# Clearbar routing table. `clearbar policy check` checks it, `clearbar policy show` draws it.",
        "version: 1",
        "",
        "models:",
    ]
    for name, places in groups.items():
        first = places[0]
        lines += [f"  # {first.where}", f"  - id: {_quoted(name)}"]
        # What stands at the model is inherited by its deployments, so with several only the call may.
        lines += [f"    {line}" for line in _place(first)[: 1 if len(places) > 1 else None]]
        if first.is_local:
            lines.append("    price: {input: 0, output: 0}  # USD per million tokens; give it what it costs you")
        if len(places) > 1:
            lines.append("    deployments:")
            for place in places:
                head, *rest = _place(place)
                lines += [f"      - {head}", *(f"        {line}" for line in rest)]
    order = list(reversed(list(groups)))
    lines += [
        "",
        "# To route down by measured quality: give each kind of work a bar, measure it",
        "# (`clearbar eval run`, `clearbar eval propose`), and add a rule above the last one:",
        "#   tasks:",
        "#     summarize: {bar: 0.9}",
        "#   rules:",
        "#     - when: {task: summarize}",
        f"#       candidates: [{', '.join(map(_quoted, groups))}]",
        f"#       fallback: [{_quoted(order[0])}]",
        "rules:",
        "  - name: everything",
        f"    candidates: [{', '.join(map(_quoted, order))}]  # in this order; the next one when one fails",
        "    strategy: fixed",
        "    cache: exact",
        "",
    ]
    return "\n".join(lines)


def _place(model: Found) -> list[str]:
    lines = [f"call: {_quoted(model.call)}"]
    lines += [f"api_base: {_quoted(model.api_base)}"] if model.api_base else []
    return lines + ([f"api_key_env: {model.api_key_env}"] if model.api_key_env else [])


def _quoted(text: str) -> str:
    """Plain where YAML reads it as the same text, else in double quotes."""
    plain = all(ch.isalnum() or ch in "-_./" for ch in text) and text[:1].isalpha()
    is_word = plain and text.lower() not in ("null", "true", "false", "yes", "no", "on", "off")
    return text if is_word else double_quoted(text)
