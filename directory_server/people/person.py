"""A person as the rules see one: whoever stands behind a credential."""

from __future__ import annotations

from dataclasses import dataclass, field

from lockstep_store.wire.messages.s3_access import S3Access


@dataclass(frozen=True, slots=True)
class Person:
    """`session` names the log-in or API key, without being its secret. `expires` is directory time, if it ends.

    `account` is empty for an anonymous S3 request. `access` is what the S3 door said of the request."""

    account: str
    admin: bool
    session: str
    expires: float | None = None
    access: S3Access | None = field(default=None, compare=False)
