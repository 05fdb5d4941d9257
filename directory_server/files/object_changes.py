"""A change as `hooks.Feature.after_change` gets it: event, version and request.

It is complete, because the version may be gone when a feature uses it.
"""

from __future__ import annotations

from dataclasses import dataclass

from directory_server.people.person import Person
from lockstep_store.wire.digest import Digest
from lockstep_store.wire.messages.s3_access import FORM_OPERATION

LIFECYCLE = "lifecycle"
"""The operation and the author of changes that a bucket's lifecycle makes."""
_CREATED = {
    "CompleteMultipartUpload": "CompleteMultipartUpload",
    "CopyObject": "Copy",
    FORM_OPERATION: "Post",
}


@dataclass(frozen=True, slots=True)
class Cause:
    """The request that caused a change. Only the S3 door fills in every field."""

    account: str = ""
    operation: str = ""
    request_id: str = ""
    source_ip: str = ""


UNKNOWN = Cause()
BY_LIFECYCLE = Cause(LIFECYCLE, LIFECYCLE)


@dataclass(frozen=True, slots=True)
class ObjectChange:
    """A change to a version. `event` is S3's name without its `s3:`; without a digest there is no content."""

    event: str
    cause: Cause
    at: float
    bucket: str
    path: str
    version: str
    null_version: bool = False
    digest: Digest | None = None
    size: int = 0
    metadata: str = ""


def cause_of(person: Person) -> Cause:
    """Return the request behind a call."""
    access = person.access
    if access is None:
        return Cause(person.account)
    source = access.keys.get("aws:sourceip") or [""]
    return Cause(person.account, access.operation, access.request_id, source[0])


def created(kind: str, cause: Cause) -> str:
    """Return the event of a new version; `kind` is the journal's word for the change."""
    how = "Copy" if kind in ("copy", "move", "restore") else _CREATED.get(cause.operation, "Put")
    return f"ObjectCreated:{how}"


def removed(cause: Cause, *, by_marker: bool = False) -> str:
    """Return the event of a version that was removed, or hidden by a delete marker."""
    family = "LifecycleExpiration" if cause.operation == LIFECYCLE else "ObjectRemoved"
    return f"{family}:{'DeleteMarkerCreated' if by_marker else 'Delete'}"
