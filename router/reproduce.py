"""Decides about a past request once more, from what was written down, and says whether the same comes out."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from router.decide import decide
from router.errors import InvalidRequestError, PolicyError, RouterError
from router.facts import differences, known_again, request_again
from router.policy import Policy, find_policy, load_policy
from router.policy.kept import load_kept
from router.spend.ledger import Ledger
from router.spend.texts import TextReader
from router.types import Message, to_sparse_json


@dataclass(frozen=True, slots=True, kw_only=True)
class Reproduced:
    """What came of deciding again."""

    id: str
    is_same: bool | None
    """None: it cannot be told; `why` says what is missing."""
    why: str | None = None
    differences: tuple[str, ...] = ()


def reproduce(decision_id: str, ledger: Ledger, state: Path, policy: str | os.PathLike[str] | None) -> Reproduced:
    """Decide again about a request of the ledger, with the evidence, prices and artifact that are there now.

    Args:
        decision_id: of the request.
        ledger: where it was written down.
        state: folder of its text.
        policy: the policy of then; default: the one found as a router does or, where that has changed since, its text
            in the history.

    Raises:
        InvalidRequestError: no request has this id.
        RouterError: policy or artifact cannot be read.
    """
    row = ledger.request(decision_id)
    if row is None:
        raise InvalidRequestError(f"no request has the id {decision_id!r}; it is `completion.id`")
    decided = json.loads(row["decision"]) if row["decision"] else None
    loaded = load_policy(find_policy(policy))
    if policy is None and decided is not None and decided["policy_version"] != loaded.version:
        loaded = _as_then(decided["policy_version"], ledger) or loaded
    artifact = _artifact(loaded)
    if why := _obstacle(row, decided, loaded, artifact.version if artifact else None):
        return Reproduced(id=decision_id, is_same=None, why=why)
    assert decided is not None  # noqa: S101  else there is an obstacle
    messages = _messages(decision_id, state)
    if isinstance(messages, str):
        return Reproduced(id=decision_id, is_same=None, why=messages)
    request = request_again(row, decided, messages)
    at = datetime.fromisoformat(decided["facts"]["at"])
    experience = None
    if loaded.learns:
        from router.predict.learner import Learner

        experience = Learner(ledger, loaded.evidence).as_of(decided["feedback_row"], int(at.timestamp() * 1e6))
    known, squeezed = known_again(decided), decided.get("squeezed")
    again = decide(request, loaded, artifact, at, experience, known, squeezed).decision
    found = tuple(differences(decided, json.loads(to_sparse_json(again))))
    if found and (unwritten := _unwritten(decided, loaded)):
        why = f"another decision came out, but {' and '.join(unwritten)}"
        return Reproduced(id=decision_id, is_same=None, why=why, differences=found)
    return Reproduced(id=decision_id, is_same=not found, differences=found)


def _as_then(version: str, ledger: Ledger) -> Policy | None:
    """The policy of a version, out of the history; None where its text or its evidence is no longer there."""
    for kept in ledger.versions.named(version):
        try:
            policy = load_kept(kept, ledger.versions.contents(kept))
        except PolicyError:
            continue
        if policy.version == version:
            return policy
    return None


def _artifact(policy: Policy) -> Any:
    if policy.artifact is None:
        return None
    from router.predict import Predictor

    return Predictor.load(policy.artifact)


def _obstacle(
    row: Mapping[str, Any], decided: Mapping[str, Any] | None, policy: Policy, artifact: str | None
) -> str | None:
    if row["cache"] == "exact":
        return "the answer came out of the cache: nothing was decided"
    if decided is not None and decided.get("shadow_of"):
        return f"it is the shadow of {decided['shadow_of']}: nothing was decided"
    if row["kind"] != "chat":
        return f"it is a request of the kind {row['kind']}, of which no text is stored"
    if decided is None or not decided.get("facts"):
        return "the ledger does not say what the decision looked at (an older version wrote it, or none was made)"
    if decided["policy_version"] != policy.version:
        return (
            f"it was decided under version {decided['policy_version']} of the policy; "
            f"{policy.path} is {policy.version} now, and neither the history's text with today's evidence and prices "
            "makes that version. Give the older file, with its evidence, with --policy"
        )
    if decided.get("artifact_version") != artifact:
        return (
            f"it was decided with artifact {decided.get('artifact_version')}; the policy's artifact is {artifact} now"
        )
    return None


def _messages(decision_id: str, state: Path) -> list[Message] | str:
    """The stored messages, or why there are none."""
    try:
        with TextReader(state) as reader:
            kept = reader.text(decision_id)
    except RouterError:
        kept = None
    if kept is None:
        return "its text is not stored (`data: {store_text: full}` in the policy keeps it), or its time is over"
    messages: list[Message] = json.loads(kept.messages)
    return messages


def _unwritten(decided: Mapping[str, Any], policy: Policy) -> list[str]:
    """What the decision saw and nobody wrote down: it may be why another one comes out."""
    facts = decided["facts"]
    told = []
    if policy.data.store_text != "full":
        told.append("the stored text is redacted; the decision saw it whole")
    if facts["has_media"]:
        told.append("pictures, sound and files are not stored")
    if given := [name for name, value in facts["params"].items() if value is True]:
        told.append(f"of {', '.join(given)} only their presence is recorded")
    return told
