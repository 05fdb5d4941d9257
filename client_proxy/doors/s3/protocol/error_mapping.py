"""Maps Lockstep's errors to S3's."""

from __future__ import annotations

from client_proxy.doors.s3.protocol.s3_errors import S3Error
from client_proxy.doors.s3.protocol.timestamps import write_time
from client_proxy.doors.s3.protocol.version_ids import NULL_VERSION
from lockstep_store.wire import errors as e

_PLAIN: tuple[tuple[type[e.LockstepError], str], ...] = (
    (e.BadDigest, "BadDigest"),
    (e.IncompleteBody, "IncompleteBody"),
    (e.LengthRequired, "MissingContentLength"),
    (e.TooLarge, "EntityTooLarge"),
    (e.BucketNotEmpty, "BucketNotEmpty"),
    (e.PreconditionFailed, "PreconditionFailed"),
    (e.Forbidden, "AccessDenied"),
    (e.MethodNotAllowed, "MethodNotAllowed"),
    (e.TooManyRequests, "SlowDown"),
    (e.Overloaded, "SlowDown"),
    (e.Unavailable, "ServiceUnavailable"),
    (e.Conflict, "OperationAborted"),
    (e.BadRequest, "InvalidRequest"),
)


def as_s3_error(error: e.LockstepError, *, version_asked: bool = False) -> S3Error:
    """The S3Error of `error`; one without a counterpart becomes InternalError with the same message."""
    if isinstance(error, e.NotFound) and not isinstance(error, e.MethodNotAllowed):
        return _not_found(error, version_asked)
    if isinstance(error, e.BadName):
        return _bad_name(error)
    if isinstance(error, e.NotLoggedIn):
        return _not_logged_in(error)
    if isinstance(error, e.AlreadyExists):
        code = "BucketAlreadyOwnedByYou" if error.facts.get("yours") else "BucketAlreadyExists"
        return S3Error(code, str(error))
    if isinstance(error, e.Locked):
        return _locked(error)
    if isinstance(error, e.LockStale):
        return S3Error("LockHeld", f"{error}; x-lockstep-lock must carry the number of a lock you hold now")
    if isinstance(error, e.Conflict) and error.facts.get("state"):
        return S3Error("InvalidBucketState", str(error))
    if isinstance(error, e.BadRequest) and "argument" in error.facts:
        return S3Error("InvalidArgument", str(error), ArgumentName=str(error.facts["argument"]))
    if "s3_code" in error.facts:
        return S3Error(str(error.facts["s3_code"]), str(error))
    if isinstance(error, e.RangeNotSatisfiable):
        return _no_such_range(error)
    for kind, code in _PLAIN:
        if isinstance(error, kind):
            headers = {"Retry-After": "1"} if isinstance(error, e.Unavailable) and error.can_retry else {}
            return S3Error(code, str(error), headers)
    return S3Error("InternalError", str(error))


def _not_found(error: e.NotFound, version_asked: bool) -> S3Error:
    facts = error.facts
    bucket, path = str(facts.get("bucket", "")), str(facts.get("path", ""))
    if "upload" in facts:
        return S3Error("NoSuchUpload", str(error), UploadId=str(facts["upload"]))
    if "path" not in facts and "version" not in facts:
        return S3Error("NoSuchBucket", str(error), BucketName=bucket)
    if facts.get("delete_marker"):
        version = NULL_VERSION if facts.get("null_version") else str(facts.get("version", ""))
        headers = {"x-amz-delete-marker": "true", "x-amz-version-id": version}
        if not version_asked:
            return S3Error("NoSuchKey", str(error), headers, Key=path)
        headers["Allow"] = "DELETE"
        if "deleted_at" in facts:
            headers["Last-Modified"] = write_time(facts["deleted_at"], "rfc822")
        return S3Error("MethodNotAllowed", str(error), headers, Method="GET", ResourceType="DeleteMarker")
    return S3Error("NoSuchVersion" if version_asked else "NoSuchKey", str(error), Key=path)


def _no_such_range(error: e.RangeNotSatisfiable) -> S3Error:
    size = str(error.facts.get("size", 0))
    return S3Error("InvalidRange", str(error), {"Content-Range": f"bytes */{size}"}, ActualObjectSize=size)


def _bad_name(error: e.BadName) -> S3Error:
    codes = {"bucket": "InvalidBucketName", "too_long": "KeyTooLongError"}
    return S3Error(codes.get(error.facts.get("reason", ""), "InvalidURI"), str(error))


def _not_logged_in(error: e.NotLoggedIn) -> S3Error:
    if error.facts.get("expired"):
        return S3Error("ExpiredToken", str(error))
    if error.facts.get("anonymous"):
        return S3Error("AccessDenied", "sign the request: this is not public")
    return S3Error("InvalidAccessKeyId", str(error))


def _locked(error: e.Locked) -> S3Error:
    """409, as S3 has no 423, with the holder and the end of the lock."""
    details = {
        name: str(error.facts[fact])
        for name, fact in (("Holder", "holder"), ("HolderClient", "client"), ("LockNumber", "lock_number"))
        if error.facts.get(fact)
    }
    until = error.facts.get("until_at")
    if isinstance(until, float) and until > 0:
        details["Until"] = write_time(until, "iso8601")
    return S3Error("LockHeld", str(error), {}, **details)
