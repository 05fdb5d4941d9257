"""Statements about who may use a bucket: its row, and what goes with it, in one read."""

from __future__ import annotations

from typing import Final

from sqlalchemy import and_, bindparam, exists, or_, select

from directory_server.metadata.schema import bucket, bucket_setting
from directory_server.metadata.statement import Statement

POLICY: Final = "policy"
ACL: Final = "acl"
PUBLIC_ACCESS_BLOCK: Final = "public-access-block"
OWNERSHIP: Final = "ownership"
NAMES: Final = (POLICY, ACL, PUBLIC_ACCESS_BLOCK, OWNERSHIP)
"""The bucket settings that say who may do what."""
LIFECYCLE: Final = "lifecycle"

_is_rule = or_(*(bucket_setting.c.name == name for name in NAMES))

BUCKET = Statement(
    select(
        bucket.c.name,
        bucket.c.owner,
        bucket.c.versioning,
        bucket.c.shared,
        bucket.c.created_at,
        exists().where(and_(bucket_setting.c.bucket == bucket.c.name, _is_rule)),
        select(bucket_setting.c.value)
        .where(and_(bucket_setting.c.bucket == bucket.c.name, bucket_setting.c.name == LIFECYCLE))
        .scalar_subquery(),
    ).where(bucket.c.name == bindparam("name"))
)
"""The columns of `bucket.Bucket`, whether it has any of `NAMES`, and its lifecycle, which reads and writes tell of."""
RULES = Statement(
    select(bucket_setting.c.name, bucket_setting.c.value).where(
        and_(bucket_setting.c.bucket == bindparam("of_bucket"), _is_rule)
    )
)
