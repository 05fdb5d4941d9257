"""Keys of accounts, users and sessions, and boto3 clients that use them."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from typing import Any
from unittest import mock

from tests.s3.people import token_of
from tests.s3.rig import S3Rig

_numbers = itertools.count(1)
Key = tuple[str, ...]
ALL = {"Effect": "Allow", "Action": "*", "Resource": "*"}


class Caller:
    """An account, or what acts in its name, with a key: access key id, secret, perhaps a session token."""

    def __init__(self, rig: S3Rig, key: Key, account: str) -> None:
        self.rig = rig
        self.key = key
        self.account = account
        self.s3: Any = rig.client(key)
        self.sts: Any = rig.client(key, service="sts")
        self.iam: Any = rig.client(key, service="iam")

    def assume(self, role: str, session: str = "work", **more: Any) -> Caller:
        """What has taken the role."""
        return self.of(self.sts.assume_role(RoleArn=role, RoleSessionName=session, **more)["Credentials"])

    def narrowed(self, *statements: dict[str, Any], **more: Any) -> Caller:
        """A session of the caller itself under that session policy."""
        return self.assume(self_role(self.account), Policy=policy(*statements), **more)

    def of(self, credentials: dict[str, Any]) -> Caller:
        """What has these temporary credentials."""
        key = (credentials["AccessKeyId"], credentials["SecretAccessKey"], credentials["SessionToken"])
        return Caller(self.rig, key, self.account)

    @property
    def arn(self) -> str:
        return str(self.sts.get_caller_identity()["Arn"])


def account(rig: S3Rig, name: str) -> Caller:
    """A new key of an account, which is made if need be."""
    return Caller(rig, rig.key(token_of(rig, name)), name)


def self_role(account: str) -> str:
    return f"arn:aws:iam::{account}:role/self"


def new_name(prefix: str) -> str:
    return f"{prefix}-{next(_numbers)}"


def policy(*statements: dict[str, Any]) -> str:
    """A policy document without principals."""
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)})


def allow(actions: str | list[str], *resources: str, **more: Any) -> dict[str, Any]:
    """One statement about resources that are named as `bucket` or `bucket/key`."""
    return {"Effect": "Allow", "Action": actions, "Resource": [_arn(one) for one in resources], **more}


def deny(actions: str | list[str], *resources: str, **more: Any) -> dict[str, Any]:
    return allow(actions, *resources, **more) | {"Effect": "Deny"}


def _arn(name: str) -> str:
    return name if name.startswith("arn:") else f"arn:aws:s3:::{name}"


def stocked_bucket(owner: Caller, prefix: str) -> str:
    """A new bucket of the owner's with the objects `in/k` and `out/k`."""
    name = new_name(prefix)
    owner.s3.create_bucket(Bucket=name)
    for key in ("in/k", "out/k"):
        owner.s3.put_object(Bucket=name, Key=key, Body=b"content")
    return name


def passed_on(caller: Caller, act: Callable[[], object]) -> list[str]:
    """The credentials that the proxy passes on to the directory while `act` runs."""
    seen: list[str] = []
    directory = caller.rig.directory
    call = directory.call

    def noted(what: Any, request: Any) -> Any:
        seen.append(str(getattr(request, "credential", "")))
        return call(what, request)

    with mock.patch.object(directory, "call", noted):
        act()
    return [one for one in seen if one]
