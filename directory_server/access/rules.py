"""A bucket's access rules, parsed from its settings."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache

from directory_server.access import acl, grants, policy, policy_documents
from directory_server.metadata.statements import access as rows

ENFORCED = "BucketOwnerEnforced"
PREFERRED = "BucketOwnerPreferred"
OWNERSHIPS = (ENFORCED, PREFERRED, "ObjectWriter")
BLOCKS = ("BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets")


@dataclass(frozen=True)
class Rules:
    """A bucket's access rules. Without an ACL the default one applies; `ownership` may be empty."""

    policy: policy.Policy | None = None
    acl: acl.Acl | None = None
    blocked: frozenset[str] = frozenset()
    ownership: str = ""
    grants: grants.Grants | None = None


@lru_cache(maxsize=256)
def parse_rules(bucket: str, texts: tuple[tuple[str, str], ...]) -> Rules:
    """Parse a bucket's rules. Cached by their texts."""
    found = dict(texts)
    return Rules(
        policy_documents.parse(found[rows.POLICY], bucket) if rows.POLICY in found else None,
        json.loads(found[rows.ACL]) if rows.ACL in found else None,
        frozenset(name for name, on in json.loads(found.get(rows.PUBLIC_ACCESS_BLOCK, "{}")).items() if on),
        json.loads(found[rows.OWNERSHIP]) if rows.OWNERSHIP in found else "",
        grants.parse(found[rows.GRANTS], bucket) if rows.GRANTS in found else None,
    )


NO_RULES = Rules()
