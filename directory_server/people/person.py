"""A person: the authenticated caller of a request."""

from __future__ import annotations

from dataclasses import dataclass, field

from lockstep_store.wire.messages.s3_access import S3Access


@dataclass(frozen=True, slots=True)
class Person:
    """`session` identifies the log-in or API key without its secret. `expires` is directory time, if it expires.

    `account` is empty for an anonymous S3 request. `access` describes the S3 request."""

    account: str
    admin: bool
    session: str
    expires: float | None = None
    access: S3Access | None = field(default=None, compare=False)
