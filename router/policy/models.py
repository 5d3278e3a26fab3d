"""What a policy says of its models: `models: [{id, call, price, context, capabilities, ...}]`."""

from __future__ import annotations

from typing import Annotated

from pydantic import BeforeValidator, field_validator

from router.policy.sections import EnvironmentName, Name, Names, Section, Tokens, one_or_more
from router.policy.standing import Governed
from router.spend.prices.entry import PriceEntry
from router.types import Deployment

CAPABILITIES = ("tools", "vision", "json", "embedding")
"""What a request can need beyond text."""


class DeploymentEntry(Section):
    """One of several places that serve the same model; what is not given is taken from the model."""

    call: Name | None = None
    api_base: Name | None = None
    api_key_env: EnvironmentName | None = None
    region: Name | None = None


class ModelEntry(Governed):
    """A model that may be a candidate."""

    id: Name
    call: Name
    """litellm model string such as `openai/gpt-4o-mini`, or `local/NAME`, `fake/NAME`, `replay/NAME`."""
    api_base: Name | None = None
    api_key_env: EnvironmentName | None = None
    price: Annotated[
        list[PriceEntry], BeforeValidator(one_or_more, json_schema_input_type=PriceEntry | list[PriceEntry])
    ] = []
    """Without one, the newest price book is asked, then litellm's bundled map; else its price is unknown."""
    context: Tokens | None = None
    """Context window in tokens, input and output together; unknown is not checked."""
    max_output_tokens: Tokens = 4096
    capabilities: Names | None = None
    """What it can do beyond text: `tools`, `vision`, `json`, `embedding`. Not given: not checked."""
    region: Name | None = None
    tags: dict[str, str] = {}
    version: Name | None = None
    """When given, only evidence for exactly this version counts."""
    deployments: list[DeploymentEntry] = []

    @field_validator("price", mode="after")
    @classmethod
    def _one_price_a_day(cls, prices: list[PriceEntry]) -> list[PriceEntry]:
        days = [entry.effective for entry in prices]
        if len(set(days)) < len(days):
            raise ValueError("two prices are effective from the same day; give each its own `effective`")
        return prices

    def places(self) -> tuple[Deployment, ...]:
        """Where it is served, in order of preference."""
        return tuple(
            Deployment(
                call=entry.call or self.call,
                api_base=entry.api_base or self.api_base,
                api_key_env=entry.api_key_env or self.api_key_env,
                region=entry.region or self.region,
            )
            for entry in self.deployments or [DeploymentEntry()]
        )
