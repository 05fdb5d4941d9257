"""The bucket settings about access: checked when they are stored, so that readers can rely on them."""

from __future__ import annotations

import json
from typing import Any, Final

from directory_server.access import acl, policy, policy_documents
from directory_server.access.decisions import Standing
from directory_server.access.rules import BLOCKS, ENFORCED, OWNERSHIPS
from directory_server.metadata.statements import s3_settings
from directory_server.metadata.statements.access import ACL as ACL
from directory_server.metadata.statements.access import GRANTS, OWNERSHIP, POLICY, PUBLIC_ACCESS_BLOCK
from directory_server.metadata.statements.access import NAMES as RULES
from directory_server.metadata.store import Tx
from lockstep_store.wire.errors import BadRequest, Forbidden

POLICY_STATUS: Final = "policy-status"
"""Read-only: derived from the policy and the list."""
ACTIONS: Final = {ACL: "s3:PutBucketAcl", OWNERSHIP: "s3:PutBucketOwnershipControls"}
"""What a key with limits needs, in addition to the right to create a bucket, to give a new one these settings."""
NAMES: Final = (*RULES, POLICY_STATUS)
PRIVATE_OWNERSHIP: Final = {OWNERSHIP: json.dumps(ENFORCED)}
"""The setting of a bucket without access control lists."""


def in_order(settings: dict[str, str]) -> list[str]:
    """Return a new bucket's setting names in storing order: the ownership decides whether lists are allowed."""
    unknown = set(settings) - {ACL, OWNERSHIP}
    if unknown:
        raise BadRequest(f"a new bucket cannot have the setting {min(unknown)[:40]!r}")
    if ACL in settings and acl.is_private(settings[ACL]):  # as any bucket begins
        return [name for name in settings if name != ACL]
    if ACL in settings and OWNERSHIP in settings and _read(settings[OWNERSHIP]) == ENFORCED:
        raise BadRequest(
            f"with {ENFORCED} a bucket has no ACL that lets others in",
            s3_code="InvalidBucketAclWithObjectOwnership",
        )
    return sorted(settings, key=(OWNERSHIP, ACL).index)


def put(tx: Tx, place: Standing, name: str, value: str | None) -> None:
    """Store a setting; None removes it. BadRequest or Forbidden when the bucket cannot have it."""
    if name == GRANTS:
        raise BadRequest("grants have a call of their own, which checks them: use that")
    if value is not None:
        value = _checked(place, name, value)
    s3_settings.put_bucket_value(tx, place.bucket.name, name, value)


def block_public_access(tx: Tx, bucket: str) -> None:
    """Store every switch of the public access block for a new bucket."""
    s3_settings.put_bucket_value(tx, bucket, PUBLIC_ACCESS_BLOCK, json.dumps(dict.fromkeys(BLOCKS, True)))


def policy_status(place: Standing) -> str:
    """Return whether the policy, the bucket's list or a grant gives access to everybody."""
    rules = place.rules
    by_policy = rules.policy is not None and rules.policy.public and "RestrictPublicBuckets" not in rules.blocked
    by_grant = (
        rules.grants is not None and rules.grants.public is not None and "RestrictPublicBuckets" not in rules.blocked
    )
    by_list = rules.acl is not None and acl.is_public(rules.acl) and "IgnorePublicAcls" not in rules.blocked
    return json.dumps({"IsPublic": by_policy or by_list or by_grant})


def _checked(place: Standing, name: str, value: str) -> str:
    if name == POLICY:
        checked_policy(place, value)
        return value
    if name == ACL:
        return place.lists.settled_acl(value, "bucket", place.bucket.owner)
    if name == OWNERSHIP:
        return _ownership(place, _read(value))
    if name == PUBLIC_ACCESS_BLOCK:
        return _block(_read(value))
    raise BadRequest(f"{name} is derived from other settings and cannot be changed")


def checked_policy(place: Standing, value: str) -> policy.Policy:
    """Return the policy that a text is. BadRequest or Forbidden when the bucket cannot have it."""
    try:
        found = policy_documents.parse(policy_documents.check_size(value), place.bucket.name)
        policy_documents.check_words(found, place.is_account)
    except policy.BadPolicy as error:
        raise BadRequest(str(error), s3_code="MalformedPolicy") from error
    if "BlockPublicPolicy" in place.rules.blocked and found.public:
        raise Forbidden(f"bucket {place.bucket.name!r} blocks public policies", bucket=place.bucket.name)
    return found


def _ownership(place: Standing, wanted: Any) -> str:
    if wanted not in OWNERSHIPS:
        raise BadRequest(f"the object ownership must be one of {', '.join(OWNERSHIPS)}", s3_code="MalformedXML")
    if wanted == ENFORCED and place.rules.acl is not None and not acl.is_only_owners(place.rules.acl):
        raise BadRequest(
            "the bucket's ACL grants access to others; make it private before you disable ACLs",
            s3_code="InvalidBucketAclWithObjectOwnership",
        )
    return json.dumps(wanted)


def _block(wanted: Any) -> str:
    if not isinstance(wanted, dict) or not all(isinstance(on, bool) for on in wanted.values()):
        raise BadRequest(
            "a public access block must be an object of switches, each true or false", s3_code="MalformedXML"
        )
    return json.dumps({name: bool(wanted.get(name)) for name in BLOCKS})


def _read(value: str) -> Any:
    try:
        return json.loads(value)
    except ValueError as error:
        raise BadRequest("the setting is not JSON") from error
