"""What a policy says of alerts: `alerts: [{sink: slack, url_env: SLACK_URL, on: [budgets]}]`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, model_validator

from router.policy.sections import EnvironmentName, Name, Names, Section, one_or_more
from router.spend.sinks import Sink

Source = Literal["budgets", "runs", "anomalies", "tokenizers", "prices"]
_MAIL = ("host", "port", "security", "sender", "to", "user_env", "password_env")


class AlertEntry(Section):
    """A place where alerts are told."""

    sink: Literal["webhook", "slack", "email", "log"]
    name: Name | None = None
    """Under which the ledger notes what it was told; needed where two sinks would have the same."""
    on: Annotated[
        list[Source], BeforeValidator(one_or_more, json_schema_input_type=Source | list[Source]), Field(min_length=1)
    ] = ["budgets", "runs", "anomalies", "tokenizers", "prices"]
    """What it wants to hear of; default: everything."""
    url_env: EnvironmentName | None = None
    """Of `webhook` and `slack`: the environment variable that holds the URL."""
    host: Name | None = None
    """Of `email`: the mail server."""
    port: Annotated[int, Field(ge=1, le=65_535)] = 587
    security: Literal["starttls", "tls", "none"] = "starttls"
    sender: Name | None = None
    to: Names | None = None
    user_env: EnvironmentName | None = None
    password_env: EnvironmentName | None = None

    @model_validator(mode="after")
    def _whole(self) -> AlertEntry:
        needs = {"webhook": ("url_env",), "slack": ("url_env",), "email": ("host", "sender", "to"), "log": ()}[
            self.sink
        ]
        if lacking := [name for name in needs if getattr(self, name) is None]:
            raise ValueError(f"a sink {self.sink} needs {', '.join(lacking)}")
        allowed = {"url_env": ("webhook", "slack"), **dict.fromkeys(_MAIL, ("email",))}
        for name, sinks in allowed.items():
            if name in self.model_fields_set and self.sink not in sinks:
                raise ValueError(f"{name} belongs to {' or '.join(sinks)}, not to {self.sink}")
        if (self.user_env is None) != (self.password_env is None):
            raise ValueError("user_env and password_env go together")
        return self

    def told(self) -> Sink:
        """As alerts are told to it."""
        return Sink(
            kind=self.sink, name=self.name or f"{self.sink} {self.url_env or self.host or ''}".strip(),
            on=tuple(self.on), url_env=self.url_env, host=self.host or "", port=self.port, security=self.security,
            sender=self.sender or "", to=tuple(self.to or ()), user_env=self.user_env, password_env=self.password_env,
        )  # fmt: skip
