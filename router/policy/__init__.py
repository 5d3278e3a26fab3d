"""What a routing table is: reading, matching and checking it."""

from router.policy.caching import OFF, Caching
from router.policy.canary import Canary
from router.policy.check import check
from router.policy.data import ANYTHING, RuleData
from router.policy.evidence import Evidence, evidence_gap
from router.policy.finding import Finding
from router.policy.load import Policy, find_policy, load_policy, shipped_policies
from router.policy.match import match
from router.policy.schema import Bar, ModelEntry, PolicyFile, Rule
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
    "match",
    "shipped_policies",
]
