"""What providers say, without what must not be repeated."""

from __future__ import annotations

import pytest

from router.transports.provider_errors import redacted
from router.types import Call, Deployment

CALL = Call(request_id="r", model="m", deployment=Deployment(call="openai/m"), kind="chat", messages=(), params={},
            timeout_s=1.0)  # fmt: skip


@pytest.mark.parametrize(
    "text", ["cannot connect to http://user:hush-hush@10.0.0.1/v1", "refused Basic aHVzaC1odXNo", "Bearer hush-hush"]
)
def test_credentials_of_every_kind_are_withheld(text: str) -> None:
    told = redacted(text, CALL)
    assert "[redacted]" in told
    assert "hush" not in told
    assert "aHVz" not in told
