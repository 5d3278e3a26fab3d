"""What a rule says of sessions: `sticky: {by: run_id, switch: cost}`."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, model_validator

from router.policy.sections import Amount, Name, Seconds, Section


def _usd(value: object) -> object:
    if value in ("never", "cost") or isinstance(value, Decimal):
        return value
    try:
        return Decimal(str(value))
    except ArithmeticError:
        raise ValueError("must be never, cost, or an amount in USD such as 0.01") from None


class Sticky(Section):
    """A session keeps the model that answered it last, while that may serve and clears the bar."""

    by: Name
    """The tag whose value says which session it is, such as `run_id` or `customer`."""
    switch: Annotated[Literal["never", "cost"] | Amount, BeforeValidator(_usd, json_schema_input_type=str | float)] = (
        "never"
    )
    """When a model that is cheaper now takes over: `never`; `cost`: when it saves anything, with the warm prompt cache
    of the session's model counted; or when it saves more than so many USD on this request."""
    idle: Annotated[Seconds, Field(ge=1, le=7 * 86_400)] = 3_600.0
    """A session is forgotten so long after its last answer."""

    @model_validator(mode="before")
    @classmethod
    def _one_word(cls, value: object) -> object:
        return {"by": value} if isinstance(value, str) else value

    def switches(self, stays_usd: Decimal | None, moves_usd: Decimal | None) -> bool:
        """Whether the session moves on.

        Args:
            stays_usd: expected cost of its model, warm prompt cache and all; None: nobody knows.
            moves_usd: of the model that would be asked first.
        """
        if self.switch == "never" or stays_usd is None or moves_usd is None:
            return False
        return stays_usd - moves_usd > (0 if self.switch == "cost" else self.switch)
