"""Every refusal Lockstep knows, its code, its HTTP status, and whether trying again can help.

::

    LockstepError
    ├── BadRequest                 the request itself is wrong; sending it again cannot help
    │   ├── BadName                a path or bucket name that is refused
    │   ├── BadDigest              bytes that do not match the digest they were sent under
    │   ├── IncompleteBody         a body cut short, longer than declared, or without an end
    │   ├── LengthRequired         a body without a declared length on a door that needs one
    │   ├── TooLarge               over a documented bound
    │   ├── UnsupportedMediaType   a body of a content type that this address does not take
    │   └── ExpectationFailed      an Expect header that the server cannot meet
    ├── NotLoggedIn                no credential, or one that is wrong, expired or revoked
    ├── Forbidden                  known person, not allowed
    ├── PeerRefused                a program without a valid peer token for this call
    ├── NotFound                   no such path, version, bucket, lock, blob
    │   └── MethodNotAllowed       the address exists, not with this method
    ├── Conflict                   the current state does not allow it
    │   ├── AlreadyExists          a bucket or account of that name
    │   ├── BucketNotEmpty
    │   ├── LockStale              the lock number is not, or no longer, the path's lock
    │   ├── Deadlock               waiting would close a cycle, which the message names
    │   └── TicketRefused          a ticket that is altered, expired, superseded or for something else
    ├── PreconditionFailed         If-Match or If-None-Match did not hold
    ├── NotModified                the reader's copy is the current one
    ├── RangeNotSatisfiable
    ├── Locked                     someone else holds the lock; says who and until when
    ├── TooManyRequests
    ├── MissingChunks              the receiver lacks chunks that were sent without bytes; names them
    ├── TargetUnusable             a notification target that can never be reached as it is named
    ├── Unavailable                temporary; a retry can succeed
    │   ├── TooFewHolders          the promised copies cannot be made
    │   ├── StorageFull
    │   ├── PeerUnreachable        connection refused, cut, or timed out between programs
    │   ├── Undecided              the outcome is unknown: check the state before a retry
    │   └── Overloaded
    ├── Damaged                    stored bytes failed their check
    │   └── DamagedChunk
    ├── StorageFormatError         data on disk of a version this program does not know
    ├── SetupError                 a program cannot start; the message says what to do
    └── InternalError              a defect in Lockstep

One handler encodes them (`to_problem`), the caller decodes them to the same class (`from_problem`).
"""

from __future__ import annotations

from typing import Any, ClassVar

import msgspec


class Problem(msgspec.Struct, omit_defaults=True):
    """RFC 9457 problem details: the JSON body of every refusal."""

    code: str
    status: int
    detail: str
    title: str = ""
    type: str = "about:blank"
    request_id: str = ""
    retry: bool = False
    facts: dict[str, Any] = {}


class LockstepError(Exception):
    """Base of every refusal. `facts` are the machine-readable details, such as a lock's holder."""

    code: ClassVar[str] = "error"
    status: ClassVar[int] = 500
    title: ClassVar[str] = "Error"
    can_retry: ClassVar[bool] = False

    def __init__(self, detail: str, **facts: Any) -> None:
        super().__init__(detail)
        self.detail = detail
        self.facts = facts

    def __str__(self) -> str:
        return self.detail


class BadRequest(LockstepError):
    """The request itself is wrong; sending it again cannot help."""

    code, status, title = "bad_request", 400, "Bad request"


class BadName(BadRequest):
    code, title = "bad_name", "Name refused"


class BadDigest(BadRequest):
    code, title = "bad_digest", "Content does not match its digest"


class IncompleteBody(BadRequest):
    code, title = "incomplete_body", "Body is not what was declared"


class LengthRequired(BadRequest):
    code, status, title = "length_required", 411, "Length required"


class TooLarge(BadRequest):
    code, status, title = "too_large", 413, "Too large"


class UnsupportedMediaType(BadRequest):
    code, status, title = "unsupported_media_type", 415, "Unsupported media type"


class ExpectationFailed(BadRequest):
    code, status, title = "expectation_failed", 417, "Expectation failed"


class NotLoggedIn(LockstepError):
    """No credential, or one that is wrong, expired or revoked."""

    code, status, title = "not_logged_in", 401, "Log in first"


class Forbidden(LockstepError):
    """The account may not do this."""

    code, status, title = "forbidden", 403, "Not allowed"


class PeerRefused(LockstepError):
    code, status, title = "peer_refused", 403, "Program refused"


class NotFound(LockstepError):
    """No such path, version, bucket, lock or blob."""

    code, status, title = "not_found", 404, "Not found"


class MethodNotAllowed(NotFound):
    code, status, title = "method_not_allowed", 405, "Method not allowed"


class Conflict(LockstepError):
    """The state of the cluster does not allow it."""

    code, status, title = "conflict", 409, "Conflict"


class AlreadyExists(Conflict):
    """A bucket or account of that name exists."""

    code, title = "already_exists", "Already exists"


class BucketNotEmpty(Conflict):
    code, title = "bucket_not_empty", "Bucket is not empty"


class LockStale(Conflict):
    """The lock number is no longer (or never was) the path's lock."""

    code, title = "lock_stale", "Lock number is not current"


class Deadlock(Conflict):
    """Waiting would close a cycle, which the message names."""

    code, title = "deadlock", "Waiting would never end"


class TicketRefused(Conflict):
    code, title = "ticket_refused", "Write ticket refused"


class PreconditionFailed(LockstepError):
    """If-Match or If-None-Match does not hold."""

    code, status, title = "precondition_failed", 412, "Precondition failed"


class NotModified(LockstepError):
    code, status, title = "not_modified", 304, "Not modified"


class RangeNotSatisfiable(LockstepError):
    code, status, title = "range_not_satisfiable", 416, "Range not satisfiable"


class Locked(LockstepError):
    """Somebody else holds the lock; the message says who and until when."""

    code, status, title = "locked", 423, "Locked by someone else"
    can_retry = True


class TooManyRequests(LockstepError):
    code, status, title = "too_many_requests", 429, "Too many attempts"
    can_retry = True


class MissingChunks(LockstepError):
    """`facts["digests"]` lists the chunks to send with their bytes, at most 100,000."""

    code, status, title = "missing_chunks", 409, "Chunks are needed"
    can_retry = True


class TargetUnusable(LockstepError):
    """The notification target must be changed first, here or where it is."""

    code, status, title = "target_unusable", 424, "Notification target cannot be used"


class Unavailable(LockstepError):
    """Not now; trying again can help."""

    code, status, title = "unavailable", 503, "Not available now"
    can_retry = True


class TooFewHolders(Unavailable):
    code, title = "too_few_holders", "Too few file servers"


class StorageFull(Unavailable):
    code, status, title = "storage_full", 507, "Storage is full"


class PeerUnreachable(Unavailable):
    """A connection was refused, cut, or timed out."""

    code, title = "peer_unreachable", "A program of the cluster cannot be reached"


class Starting(Unavailable):
    code, title = "starting", "Starting"


class OutOfDate(Unavailable):
    code, title = "out_of_date", "The directory's metadata is out of date"
    can_retry = False


class Undecided(Unavailable):
    """It may have been done or may still be: look before trying again."""

    code, title = "undecided", "It may have been done"
    can_retry = False


class Overloaded(Unavailable):
    code, title = "overloaded", "Too busy"


class Damaged(LockstepError):
    code, status, title = "damaged", 500, "Stored bytes are damaged"


class DamagedChunk(Damaged):
    code, title = "damaged_chunk", "A stored chunk is damaged"
    can_retry = True


class StorageFormatError(LockstepError):
    code, status, title = "storage_format", 500, "Unknown storage format"


class SetupError(LockstepError):
    """A program or client cannot start; the message says what to do."""

    code, status, title = "setup", 500, "Cannot start"


class InternalError(LockstepError):
    code, status, title = "internal", 500, "Internal error"


def _walk(cls: type[LockstepError]) -> list[type[LockstepError]]:
    return [cls, *(deeper for sub in cls.__subclasses__() for deeper in _walk(sub))]


BY_CODE: dict[str, type[LockstepError]] = {cls.code: cls for cls in _walk(LockstepError)}


def to_problem(error: LockstepError, request_id: str = "") -> Problem:
    """The body that tells a caller about `error`."""
    return Problem(
        code=error.code,
        status=error.status,
        title=error.title,
        detail=error.detail,
        request_id=request_id,
        retry=error.can_retry,
        facts=error.facts,
    )


def from_problem(problem: Problem) -> LockstepError:
    """The same class of error the other program raised; an unknown code becomes its plain base."""
    cls = BY_CODE.get(problem.code)
    if cls is None:
        cls = Unavailable if problem.status in (502, 503, 504) else LockstepError
    return cls(problem.detail, **problem.facts)
