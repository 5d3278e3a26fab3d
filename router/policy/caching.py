"""What a rule says of the cache: `cache: false | exact | shadow | true | {mode, ttl, ...}`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, model_validator

from router.policy.sections import Seconds, Section, one_or_more

Mode = Literal["off", "exact", "shadow", "on"]
_WORDS = {"false": "off", "no": "off", "true": "on", "yes": "on"}
DAY_S = 86_400.0


def read_mode(value: object) -> object:
    """`false` and `true` as modes."""
    return _WORDS.get(value.lower(), value.lower()) if isinstance(value, str) else value


class Caching(Section):
    """Which answers may be served again, and how sure that must be."""

    mode: Annotated[Mode, BeforeValidator(read_mode)] = "shadow"
    """`exact`: the same request. `shadow`: also decides about alike ones, learns, and serves none of them. `on`: serves
    those that are certified."""
    max_error: Annotated[float, Field(gt=0, le=0.5)] = 0.02
    """Upper bound of wrong / hits among answers served to requests that are only alike."""
    confidence: Annotated[float, Field(ge=0.5, lt=1)] = 0.95
    """Of that bound."""
    ttl: Annotated[Seconds, Field(gt=0, le=365 * DAY_S)] = DAY_S
    """Seconds (written 90s, 30m, 24h, 7d) for which a stored answer may be served; a hit does not extend them."""
    fresh_ttl: Annotated[Seconds | None, Field(gt=0, le=365 * DAY_S)] = None
    """The same for questions with words such as today, latest or price; None: `ttl`. Only the same question gets such
    an answer again, never one that is alike."""
    epoch: str = ""
    """Any text or number; another one starts with no answers, and keeps what was learned about likeness."""
    tags: Annotated[
        tuple[str, ...], BeforeValidator(one_or_more, json_schema_input_type=str | list[str]), Field(max_length=20)
    ] = ()
    """Names of request tags that must be equal for an answer to be served again, such as a document's version."""
    sources: Annotated[
        tuple[str, ...], BeforeValidator(one_or_more, json_schema_input_type=str | list[str]), Field(max_length=20)
    ] = ()
    """Names of files of questions and answers (`clearbar cache warm`) whose answers count as good enough here."""
    hide_hits: bool = False
    """A hit takes as long as its answer took to make, lest its time tell who shares the scope what others asked.
    Streams are always called then, because no stored answer arrives as a model's does."""

    @model_validator(mode="before")
    @classmethod
    def _one_word(cls, value: object) -> object:
        if isinstance(value, Caching):
            return value
        if isinstance(value, dict):
            if read_mode(value.get("mode", "shadow")) in ("off", "exact") and {"max_error", "confidence"} & set(value):
                raise ValueError("`max_error` and `confidence` belong to `mode: shadow` or `mode: on`")
            return value
        if read_mode(value) not in ("off", "exact", "shadow", "on"):
            raise ValueError("must be false, exact, shadow, true, or {mode: on, max_error: 0.02, ttl: 24h}")
        return {"mode": value}

    @property
    def keeps(self) -> bool:
        """Whether answers are stored at all."""
        return self.mode != "off"

    @property
    def source_models(self) -> frozenset[str]:
        """What stands for a model's id with answers out of those files."""
        return frozenset(f"source:{name}" for name in self.sources)

    @property
    def looks_alike(self) -> bool:
        """Whether the semantic tier is asked."""
        return self.mode in ("shadow", "on")


OFF = Caching(mode="off")
