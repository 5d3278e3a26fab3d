"""What a rule says of a model in the shadow: `shadow: {model, percent, by}`."""

from __future__ import annotations

from router.policy.trial import Trial


class Shadow(Trial):
    """A model that is asked what a share of a rule's requests asked, after they were answered, and never serves."""

    def shown(self) -> str:
        """In words."""
        return f"shadow: {self.share()}"

    def _named(self, rule: str) -> str:
        # Not who meets the same model as a canary: they have no shadow.
        return f"shadow {self.key(rule)}"
