"""A policy that takes part in a comparison, with its artifact and the names its models have in a table."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from router.errors import ConfigurationError
from router.policy import Policy, load_policy

if TYPE_CHECKING:
    from router.predict import Predictor


@dataclass(frozen=True, slots=True, kw_only=True)
class Party:
    """One of the two policies."""

    policy: Policy
    predictor: Predictor | None

    @classmethod
    def load(cls, path: Path) -> Party:
        """Read a policy and its artifact.

        Raises:
            ConfigurationError: one of them is wrong.
        """
        return cls.of(load_policy(path))

    @classmethod
    def of(cls, policy: Policy) -> Party:
        """With the policy's artifact, which is read.

        Raises:
            ConfigurationError: it is wrong.
        """
        if policy.artifact is None:
            return cls(policy=policy, predictor=None)
        from router.predict import Predictor

        return cls(policy=policy, predictor=Predictor.load(policy.artifact))

    def names(self, known: Collection[str], given: Mapping[str, str]) -> dict[str, str]:
        """What a table calls each of the policy's models: as it was told, else by id, else by the end of its call.

        Args:
            known: the table's models.
            given: names by model id.

        Raises:
            ConfigurationError: a given name is none of the table's.
        """
        found = {}
        for name, model in self.policy.models.items():
            told = given.get(name)
            if told is not None and told not in known:
                raise ConfigurationError(
                    f"the outcome table has no model {told!r} (given for {name!r}); it has {', '.join(sorted(known))}"
                )
            called = model.call.rpartition("/")[2]
            if told is not None or name in known or called in known:
                found[name] = told or (name if name in known else called)
        return found
