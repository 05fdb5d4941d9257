"""The bucket settings that decide who may use a bucket."""

from __future__ import annotations

import json
from typing import Final

from sqlalchemy import and_, bindparam, or_, select

from directory_server.metadata.schema_s3 import bucket_setting
from directory_server.metadata.statement import Statement
from directory_server.metadata.statements import s3_settings
from directory_server.metadata.store import Tx

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


def drop_grants_of(tx: Tx, account: str) -> None:
    """Delete every grant to an account, whose name somebody else may take."""
    for bucket in s3_settings.buckets_with(tx, GRANTS):
        stored = json.loads(s3_settings.bucket_value(tx, bucket, GRANTS) or "[]")
        kept = [grant for grant in stored if grant[1] != account]
        if len(kept) != len(stored):
            s3_settings.put_bucket_value(tx, bucket, GRANTS, json.dumps(kept, ensure_ascii=False) if kept else None)
