"""Every error of Lockstep, with its code, its HTTP status, and whether a retry can help.

::

    LockstepError
    ├── BadRequest                 the request is invalid; a retry cannot help
    │   ├── BadName                the path, bucket or user name is invalid
    │   ├── BadDigest              the bytes do not match their digest
    │   ├── IncompleteBody         the body is shorter or longer than declared, or lacks its end
    │   ├── LengthRequired         the body's length must be declared
    │   ├── TooLarge               over a documented limit
    │   ├── UnsupportedMediaType   the address does not accept this content type
    │   └── ExpectationFailed      the server cannot meet the Expect header
    ├── NotLoggedIn                the credential is missing, wrong, expired or revoked
    │   └── SecondFactorNeeded     the password is right, but a code of the second factor is needed
    ├── Forbidden                  the account is not allowed to do this
    ├── PeerRefused                the calling program has no valid peer token for this call
    ├── NotFound                   no such path, version, bucket, lock or blob
    │   └── MethodNotAllowed       the address exists, but not with this method
    ├── Conflict                   the current state does not allow it
    │   ├── AlreadyExists          a bucket or account of that name exists
    │   ├── BucketNotEmpty
    │   ├── LockStale              the lock number is not the current one of the path
    │   ├── Deadlock               waiting would close a cycle, which the message names
    │   └── TicketRefused          the ticket is altered, expired, superseded or for another write
    ├── PreconditionFailed         If-Match or If-None-Match is not met
    ├── NotModified                the reader's copy is current
    ├── RangeNotSatisfiable
    ├── Locked                     another client holds the lock; the message says who and until when
    ├── TooManyRequests            wrong passwords, or more than a rate limit allows
    │   └── RateLimited            more requests than the proxy's rate limits allow; nothing was done
    ├── QuotaExceeded              an account or bucket may have no more of something
    ├── MissingChunks              the receiver lacks chunks that were sent without bytes, and lists them
    ├── TargetUnusable             the notification target cannot be reached as configured
    ├── Unavailable                temporary; a retry can succeed
    │   ├── TooFewHolders          the required copies cannot be made
    │   ├── StorageFull
    │   ├── PeerUnreachable        a connection between programs was refused, cut or timed out
    │   ├── Starting               the program is not ready yet
    │   │   └── StandingBy         another directory server is active, or this one cannot know that it is
    │   ├── OutOfDate              the directory's metadata is older than what file servers know
    │   ├── Undecided              the outcome is unknown: check the state before a retry
    │   └── Overloaded
    ├── Damaged                    stored bytes failed their check
    │   └── DamagedChunk
    ├── StorageFormatError         this program does not know the version of the data on disk
    ├── SetupError                 a program cannot start; the message says what to do
    └── InternalError              a defect in Lockstep

The server encodes an error in one place (`to_problem`), and the caller decodes it to the same class (`from_problem`).
"""

from __future__ import annotations

from typing import Any, ClassVar

import msgspec


class Problem(msgspec.Struct, omit_defaults=True):
    """RFC 9457 problem details: the JSON body of every error reply."""

    code: str
    status: int
    detail: str
    title: str = ""
    type: str = "about:blank"
    request_id: str = ""
    retry: bool = False
    facts: dict[str, Any] = {}


class LockstepError(Exception):
    """Base of every error. `facts` are machine-readable details, such as a lock's holder."""

    code: ClassVar[str] = "error"
    status: ClassVar[int] = 500
    title: ClassVar[str] = "Error"
    type: ClassVar[str] = "about:blank"
    """The problem type of RFC 9457. Clients decide by `code`; a type is named where a standard has one."""
    can_retry: ClassVar[bool] = False

    def __init__(self, detail: str, **facts: Any) -> None:
        super().__init__(detail)
        self.detail = detail
        self.facts = facts

    def __str__(self) -> str:
        return self.detail


class BadRequest(LockstepError):
    """The request is invalid; a retry cannot help."""

    code, status, title = "bad_request", 400, "Bad request"


class BadName(BadRequest):
    """A name is invalid. `facts["reason"]` is `bucket` for a bucket's name, `too_long` for a path over the limit."""

    code, title = "bad_name", "Invalid name"


class BadDigest(BadRequest):
    code, title = "bad_digest", "Content does not match its digest"


class IncompleteBody(BadRequest):
    code, title = "incomplete_body", "Incomplete body"


class LengthRequired(BadRequest):
    code, status, title = "length_required", 411, "Length required"


class TooLarge(BadRequest):
    code, status, title = "too_large", 413, "Too large"


class UnsupportedMediaType(BadRequest):
    code, status, title = "unsupported_media_type", 415, "Unsupported media type"


class ExpectationFailed(BadRequest):
    code, status, title = "expectation_failed", 417, "Expectation failed"


class NotLoggedIn(LockstepError):
    """The credential is missing, wrong, expired or revoked."""

    code, status, title = "not_logged_in", 401, "Not logged in"


class SecondFactorNeeded(NotLoggedIn):
    """The password is right, but a code of the account's second factor is needed with it.

    `facts["reason"]` is `missing`, `wrong` or `used` for the code, and `enrol` for an account that must set up a second
    factor before it can log in.
    """

    code, title = "second_factor_needed", "Second factor needed"


class Forbidden(LockstepError):
    """The account is not allowed to do this."""

    code, status, title = "forbidden", 403, "Not allowed"


class PeerRefused(LockstepError):
    code, status, title = "peer_refused", 403, "Program rejected"


class NotFound(LockstepError):
    """No such path, version, bucket, lock or blob."""

    code, status, title = "not_found", 404, "Not found"


class MethodNotAllowed(NotFound):
    code, status, title = "method_not_allowed", 405, "Method not allowed"


class Conflict(LockstepError):
    """The current state does not allow the request."""

    code, status, title = "conflict", 409, "Conflict"


class AlreadyExists(Conflict):
    """A bucket or account with that name already exists."""

    code, title = "already_exists", "Already exists"


class BucketNotEmpty(Conflict):
    code, title = "bucket_not_empty", "Bucket is not empty"


class LockStale(Conflict):
    """The lock number is no longer the path's current one."""

    code, title = "lock_stale", "Stale lock number"


class Deadlock(Conflict):
    """Waiting would close a cycle, which the message names."""

    code, title = "deadlock", "Deadlock"


class TicketRefused(Conflict):
    code, title = "ticket_refused", "Write ticket rejected"


class PreconditionFailed(LockstepError):
    """If-Match or If-None-Match is not met."""

    code, status, title = "precondition_failed", 412, "Precondition failed"


class NotModified(LockstepError):
    code, status, title = "not_modified", 304, "Not modified"


class RangeNotSatisfiable(LockstepError):
    code, status, title = "range_not_satisfiable", 416, "Range not satisfiable"


class Locked(LockstepError):
    """Another client holds the lock; the message says who and until when."""

    code, status, title = "locked", 423, "Locked by someone else"
    can_retry = True


class TooManyRequests(LockstepError):
    code, status, title = "too_many_requests", 429, "Too many attempts"
    can_retry = True


class RateLimited(TooManyRequests):
    """A rate limit allows no more requests for now; nothing was done.

    Facts: `policy`, its `limit` in `window_seconds`, `retry_after` in seconds, and `violated-policies`, as
    draft-ietf-httpapi-ratelimit-headers-11 names it.
    """

    code, title = "rate_limited", "Too many requests"
    type = "https://iana.org/assignments/http-problem-types#quota-exceeded"


class QuotaExceeded(LockstepError):
    """An account or bucket may have no more of something; nothing was done.

    Facts: `scope`, `name`, `resource`, what was `wanted` in all, and what is `allowed`.
    """

    code, status, title = "quota_exceeded", 507, "Over quota"


class MissingChunks(LockstepError):
    """Chunks are needed with their bytes: `facts["digests"]` lists them, at most 100,000."""

    code, status, title = "missing_chunks", 409, "Missing chunks"
    can_retry = True


class TargetUnusable(LockstepError):
    """The notification target cannot be reached as configured; a retry cannot help until it is changed."""

    code, status, title = "target_unusable", 424, "Notification target is unusable"


class Unavailable(LockstepError):
    """A temporary failure; a retry can succeed."""

    code, status, title = "unavailable", 503, "Temporarily unavailable"
    can_retry = True


class TooFewHolders(Unavailable):
    code, title = "too_few_holders", "Too few file servers"


class StorageFull(Unavailable):
    code, status, title = "storage_full", 507, "Storage is full"


class PeerUnreachable(Unavailable):
    """A connection between programs was refused, cut or timed out."""

    code, title = "peer_unreachable", "Server unreachable"


class Starting(Unavailable):
    code, title = "starting", "Starting"


class StandingBy(Starting):
    """Only the active directory server does anything: nothing was done, and another one may answer."""

    code, title = "standing_by", "This directory server is not the active one"


class OutOfDate(Unavailable):
    code, title = "out_of_date", "The directory's metadata is out of date"
    can_retry = False


class Undecided(Unavailable):
    """The request may have been carried out, or may still be: check the state before a retry."""

    code, title = "undecided", "Outcome unknown"
    can_retry = False


class Overloaded(Unavailable):
    code, title = "overloaded", "Too busy"


class Damaged(LockstepError):
    code, status, title = "damaged", 500, "Stored data is damaged"


class DamagedChunk(Damaged):
    code, title = "damaged_chunk", "Stored chunk is damaged"
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
    """Return the body of the error reply for `error`."""
    return Problem(
        code=error.code,
        status=error.status,
        title=error.title,
        type=error.type,
        detail=error.detail,
        request_id=request_id,
        retry=error.can_retry,
        facts=error.facts,
    )


def from_problem(problem: Problem) -> LockstepError:
    """Return an error of the class that the other program raised; the base class for an unknown code."""
    cls = BY_CODE.get(problem.code)
    if cls is None:
        cls = Unavailable if problem.status in (502, 503, 504) else LockstepError
    return cls(problem.detail, **problem.facts)
