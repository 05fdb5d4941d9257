"""PostPolicy: what the signer of a form upload's policy allows its sender to fill in.

A policy is JSON in base64 with an expiration and conditions. Every field of the form must match a condition, except
those that carry the policy itself. Source: the API reference, "Browser-based uploads using POST".
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from client_proxy.doors.s3.protocol.s3_errors import S3Error
from client_proxy.doors.s3.protocol.timestamps import read_time

MAX_CONDITIONS = 1000
_UNCOVERED = frozenset({"x-amz-signature", "file", "policy", "awsaccesskeyid", "signature", "submit"})
_IGNORED_PREFIX = "x-ignore-"


@dataclass(frozen=True)
class FormCondition:
    """The field `field` (in lower case) must be `value`, or begin with it."""

    field: str
    value: str
    is_prefix: bool

    def holds(self, text: str) -> bool:
        if not self.is_prefix:
            return text == self.value
        if self.field == "content-type":  # every type of a list must match
            return all(part.strip().startswith(self.value) for part in text.split(","))
        return text.startswith(self.value)

    def __str__(self) -> str:
        return json.dumps(["starts-with" if self.is_prefix else "eq", f"${self.field}", self.value])


@dataclass(frozen=True)
class PostPolicy:
    """A parsed policy. `expires` in seconds since 1970; content has `smallest` to `largest` bytes (None: no limit)."""

    expires: float
    conditions: tuple[FormCondition, ...]
    smallest: int = 0
    largest: int | None = None

    def check(self, fields: Mapping[str, str], now: float) -> None:
        """Raise S3Error AccessDenied when the policy has expired, a condition fails, or a field has no condition.

        `fields` by lower-case name, among them `bucket` as addressed and `key` as it will be.
        """
        if now >= self.expires:
            raise _denied("Policy expired.")
        for condition in self.conditions:
            if condition.field.startswith(_IGNORED_PREFIX):
                continue
            if not condition.holds(fields.get(condition.field, "")):
                raise _denied(f"Policy Condition failed: {condition}")
        covered = {condition.field for condition in self.conditions} | _UNCOVERED
        extra = sorted(name for name in fields if name not in covered and not name.startswith(_IGNORED_PREFIX))
        if extra:
            raise _denied(f"Extra input fields: {', '.join(extra)[:500]}")


def read_policy(text: str) -> PostPolicy:
    """The policy in a form's field. S3Error InvalidPolicyDocument for one that cannot be read."""
    try:
        document = json.loads(base64.b64decode(text, validate=True))
    except (binascii.Error, ValueError, RecursionError) as error:
        raise _invalid("it is not JSON in base64") from error
    if not isinstance(document, dict):
        raise _invalid("it is not a JSON object")
    # Names are compared without case: clients differ.
    by_name = {str(name).lower(): value for name, value in document.items()}
    expiration, conditions = by_name.get("expiration"), by_name.get("conditions")
    if not isinstance(expiration, str):
        raise _invalid("it lacks an expiration")
    if not isinstance(conditions, list) or not conditions or len(conditions) > MAX_CONDITIONS:
        raise _invalid(f"it needs a list of 1 to {MAX_CONDITIONS} conditions")
    try:
        expires = read_time(expiration)
    except ValueError as error:
        raise _invalid("its expiration must be a time such as 2026-12-01T12:00:00.000Z") from error
    found: list[FormCondition] = []
    smallest, largest = 0, None
    for condition in conditions:
        if isinstance(condition, list) and condition and str(condition[0]).lower() == "content-length-range":
            smallest, largest = _range(condition)
        else:
            found.extend(_conditions(condition))
    return PostPolicy(expires, tuple(found), smallest, largest)


def _conditions(condition: Any) -> list[FormCondition]:
    if isinstance(condition, dict) and condition:
        if not all(isinstance(value, str) for value in condition.values()):
            raise _invalid("the value of a condition must be text")
        return [FormCondition(name.lower(), value, False) for name, value in condition.items()]
    if isinstance(condition, list) and len(condition) == 3 and all(isinstance(part, str) for part in condition):
        how, field, value = condition
        if how.lower() in ("eq", "starts-with") and field.startswith("$"):
            return [FormCondition(field[1:].lower(), value, how.lower() == "starts-with")]
    raise _invalid(f"{json.dumps(condition)[:200]} is not a condition")


def _range(condition: list[Any]) -> tuple[int, int]:
    try:
        smallest, largest = (int(part) for part in condition[1:] if not isinstance(part, bool | float))
    except (TypeError, ValueError) as error:
        raise _invalid("content-length-range needs two whole numbers") from error
    if not 0 <= smallest <= largest:
        raise _invalid("the second size of content-length-range must not be smaller than the first")
    return smallest, largest


def _denied(why: str) -> S3Error:
    return S3Error("AccessDenied", f"Invalid according to Policy: {why}")


def _invalid(why: str) -> S3Error:
    return S3Error("InvalidPolicyDocument", f"Invalid Policy: {why}")
