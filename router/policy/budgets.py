"""What a policy says of spending limits: `budgets: [{scope, limit_usd, window, at}]`."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from router.policy.sections import Amount, Name, Seconds, Section, Zone, one_or_more
from router.spend.budget import UNALLOCATED, Action, Budget, Step, Unit
from router.spend.money import to_pico
from router.spend.windows import Window

LIMITS: dict[str, Unit] = {
    "limit_usd": "usd", "limit_requests": "requests", "limit_tokens": "tokens", "limit_concurrent": "concurrent",
}  # fmt: skip
_EACH = "*"
_Count = Annotated[int, Field(ge=0, le=10**15)]


class Rolling(Section):
    """A window that always ends now."""

    rolling: Annotated[Seconds, Field(ge=60, le=366 * 86_400)]


def _ladder(value: object) -> object:
    """`{80%: notify}` as `{0.8: notify}`."""
    if not isinstance(value, dict):
        raise ValueError("must be steps such as {80%: notify, 90%: downgrade, 100%: deny}")
    steps: dict[float, Any] = {}
    for key, action in value.items():
        found = re.fullmatch(r"(\d{1,3}(?:\.\d+)?)\s*%", str(key))
        if not found or not 0 < float(found[1]) <= 200:
            raise ValueError(f"{key!r} must be a share of the limit such as 80% (up to 200%)")
        steps[float(found[1]) / 100] = action
    return steps


class BudgetEntry(Section):
    """One limit on what a scope may spend, ask or run at once."""

    name: Name | None = None
    scope: (
        dict[Name, Annotated[list[Name], BeforeValidator(one_or_more, json_schema_input_type=Name | list[Name])]]
        | Literal["unallocated"]
    ) = {}
    """Tags, `model` or `provider`, each with a value, several that share the limit, or `*` (a limit for each). Empty:
    everything. `unallocated`: requests without a required tag."""
    limit_usd: Amount | None = None
    limit_requests: _Count | None = None
    limit_tokens: _Count | None = None
    limit_concurrent: _Count | None = None
    """Calls under way at the same time; needs no window."""
    window: Literal["minute", "hour", "day", "week", "month"] | Rolling = "month"
    tz: Zone = "UTC"
    """Whose calendar the window follows, such as Europe/Berlin."""
    at: Annotated[
        dict[float, Action], BeforeValidator(_ladder, json_schema_input_type=dict[str, Action]), Field(min_length=1)
    ] = {1.0: "deny"}
    """What happens from which share of the limit on, counted on what is settled and held."""
    wait: Annotated[Seconds, Field(gt=0, le=3_600)] = 30.0
    """How long a call may wait at a step `wait`, while only calls in flight stand in its way."""
    unknown: Literal["deny", "allow"] = "deny"
    """What happens to a call whose worst case nobody knows (no price; pictures or sound without a rule)."""

    @model_validator(mode="after")
    def _one_limit(self) -> BudgetEntry:
        given = [name for name in LIMITS if getattr(self, name) is not None]
        if len(given) != 1:
            has = f", has {', '.join(given)}" if given else ""
            raise ValueError(f"needs exactly one of {', '.join(LIMITS)}{has}")
        for name, values in self.scope.items() if isinstance(self.scope, dict) else ():
            if _EACH in values and len(values) > 1:
                raise ValueError(f"scope {name}: `*` stands for each value and cannot be mixed with others")
        if self.tz != "UTC" and not isinstance(self.window, str):
            raise ValueError("`tz` belongs to a calendar window; a rolling one has no calendar")
        return self

    def budget(self, required_tags: tuple[str, ...]) -> Budget:
        """As calls are held against it."""
        given = next(name for name in LIMITS if getattr(self, name) is not None)
        limit = getattr(self, given)
        is_unallocated = self.scope == UNALLOCATED
        scope = {} if isinstance(self.scope, str) else self.scope
        return Budget(
            name=self.name or self._described(given),
            scope={key: None if values == [_EACH] else tuple(sorted(values)) for key, values in scope.items()},
            unit=LIMITS[given],
            limit=to_pico(limit) if given == "limit_usd" else limit,
            window=self._window(given),
            steps=tuple(Step(share=share, action=action) for share, action in sorted(self.at.items())),
            wait_s=self.wait if "wait" in self.at.values() else 0.0,
            is_open=self.unknown == "allow",
            lacking=required_tags if is_unallocated else (),
        )

    def _window(self, given: str) -> Window:
        if isinstance(self.window, Rolling):
            return Window(rolling_s=int(self.window.rolling))
        # What is under way now is no matter of a calendar: a hold that is taken in one month may end in the next.
        return Window(unit=self.window, tz=self.tz) if given != "limit_concurrent" else Window(rolling_s=366 * 86_400)

    def _described(self, given: str) -> str:
        parts = [self.scope] if isinstance(self.scope, str) else [
            f"{name}={'|'.join(values)}" for name, values in self.scope.items()
        ]  # fmt: skip
        window = f"rolling {self.window.rolling:g}s" if isinstance(self.window, Rolling) else self.window
        ending = "at once" if given == "limit_concurrent" else f"{given.removeprefix('limit_')} {window}"
        return f"{' '.join(parts) or 'everything'} {ending}"
