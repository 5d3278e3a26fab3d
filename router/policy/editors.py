"""The JSON schema of policy files, for editors: `policies/schema.json` is this, and a test holds them together."""

from __future__ import annotations

from typing import Any

from router.policy.schema import PolicyFile


def editor_schema() -> dict[str, Any]:
    """The schema with YAML's own scalars: an editor sees numbers and booleans where we read text."""
    schema = PolicyFile.model_json_schema(mode="validation")
    definitions = schema["$defs"]
    schema["properties"]["version"] = {"enum": [1, "1"], "title": "Version"}
    bar = definitions["Bar"]
    definitions["Bar"] = {"anyOf": [{"type": "number", "minimum": 0, "maximum": 1}, bar], "title": "Bar"}
    words: dict[str, Any] = {"enum": [False, "exact", "shadow", True]}
    caching = {"anyOf": [words, {"$ref": "#/$defs/Caching"}], "default": False, "title": "Cache"}
    definitions["RuleEntry"]["properties"]["cache"] = caching
    definitions["Caching"]["properties"]["mode"]["enum"] += [False, True]  # YAML's `off` and `on`
    definitions["Caching"]["properties"]["ttl"] = {"type": "string", "default": "24h", "title": "Ttl"}
    definitions["Caching"]["properties"]["epoch"] = {"type": ["string", "number"], "default": "", "title": "Epoch"}
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "Clearbar policy", **schema}
