"""The bucket settings that decide who may use a bucket."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Final

from sqlalchemy import and_, bindparam, literal, or_, select

from directory_server.metadata.principals import principal_of
from directory_server.metadata.schema import version
from directory_server.metadata.schema_s3 import bucket_setting, version_setting
from directory_server.metadata.statement import Statement
from directory_server.metadata.statements import buckets, s3_settings
from directory_server.metadata.store import Reader, Tx
from lockstep_store.wire.names import tenant_of

POLICY: Final = "policy"
ACL: Final = "acl"
PUBLIC_ACCESS_BLOCK: Final = "public-access-block"
OWNERSHIP: Final = "ownership"
GRANTS: Final = "grants"
NAMES: Final = (POLICY, ACL, PUBLIC_ACCESS_BLOCK, OWNERSHIP, GRANTS)
"""The bucket settings that decide who may do what."""

RULES = Statement(
    select(bucket_setting.c.name, bucket_setting.c.value).where(
        and_(bucket_setting.c.bucket == bindparam("of_bucket"), or_(*(bucket_setting.c.name == name for name in NAMES)))
    )
)
"""Selects these settings of a bucket."""
_NAMED_IN_LIST = Statement(
    select(version.c.id)
    .join(version_setting, version_setting.c.version == version.c.id)
    .where(
        version.c.bucket == bindparam("of_bucket"),
        version.c.path == bindparam("of_path"),
        version_setting.c.name == literal(ACL),
        version_setting.c.value.contains(bindparam("grantee")),
    )
    .limit(1)
)


def is_named_in_a_list(reader: Reader, bucket: str, path: str, grantee: str) -> bool:
    """Whether the access control list of any version of a path contains the address of that group."""
    return reader.one(_NAMED_IN_LIST, of_bucket=bucket, of_path=path, grantee=grantee) is not None


def drop_grants_of(tx: Tx, account: str, tenant: str) -> None:
    """Delete every grant to an account or a group of a tenant, whose name somebody else may take."""
    for bucket in buckets_with(tx, GRANTS, tenant):
        stored = json.loads(s3_settings.bucket_value(tx, bucket, GRANTS) or "[]")
        kept = [grant for grant in stored if grant[1] != account]
        if len(kept) != len(stored):
            s3_settings.put_bucket_value(tx, bucket, GRANTS, json.dumps(kept, ensure_ascii=False) if kept else None)


def buckets_with(reader: Reader, setting: str, tenant: str) -> Iterator[str]:
    """Yield the names of the buckets of a tenant that have the setting."""
    for bucket in s3_settings.buckets_with(reader, setting):
        if tenant_of(buckets.require(reader, bucket).owner) == tenant:
            yield bucket


def buckets_whose_policy_names(reader: Reader, group: str, tenant: str) -> list[str]:
    """Return a tenant's buckets with a policy that has a group, such as `group:editors`, among its principals."""
    named = []
    for bucket in buckets_with(reader, POLICY, tenant):
        statements = json.loads(s3_settings.bucket_value(reader, bucket, POLICY) or "{}").get("Statement", [])
        listed = statements if isinstance(statements, list) else [statements]
        principals = (name for one in listed for who in ("Principal", "NotPrincipal") for name in _texts(one.get(who)))
        if any(principal_of(name) == group for name in principals):
            named.append(bucket)
    return named


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    for one in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from _texts(one)
