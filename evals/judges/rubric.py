"""A rubric: what a judge is asked to look at, on which scale. A YAML file.

```yaml
version: 1
name: helpful
instructions: |
  Does the answer solve the user's problem? Ignore style and length.
scale: {1: useless, 2: partly, 3: solves it}
pass: 3                # this grade or better counts as right when pass or fail is asked
show_reference: true   # let the judge see the known answer
```
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from evals.types import EvalError
from router.config import read_yaml
from router.errors import PolicyError
from router.validation import validated

_FAMILIES: Mapping[str, str] = {
    "anthropic": "claude", "openai": "gpt|chatgpt|o[1345](?:-|$)|davinci", "google": "gemini|gemma|palm",
    "meta": "llama|codellama", "mistral": "mistral|mixtral|ministral|codestral|magistral|pixtral",
    "qwen": "qwen|qwq", "deepseek": "deepseek", "cohere": "command|c4ai|aya", "microsoft": "phi|wizardlm",
    "xai": "grok", "amazon": "nova|titan", "moonshot": "kimi", "zhipu": "glm", "ibm": "granite",
    "nvidia": "nemotron", "huggingface": "smollm|zephyr", "ai21": "jamba", "databricks": "dbrx",
}  # fmt: skip
_HOSTS = frozenset(["local", "fake", "replay", "openrouter", "bedrock", "azure", "vertex_ai", "together_ai"])
"""First parts of a model string that name a host of many families."""


class _RubricFile(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    version: Literal["1"]
    name: Annotated[str, Field(min_length=1, max_length=60, pattern=r"^[\w.-]+$")]
    instructions: Annotated[str, Field(min_length=1)]
    scale: Annotated[dict[int, str], Field(min_length=2)]
    passing: Annotated[int | None, Field(alias="pass")] = None
    show_reference: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Rubric:
    """What a judge is asked to look at, on which scale."""

    name: str
    instructions: str
    scale: Mapping[int, str]
    """Meaning of each grade, from the worst to the best."""
    passing: int
    """The lowest grade that counts as right."""
    show_reference: bool = True

    @property
    def sha256(self) -> str:
        """Over everything a judge is shown."""
        content = [self.instructions, sorted(self.scale.items()), self.passing, self.show_reference]
        return hashlib.sha256(json.dumps(content, ensure_ascii=False).encode()).hexdigest()

    def value(self, grade: float) -> float:
        """A grade as a score in [0, 1]."""
        low, high = min(self.scale), max(self.scale)
        return (grade - low) / (high - low)

    def passes(self, value: float) -> bool:
        """Whether a score counts as right."""
        return value >= self.value(self.passing) - 1e-9


def load_rubric(path: str | Path) -> Rubric:
    """Read a rubric.

    Raises:
        EvalError: the file is missing or wrong; with file and line.
    """
    try:
        document = read_yaml(path)
        file = validated(_RubricFile, document)
    except PolicyError as error:
        raise EvalError(str(error)) from error
    scale = dict(sorted(file.scale.items()))
    passing = max(scale) if file.passing is None else file.passing
    if not min(scale) < passing <= max(scale):
        raise EvalError(document.problem(("pass",), f"pass {passing} must be above {min(scale)}, to {max(scale)}"))
    return Rubric(
        name=file.name,
        instructions=file.instructions.strip(),
        scale=scale,
        passing=passing,
        show_reference=file.show_reference,
    )


def family(call: str) -> str:
    """Whose model a model string names: models of one family like each other's answers.

    >>> family("openrouter/anthropic/claude-x"), family("azure/gpt-x"), family("local/qwen-x"), family("acme/one")
    ('anthropic', 'openai', 'qwen', 'acme')
    """
    parts = call.casefold().split("/")
    for name, stems in _FAMILIES.items():
        if any(re.search(rf"(?<![a-z])(?:{stems})", part) for part in parts[-1:]) or name in parts:
            return name
    if len(parts) > 1 and parts[0] not in _HOSTS:
        return parts[0]
    return re.split(r"[^a-z]", parts[-1].lstrip("0123456789-"))[0] or parts[-1]
