"""Batches of chat calls at providers that speak OpenAI's protocol, through litellm: half the price, within a day.

A call becomes one line of a file that is uploaded. litellm does not look into it: the line is what OpenAI's chat
completions take, so parameters are not translated as they are for a live call.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from router.errors import ProviderUnavailableError
from router.transports import background
from router.transports.litellm import _Guard, _key, _litellm, _plain
from router.types import Call

PREFIX = "openai/"
"""Of the model strings whose provider is asked for batches."""
NAME = "clearbar_batch"
"""Under it the metadata of a batch hold our name of it."""
TIMEOUT_S = 300.0
"""For one step, such as the upload of a file."""
SEARCHED = 100
"""So many of the latest batches are searched for one that may have got lost."""
UNSENDABLE = ("extra_headers", "service_tier")
"""Parameters that no line of a batch can carry."""
ENDED = ("completed", "failed", "expired", "cancelled")


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """Where a batch stands."""

    state: str
    """The provider's word, such as `in_progress`, `completed`, `expired`."""
    lines: Mapping[str, Mapping[str, Any]]
    """By request id, once the batch has ended: `body` and `status_code` of the answers that there are."""

    @property
    def has_ended(self) -> bool:
        """Whether no more lines will come."""
        return self.state in ENDED


def can_send(call: Call) -> bool:
    """Whether a call can be a line of a batch."""
    return (
        call.kind == "chat"
        and call.deployment.call.startswith(PREFIX)
        and not any(call.params.get(name) for name in UNSENDABLE)
    )


class LiteLLMBatches:
    """Sends and reads batches. Every method raises `ProviderError` for what goes wrong at the provider."""

    def create(self, calls: Sequence[Call], name: str) -> str:
        """Send calls of one deployment as a batch of that name; returns the provider's id of it."""
        content = "\n".join(json.dumps(_line(call), ensure_ascii=False) for call in calls).encode()
        # An error may quote any of the prompts, and each is taken out of its message.
        call = replace(calls[0], messages=tuple(message for one in calls for message in one.messages))
        return background.run(_create(call, content, name))

    def find(self, call: Call, name: str) -> str | None:
        """The provider's id of a batch by our name, among its latest; None: it has none."""
        return background.run(_find(call, name))

    def look(self, call: Call, provider_id: str) -> Standing:
        """Where a batch stands, with its lines once it has ended."""
        return background.run(_look(call, provider_id))

    def cancel(self, call: Call, provider_id: str) -> None:
        """Ask the provider to stop working on a batch."""
        background.run(_cancel(call, provider_id))


def _line(call: Call) -> dict[str, Any]:
    params = {name: _plain(value) for name, value in call.params.items() if name != "extra_body"}
    if call.deployment.api_base is None and "max_tokens" in params:
        # OpenAI's thinking models know the newer name alone, all its others know both.
        params.setdefault("max_completion_tokens", params.pop("max_tokens"))
    body = {
        "model": call.deployment.call.removeprefix(PREFIX),
        "messages": [_plain(message) for message in call.messages],
        **params,
        **_plain(call.params.get("extra_body") or {}),
    }
    return {"custom_id": call.request_id, "method": "POST", "url": "/v1/chat/completions", "body": body}


async def _asked(call: Call, function: str, **arguments: Any) -> Any:
    """What one of litellm's functions gives back."""
    key = _key(call)
    found = await asyncio.to_thread(_litellm)  # its import takes seconds
    with _Guard(call):
        async with asyncio.timeout(TIMEOUT_S):
            return await getattr(found, function)(
                custom_llm_provider="openai", api_key=key, api_base=call.deployment.api_base, timeout=TIMEOUT_S,
                max_retries=0, **arguments,
            )  # fmt: skip


async def _create(call: Call, content: bytes, name: str) -> str:
    file = await _asked(call, "acreate_file", file=(f"{name}.jsonl", content), purpose="batch")
    made = await _asked(
        call, "acreate_batch", completion_window="24h", endpoint="/v1/chat/completions", input_file_id=file.id,
        metadata={NAME: name},
    )  # fmt: skip
    return str(made.id)


async def _find(call: Call, name: str) -> str | None:
    listed = await _asked(call, "alist_batches", limit=SEARCHED)
    return next((str(one.id) for one in listed.data if (one.metadata or {}).get(NAME) == name), None)


async def _look(call: Call, provider_id: str) -> Standing:
    found = await _asked(call, "aretrieve_batch", batch_id=provider_id)
    lines: dict[str, Mapping[str, Any]] = {}
    if found.status in ENDED:
        for file_id in (found.error_file_id, found.output_file_id):
            if file_id:
                lines |= _lines((await _asked(call, "afile_content", file_id=file_id)).content, call)
    return Standing(state=str(found.status), lines=lines)


async def _cancel(call: Call, provider_id: str) -> None:
    await _asked(call, "acancel_batch", batch_id=provider_id)


def _lines(content: bytes, call: Call) -> dict[str, Mapping[str, Any]]:
    try:
        # As bytes: a text's lines also end at characters that JSON strings may hold as they are, such as U+2028.
        read = [json.loads(line) for line in content.splitlines() if line.strip()]
        told = {str(one["custom_id"]): one.get("response") for one in read}
    except (ValueError, KeyError, TypeError, AttributeError):
        raise ProviderUnavailableError("unreadable output of a batch", model=call.model) from None
    return {name: answer if isinstance(answer, dict) else {} for name, answer in told.items()}
