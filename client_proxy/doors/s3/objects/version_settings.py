"""What S3 says of a version and may change later: made from a write's headers, told again on reading.

Each kind of setting has its own module; here is which of them there are.
"""

from __future__ import annotations

from client_proxy.doors.s3.objects.object_lock import lock_values, written_lock
from client_proxy.doors.s3.objects.tagging import tags_in, written_tags
from client_proxy.doors.s3.protocol.parameters import Values
from client_proxy.doors.s3.security.acls import written_acl


def written_settings(values: Values) -> dict[str, str]:
    """The settings that a write's headers give its version (PutObject, CopyObject, CreateMultipartUpload)."""
    return written_tags(values) | written_lock(values) | written_acl(values)


def setting_values(settings: dict[str, str]) -> Values:
    """What GetObject and HeadObject say of a version's settings."""
    if not settings:
        return {}
    values = lock_values(settings)
    tags = tags_in(settings)
    return values | {"TagCount": len(tags)} if tags else values
