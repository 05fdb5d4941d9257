"""The services that speak the Query protocol, read from their descriptions on first use."""

from __future__ import annotations

from functools import cache

from client_proxy.doors.s3.query.description import QueryService

SERVICES = ("sts", "iam")


@cache
def service(name: str) -> QueryService:
    """Return the description of one of SERVICES."""
    # botocore and its descriptions take long to load, so a proxy starts without them.
    from client_proxy.doors.s3.query.service_model import read_service

    return read_service(name)
