"""What a routing table is: reading, matching and checking it."""

from router.policy.caching import OFF, Caching
from router.policy.canary import Canary
from router.policy.check import check
from router.policy.data import ANYTHING, RuleData
from router.policy.evidence import Evidence, evidence_gap
from router.policy.finding import Finding
from router.policy.load import find_policy, load_policy, shipped_policies
from router.policy.models import ModelEntry
from router.policy.policy import Policy
from router.policy.schema import Bar, PolicyFile, Rule
from router.policy.traits import Traits

__all__ = [
    "ANYTHING",
    "OFF",
    "Bar",
    "Caching",
    "Canary",
    "Evidence",
    "Finding",
    "ModelEntry",
    "Policy",
    "PolicyFile",
    "Rule",
    "RuleData",
    "Traits",
    "check",
    "evidence_gap",
    "find_policy",
    "load_policy",
    "shipped_policies",
]
