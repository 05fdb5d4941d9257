"""The bucket settings that decide who may use a bucket."""

from __future__ import annotations

from typing import Final

from sqlalchemy import and_, bindparam, or_, select

from directory_server.metadata.schema_s3 import bucket_setting
from directory_server.metadata.statement import Statement

POLICY: Final = "policy"
ACL: Final = "acl"
PUBLIC_ACCESS_BLOCK: Final = "public-access-block"
OWNERSHIP: Final = "ownership"
NAMES: Final = (POLICY, ACL, PUBLIC_ACCESS_BLOCK, OWNERSHIP)
"""The bucket settings that decide who may do what."""

RULES = Statement(
    select(bucket_setting.c.name, bucket_setting.c.value).where(
        and_(bucket_setting.c.bucket == bindparam("of_bucket"), or_(*(bucket_setting.c.name == name for name in NAMES)))
    )
)
"""Selects these settings of a bucket."""
