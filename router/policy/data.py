"""What a rule says of its requests' data: `data: {log: none, local_only: true, regions: [eu]}`, `{refuse: WHY}`."""

from __future__ import annotations

import ipaddress
import re
from typing import Literal, Self
from urllib.parse import urlsplit

from pydantic import model_validator

from router.policy.sections import Name, Names, Section
from router.types import Deployment

LOCAL = "local"
"""The region of a deployment whose owner vouches that it is at home."""
_WITHOUT_NETWORK = ("local", "fake", "replay")
_HOME = [
    ipaddress.ip_network(one)
    for one in ("127.0.0.0/8", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "::1/128", "fc00::/7")
]
"""Loopback and private networks (RFC 1918, RFC 4193)."""
_PLAIN_ADDRESS = re.compile(r"https?://[\w.:\[\]-]+(?:/[\w./-]*)?", re.ASCII)
"""Nothing that one reader of addresses could take for another host than the next."""


class RuleData(Section):
    """Where a rule's requests may be sent, and what may be kept of them. Also holds for pinned models."""

    log: Literal["none"] | None = None
    """Nothing of the text is kept, whatever `data.store_text` says: no prompt, answer or provider's error message."""
    local_only: bool = False
    """Only deployments that run on this machine or in a private network: `local/` models, an `api_base` that is
    `localhost` or a private address, or `region: local`, for which the author vouches."""
    regions: Names | None = None
    """Only deployments whose `region` is one of these."""
    refuse: Name | None = None
    """Why nobody may have them; told to the caller."""

    @model_validator(mode="after")
    def _goes_nowhere(self) -> Self:
        if self.refuse is not None and (self.local_only or self.regions is not None):
            raise ValueError("`refuse` sends requests nowhere, `local_only` and `regions` somewhere; give one of them")
        return self

    @property
    def is_bound(self) -> bool:
        """Whether it says where requests may be sent."""
        return self.local_only or self.regions is not None or self.refuse is not None

    def allows(self, place: Deployment) -> bool:
        """Whether requests may be sent to a deployment."""
        if self.refuse is not None:
            return False
        if self.local_only and not is_local(place):
            return False
        return self.regions is None or place.region in self.regions

    def where(self) -> str:
        """Where requests may be sent, in words."""
        told = [f"refused: {self.refuse}"] if self.refuse is not None else []
        told += ["local only"] if self.local_only else []
        return ", ".join([*told, *([f"only in {' or '.join(self.regions)}"] if self.regions else [])])

    def shown(self) -> str:
        """All of it in words."""
        return ", ".join(filter(None, [self.where(), "no text is kept" if self.log == "none" else ""]))


ANYTHING = RuleData()
"""What holds where no rule says anything."""


def is_local(place: Deployment) -> bool:
    """Whether what is sent to a deployment stays on this machine or in a private network."""
    if place.region == LOCAL:
        return True
    if place.api_base is None:
        return place.call.partition("/")[0] in _WITHOUT_NETWORK
    # A name could be looked up anywhere; only addresses, and the one name that is always here, are taken at their word.
    if not _PLAIN_ADDRESS.fullmatch(place.api_base):
        return False
    try:
        host = urlsplit(place.api_base).hostname or ""
        address = ipaddress.ip_address(host)
    except ValueError:
        return place.api_base.partition("//")[2].partition("/")[0].partition(":")[0].lower() == "localhost"
    return any(address in network for network in _HOME)
