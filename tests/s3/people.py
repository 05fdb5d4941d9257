"""Clients of several people at one S3 door, and of nobody."""

from __future__ import annotations

import json
from typing import Any

from botocore import UNSIGNED
from botocore.awsrequest import AWSRequest

from tests.s3.rig import S3Rig

Allow, Deny = "Allow", "Deny"


def client_of(rig: S3Rig, name: str) -> Any:
    """A boto3 client of an account, which is made if need be."""
    return rig.client(rig.key(token_of(rig, name)))


def token_of(rig: S3Rig, name: str) -> str:
    """A log-in of that account, as the REST API takes one."""
    return rig.cluster.log_in(name)["Authorization"].removeprefix("Bearer ")


def anonymous_client(rig: S3Rig) -> Any:
    """A boto3 client that signs nothing."""
    return rig.client(("unused", "unused"), signature_version=UNSIGNED)


def header_client(rig: S3Rig, headers: dict[str, str]) -> Any:
    """A boto3 client that signs nothing, and sends an API key or a token in a header."""
    client = anonymous_client(rig)

    def add(request: AWSRequest, **_: Any) -> None:
        for name, value in headers.items():
            request.headers[name] = value

    client.meta.events.register("request-created.s3", add)
    return client


def document(*statements: dict[str, Any], version: str = "2012-10-17") -> str:
    """A policy document."""
    return json.dumps({"Version": version, "Statement": list(statements)})


def statement(effect: str, who: Any, action: Any, *resources: str, **more: Any) -> dict[str, Any]:
    """One statement about resources that are named as `bucket` or `bucket/key`."""
    return {
        "Effect": effect,
        "Principal": who if who == "*" else {"AWS": who},
        "Action": action,
        "Resource": [f"arn:aws:s3:::{name}" for name in resources],
        **more,
    }
