"""Conditions of reads, writes and copies: ETags and times.

Conditions of reads and of copy sources are judged here. Conditions of writes become preconditions that the directory
checks inside its commit.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

from client_proxy.core.requests import Stat
from client_proxy.doors.s3.objects.object_metadata import etag_of
from client_proxy.doors.s3.protocol.parameters import Values
from client_proxy.doors.s3.protocol.s3_errors import S3Error
from lockstep_store.runtime.http.conditions import parse_tags
from lockstep_store.wire.errors import BadRequest, NotFound, NotModified
from lockstep_store.wire.messages.files import NO_PRECONDITIONS, FileVersion, Preconditions

ANY = ["*"]
_OF_SOURCE = "x-amz-copy-source-"


class VersionLookup(Protocol):
    """The file store as conditions use it."""

    def stat(self, request: Stat) -> FileVersion: ...


class WriteConditions(NamedTuple):
    """The lock that a write needs, and what must be true of the current version when it commits."""

    lock_number: int | None = None
    if_match: str | None = None
    if_none_match: str | None = None


class Conditions(NamedTuple):
    """Conditions on a version: ETags as the headers have them, times in seconds since 1970."""

    if_match: str | None = None
    if_none_match: str | None = None
    modified_since: float | None = None
    unmodified_since: float | None = None

    @classmethod
    def of(cls, values: Values, prefix: str = "") -> Conditions:
        """The conditions among a call's parameters whose names begin with `prefix`, such as CopySource."""
        names = ("IfMatch", "IfNoneMatch", "IfModifiedSince", "IfUnmodifiedSince")
        return cls(*(values.get(prefix + name) for name in names))


def check_read(version: FileVersion, conditions: Conditions, prefix: str = "") -> None:
    """Raise NotModified, or S3Error PreconditionFailed, when a reader's condition fails.

    An ETag takes precedence over a time (RFC 9110, 13.2.2, and the API reference).
    """
    if_match, if_none_match, modified_since, unmodified_since = conditions
    etag = etag_of(version)
    if if_match is not None:
        if not _matches(if_match, etag):
            raise failed(f"{prefix}If-Match")
    elif unmodified_since is not None and int(version.created_at) > unmodified_since:
        raise failed(f"{prefix}If-Unmodified-Since")
    if if_none_match is not None:
        if _matches(if_none_match, etag):
            raise NotModified("the reader has this version")
    elif modified_since is not None and int(version.created_at) <= modified_since:
        raise NotModified("the reader has this version")


def check_copy_source(version: FileVersion, conditions: Conditions) -> None:
    """Raise PreconditionFailed when a condition on a copy's source fails, 'not modified' included."""
    try:
        check_read(version, conditions, _OF_SOURCE)
    except NotModified:
        name = "If-Modified-Since" if conditions.if_none_match is None else "If-None-Match"
        raise failed(f"{_OF_SOURCE}{name}") from None


def name_condition(error: S3Error, values: Values) -> S3Error:
    """Return `error` with the name of the write's condition that failed, by which clients decide."""
    if error.code == "PreconditionFailed":
        error.details.setdefault("Condition", "If-None-Match" if "IfNoneMatch" in values else "If-Match")
    return error


def write_preconditions(
    files: VersionLookup, credential: str, bucket: str, path: str, conditions: WriteConditions
) -> Preconditions:
    """Return the conditions that the commit of a write must check."""
    if_match, if_none_match = conditions.if_match, conditions.if_none_match
    if if_match is None and if_none_match is None:
        return NO_PRECONDITIONS
    current = None if if_match is None else current_version(files, credential, bucket, path)
    return for_commit(if_match, if_none_match, current)


def for_commit(if_match: str | None, if_none_match: str | None, current: FileVersion | None) -> Preconditions:
    """Return what a commit must check. `current` is the path's current version, which If-Match needs.

    The directory compares digests, not ETags. So If-Match is judged against `current`, and the commit then requires
    that this version is still the current one.
    """
    if if_match is None and if_none_match is None:
        return NO_PRECONDITIONS
    if if_none_match is not None and if_none_match.strip() != "*":
        raise S3Error("NotImplemented", "the If-None-Match of a write must be *")
    if if_match is None:
        return Preconditions(if_none_match=ANY)
    if current is None:
        raise S3Error("NoSuchKey", "there is no such key, so If-Match cannot be met")
    if not _matches(if_match, etag_of(current)):
        raise failed("If-Match")
    return Preconditions(if_version=current.version, if_none_match=ANY if if_none_match else None)


def current_version(files: VersionLookup, credential: str, bucket: str, path: str) -> FileVersion | None:
    """Return the path's current version; None when there is no such path.

    Forbidden for people who may not read it: a condition on a version they cannot see would be a way to guess it.
    """
    try:
        return files.stat(Stat(credential, bucket, path, reads_content=True))
    except NotFound as error:
        if "path" not in error.facts:
            raise
        return None


def check_size_and_time(version: FileVersion, size: int | None, modified_at: float | None) -> None:
    """S3Error PreconditionFailed when `version` is not of that size (bytes) or time (to the second)."""
    if size is not None and version.size != size:
        raise failed("x-amz-if-match-size")
    if modified_at is not None and int(version.created_at) != int(modified_at):
        raise failed("x-amz-if-match-last-modified-time")


def failed(condition: str) -> S3Error:
    """Return the 412 error that names the failed condition."""
    return S3Error("PreconditionFailed", "a condition of the request is not met", Condition=condition)


def _matches(header: str, etag: str) -> bool:
    try:
        tags = parse_tags(header, "If-Match")
    except BadRequest:  # as in S3, malformed tags match nothing
        return False
    return tags is None or any(tag.text == etag for tag in tags)
