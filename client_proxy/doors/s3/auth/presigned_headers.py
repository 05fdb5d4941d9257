"""Headers in the query of a presigned address: a signed `x-amz-…` parameter counts as the header of that name."""

from __future__ import annotations

import re
from collections.abc import Iterable

from client_proxy.doors.s3.protocol import checksums
from client_proxy.doors.s3.protocol.s3_errors import S3Error
from lockstep_store.runtime.http.header_text import HEADER_NAME

_PREFIX = "x-amz-"
_PROOF = frozenset(
    _PREFIX + name
    for name in ("algorithm", "credential", "date", "expires", "signature", "signedheaders", "security-token")
)
# What describes the body was written before there was one: SDKs sign the checksum of an empty body.
_OF_THE_BODY = frozenset(
    _PREFIX + name for name in ("content-sha256", "decoded-content-length", "sdk-checksum-algorithm", "trailer")
)
_IGNORED = _PROOF | _OF_THE_BODY | {f"{_PREFIX}copy-source", *(one.header for one in checksums.ALGORITHMS.values())}
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


def presigned_headers(arguments: Iterable[tuple[str, str]]) -> dict[str, str]:
    """The headers among the decoded `arguments`, by names in small letters; the first of a name counts.

    S3Error when a name or a value could not be that of a header.
    """
    found: dict[str, str] = {}
    for given, value in arguments:
        name = given.lower()
        if not name.startswith(_PREFIX) or name in _IGNORED:
            continue
        if not HEADER_NAME.fullmatch(name):
            raise S3Error("InvalidArgument", f"{given[:64]!r} is not a header name", ArgumentName=given[:256])
        if _CONTROL.search(value):
            raise S3Error("InvalidArgument", f"{given[:64]} has control characters", ArgumentName=given[:256])
        found.setdefault(name, value.strip())
    return found
