"""Conditions of reads, writes and copies, in S3's terms: ETags and times, judged here or made into what the directory
checks inside its commit.
"""

from __future__ import annotations

from typing import NamedTuple

from client_proxy.doors.s3.objects.object_metadata import etag_of
from client_proxy.doors.s3.protocol.parameters import Values
from client_proxy.doors.s3.protocol.s3_errors import S3Error
from lockstep_store.runtime.http.conditions import parse_tags
from lockstep_store.wire.errors import BadRequest
from lockstep_store.wire.messages.files import NO_PRECONDITIONS, FileVersion, Preconditions

ANY = ["*"]


class NotModified(Exception):
    """The reader has this version already (304)."""


class Conditions(NamedTuple):
    """What a request asks of a version: ETags as its headers have them, times in seconds since 1970."""

    if_match: str | None = None
    if_none_match: str | None = None
    modified_since: float | None = None
    unmodified_since: float | None = None

    @classmethod
    def of(cls, values: Values, prefix: str = "") -> Conditions:
        """Those among a call's parameters whose names begin with `prefix`, as CopySourceIfMatch does."""
        names = ("IfMatch", "IfNoneMatch", "IfModifiedSince", "IfUnmodifiedSince")
        return cls(*(values.get(prefix + name) for name in names))


def check_read(version: FileVersion, conditions: Conditions) -> None:
    """NotModified, or S3Error PreconditionFailed, when the version is not what the reader asked for.

    An ETag beats a time, as RFC 9110 (13.2.2) and the API reference say.
    """
    if_match, if_none_match, modified_since, unmodified_since = conditions
    etag = etag_of(version)
    if if_match is not None:
        if not _matches(if_match, etag):
            raise failed("If-Match")
    elif unmodified_since is not None and int(version.created_at) > unmodified_since:
        raise failed("If-Unmodified-Since")
    if if_none_match is not None:
        if _matches(if_none_match, etag):
            raise NotModified
    elif modified_since is not None and int(version.created_at) <= modified_since:
        raise NotModified


def check_copy_source(version: FileVersion, conditions: Conditions) -> None:
    """The same for the source of a copy, where 'not modified' is a failed condition too."""
    try:
        check_read(version, conditions)
    except NotModified:
        raise failed("x-amz-copy-source-if-none-match or -if-modified-since") from None


def for_commit(if_match: str | None, if_none_match: str | None, current: FileVersion | None) -> Preconditions:
    """What the directory shall check when it commits. `current` is the path's version now, looked up for If-Match.

    An ETag is no digest, so If-Match is judged against `current`, and the commit then holds only if that very version
    is still current: nobody can slip in between.
    """
    if if_match is None and if_none_match is None:
        return NO_PRECONDITIONS
    if if_none_match is not None and if_none_match.strip() != "*":
        raise S3Error("NotImplemented", "a write's If-None-Match can only be *")
    if if_match is None:
        return Preconditions(if_none_match=ANY)
    if current is None:
        raise S3Error("NoSuchKey", "there is no such key, so its ETag cannot be what If-Match says")
    if not _matches(if_match, etag_of(current)):
        raise failed("If-Match")
    return Preconditions(if_version=current.version, if_none_match=ANY if if_none_match else None)


def check_size_and_time(version: FileVersion, size: int | None, modified_at: float | None) -> None:
    """S3Error PreconditionFailed when `version` is not of that size (bytes) or time (to the second)."""
    if size is not None and version.size != size:
        raise failed("x-amz-if-match-size")
    if modified_at is not None and int(version.created_at) != int(modified_at):
        raise failed("x-amz-if-match-last-modified-time")


def failed(condition: str) -> S3Error:
    """412, naming the condition."""
    return S3Error("PreconditionFailed", "a condition of the request does not hold", Condition=condition)


def _matches(header: str, etag: str) -> bool:
    try:
        tags = parse_tags(header, "If-Match")
    except BadRequest:  # text that is no tag is nobody's tag, as S3 takes it
        return False
    return tags is None or any(tag.text == etag for tag in tags)
