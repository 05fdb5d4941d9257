"""Maps Lockstep's errors to S3's: one table, in which the first row that fits decides."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from client_proxy.doors.s3.protocol.s3_errors import S3Error
from client_proxy.doors.s3.protocol.timestamps import write_time
from client_proxy.doors.s3.protocol.version_ids import NULL_VERSION
from client_proxy.rate_limits.limiter import refusal_headers
from lockstep_store.wire import errors as e

Make = Callable[[str, e.LockstepError], S3Error]
"""Makes the S3Error of a row's code and an error."""
_VERSION_ASKED = "version_asked"


def as_s3_error(error: e.LockstepError, *, version_asked: bool = False) -> S3Error:
    """The S3Error of `error`; one without a counterpart becomes InternalError with the same message."""
    facts = {**error.facts, _VERSION_ASKED: version_asked}
    return next(row.make(row.code, error) for row in _TABLE if row.fits(error, facts))


def _plain(code: str, error: e.LockstepError) -> S3Error:
    headers = {"Retry-After": "1"} if isinstance(error, e.Unavailable) and error.can_retry else {}
    return S3Error(code, str(error), headers)


def _with(**elements: str) -> Make:
    """Adds facts of the error to the reply's XML: the element's name = the fact's."""

    def make(code: str, error: e.LockstepError) -> S3Error:
        details = {name: str(error.facts.get(fact, "")) for name, fact in elements.items()}
        return S3Error(code, str(error), {}, **details)

    return make


def _delete_marker(code: str, error: e.LockstepError) -> S3Error:
    facts = error.facts
    version = NULL_VERSION if facts.get("null_version") else str(facts.get("version", ""))
    headers = {"x-amz-delete-marker": "true", "x-amz-version-id": version}
    if code == "NoSuchKey":
        return S3Error(code, str(error), headers, Key=str(facts.get("path", "")))
    headers["Allow"] = "DELETE"
    if "deleted_at" in facts:
        headers["Last-Modified"] = write_time(facts["deleted_at"], "rfc822")
    return S3Error(code, str(error), headers, Method="GET", ResourceType="DeleteMarker")


def _bad_name(code: str, error: e.LockstepError) -> S3Error:
    codes = {"bucket": "InvalidBucketName", "too_long": "KeyTooLongError"}
    return S3Error(codes.get(error.facts.get("reason", ""), code), str(error))


def _not_signed(code: str, _: e.LockstepError) -> S3Error:
    return S3Error(code, "sign the request, or send an API key: this is not public")


def _locked(code: str, error: e.LockstepError) -> S3Error:
    """409, as S3 has no 423, with the holder and the end of the lock."""
    details = {
        name: str(error.facts[fact])
        for name, fact in (("Holder", "holder"), ("HolderClient", "client"), ("LockNumber", "lock_number"))
        if error.facts.get(fact)
    }
    until = error.facts.get("until_at")
    if isinstance(until, float) and until > 0:
        details["Until"] = write_time(until, "iso8601")
    return S3Error(code, str(error), {}, **details)


def _lock_stale(code: str, error: e.LockstepError) -> S3Error:
    return S3Error(code, f"{error}; x-lockstep-lock must carry the number of a lock you hold now")


def _slow_down(code: str, error: e.LockstepError) -> S3Error:
    limits = dict(refusal_headers(error)) if isinstance(error, e.RateLimited) else {}
    return S3Error(code, str(error), {"Retry-After": str(error.facts.get("retry_after", 1))} | limits)


def _over_quota(code: str, error: e.LockstepError) -> S3Error:
    """S3 has a code of its own for buckets only. The other is the one that Ceph answers, which clients know."""
    facts = error.facts
    if facts.get("resource") == "buckets":
        return S3Error("TooManyBuckets", str(error))
    details = {"Quota": "resource", "Allowed": "allowed", "Wanted": "wanted"}
    return S3Error(code, str(error), {}, **{name: str(facts.get(fact, "")) for name, fact in details.items()})


def _named_by_directory(_: str, error: e.LockstepError) -> S3Error:
    return S3Error(str(error.facts["s3_code"]), str(error))


def _no_such_range(code: str, error: e.LockstepError) -> S3Error:
    size = str(error.facts.get("size", 0))
    return S3Error(code, str(error), {"Content-Range": f"bytes */{size}"}, ActualObjectSize=size)


class _Row(NamedTuple):
    """Errors of `kind` that have all these `facts`, and their S3 code."""

    kind: type[e.LockstepError]
    facts: tuple[str, ...]
    code: str
    make: Make = _plain

    def fits(self, error: e.LockstepError, facts: dict[str, object]) -> bool:
        return isinstance(error, self.kind) and all(facts.get(fact) for fact in self.facts)


_TABLE = (
    _Row(e.MethodNotAllowed, (), "MethodNotAllowed"),
    _Row(e.NotFound, ("upload",), "NoSuchUpload", _with(UploadId="upload")),
    _Row(e.NotFound, ("delete_marker", _VERSION_ASKED), "MethodNotAllowed", _delete_marker),
    _Row(e.NotFound, ("delete_marker",), "NoSuchKey", _delete_marker),
    _Row(e.NotFound, ("path", _VERSION_ASKED), "NoSuchVersion", _with(Key="path")),
    _Row(e.NotFound, ("version", _VERSION_ASKED), "NoSuchVersion", _with(Key="path")),
    _Row(e.NotFound, ("path",), "NoSuchKey", _with(Key="path")),
    _Row(e.NotFound, ("version",), "NoSuchKey", _with(Key="path")),
    _Row(e.NotFound, (), "NoSuchBucket", _with(BucketName="bucket")),
    _Row(e.NotLoggedIn, ("expired",), "ExpiredToken"),
    _Row(e.NotLoggedIn, ("anonymous",), "AccessDenied", _not_signed),
    _Row(e.NotLoggedIn, (), "InvalidAccessKeyId"),
    _Row(e.Forbidden, (), "AccessDenied"),
    _Row(e.AlreadyExists, ("yours",), "BucketAlreadyOwnedByYou"),
    _Row(e.AlreadyExists, (), "BucketAlreadyExists"),
    _Row(e.BucketNotEmpty, (), "BucketNotEmpty"),
    _Row(e.Locked, (), "LockHeld", _locked),
    _Row(e.LockStale, (), "LockHeld", _lock_stale),
    _Row(e.Conflict, ("state",), "InvalidBucketState"),
    _Row(e.Conflict, (), "OperationAborted"),
    _Row(e.BadName, (), "InvalidURI", _bad_name),
    _Row(e.BadRequest, ("argument",), "InvalidArgument", _with(ArgumentName="argument")),
    _Row(e.BadRequest, ("s3_code",), "", _named_by_directory),
    _Row(e.BadDigest, (), "BadDigest"),
    _Row(e.IncompleteBody, (), "IncompleteBody"),
    _Row(e.LengthRequired, (), "MissingContentLength"),
    _Row(e.TooLarge, (), "EntityTooLarge"),
    _Row(e.BadRequest, (), "InvalidRequest"),
    _Row(e.RangeNotSatisfiable, (), "InvalidRange", _no_such_range),
    _Row(e.PreconditionFailed, (), "PreconditionFailed"),
    _Row(e.QuotaExceeded, (), "QuotaExceeded", _over_quota),
    _Row(e.TooManyRequests, (), "SlowDown", _slow_down),
    _Row(e.Overloaded, (), "SlowDown"),
    _Row(e.Unavailable, (), "ServiceUnavailable"),
    _Row(e.LockstepError, (), "InternalError"),
)
