"""What a change was to whoever follows changes: which kind of event, to which version, and who asked how.

Said inside the change's own transaction with `tx.tell`, because afterwards the version may be gone.
"""

from __future__ import annotations

from dataclasses import dataclass

from directory_server.people.person import Person
from lockstep_store.wire.digest import Digest
from lockstep_store.wire.messages.s3_access import FORM_OPERATION

LIFECYCLE = "lifecycle"
"""The operation, and the author, of what a bucket's lifecycle does."""
_CREATED = {
    "CompleteMultipartUpload": "CompleteMultipartUpload",
    "CopyObject": "Copy",
    FORM_OPERATION: "Post",
}


@dataclass(frozen=True, slots=True)
class Cause:
    """Who asked for a change and how, as far as the call says: only the S3 door tells everything."""

    account: str = ""
    operation: str = ""
    request_id: str = ""
    source_ip: str = ""


UNKNOWN = Cause()
BY_LIFECYCLE = Cause(LIFECYCLE, LIFECYCLE)


@dataclass(frozen=True, slots=True)
class ObjectChange:
    """`event` is S3's name without its `s3:`. `metadata` as stored; without a digest there is no content."""

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
    """The request behind a call."""
    access = person.access
    if access is None:
        return Cause(person.account)
    source = access.keys.get("aws:sourceip") or [""]
    return Cause(person.account, access.operation, access.request_id, source[0])


def created(kind: str, cause: Cause) -> str:
    """The event of a new version; `kind` is what the journal calls the change."""
    how = "Copy" if kind in ("copy", "move", "restore") else _CREATED.get(cause.operation, "Put")
    return f"ObjectCreated:{how}"


def removed(cause: Cause, *, by_marker: bool = False) -> str:
    """The event of a version that is gone, or hidden behind a delete marker."""
    family = "LifecycleExpiration" if cause.operation == LIFECYCLE else "ObjectRemoved"
    return f"{family}:{'DeleteMarkerCreated' if by_marker else 'Delete'}"
