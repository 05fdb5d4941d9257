"""All S3 operations by name, read from the service description on first use."""

from __future__ import annotations

from functools import cache

from client_proxy.doors.s3.protocol.description import S3Operation


@cache
def operations() -> dict[str, S3Operation]:
    """Every current operation by name; superseded ones are left out."""
    # botocore and its description take long to load, so a proxy starts without them.
    from client_proxy.doors.s3.protocol.service_model import read_operations

    return read_operations()
