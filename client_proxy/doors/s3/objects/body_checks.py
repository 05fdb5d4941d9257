"""What a request declares about its body: length, framing, MD5 and checksums, read from its headers once."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from contextlib import suppress

import msgspec

from client_proxy.doors.s3.auth.claims import (
    PAYLOAD_HEADER,
    STREAMING,
    STREAMING_UNSIGNED_TRAILER,
    UNSIGNED,
    Claim,
    Scope,
    check_payload,
)
from client_proxy.doors.s3.auth.gate import Principal
from client_proxy.doors.s3.protocol import checksums
from client_proxy.doors.s3.protocol.checksums import Algorithm
from client_proxy.doors.s3.protocol.request import S3Request
from client_proxy.doors.s3.protocol.s3_errors import S3Error
from lockstep_store.wire.messages.s3 import LEGAL_HOLD, RETENTION

_DECODED_LENGTH = "x-amz-decoded-content-length"


class BodyChecks(msgspec.Struct, frozen=True):
    """What `UploadBody` checks a body against."""

    length: int
    """Of the content, without framing; bytes."""
    claim: Claim | None
    """Signs the framing when `is_chunked`."""
    key: bytes
    sha256: str = ""
    """Hex; empty when the payload was not signed."""
    md5: str = ""
    """Hex; empty when none was sent."""
    checksums: dict[Algorithm, str] = msgspec.field(default_factory=dict)
    trailing: tuple[Algorithm, ...] = ()
    """The algorithms whose checksums follow the body."""

    @property
    def is_chunked(self) -> bool:
        """The body is framed as aws-chunked."""
        return self.claim is not None and self.claim.payload in STREAMING

    @property
    def has_checksum(self) -> bool:
        """Whether the client sent a checksum in addition to the signature."""
        return bool(self.checksums or self.md5 or self.trailing)

    @property
    def algorithms(self) -> list[Algorithm]:
        """The algorithms of the checksums that the client sends."""
        return [*self.checksums, *self.trailing]

    @property
    def missing(self) -> Algorithm | None:
        """The algorithm of the checksum that is added because the client sends none."""
        return None if self.algorithms else checksums.DEFAULT


def read_body_checks(
    request: S3Request, principal: Principal, *, foreign_checksums: bool = False, needs_length: bool = False
) -> BodyChecks:
    """The checks that the headers of `request` ask for; S3Error when they contradict each other.

    With `foreign_checksums` the x-amz-checksum- headers describe something else than the body. With `needs_length` a
    body of unknown length is rejected even when it is empty.
    """
    headers = request.headers
    check_no_range(headers, "content-range")
    claim = principal.claim or unsigned_framing(headers)
    payload = claim.payload if claim else _unsigned_payload(headers)
    if claim is not None and claim.form == "query" and PAYLOAD_HEADER not in claim.signed_headers:
        payload = payload if payload != UNSIGNED else _unsigned_payload(headers)
    is_chunked = payload in STREAMING  # its framing proves its end, so HTTP need not declare it
    length = _decoded_length(headers) if is_chunked else _declared_length(request, required=needs_length)
    declared = {} if foreign_checksums else _declared_checksums(headers)
    md5 = _declared_md5(headers.get("content-md5"))
    trailing = _announced_trailers(headers.get("x-amz-trailer", ""))
    if len(declared) + len(trailing) > 1:
        raise S3Error(
            "InvalidRequest", "a request may have only one checksum, in a header or a trailer; several were announced"
        )
    if not foreign_checksums:
        _check_announced(headers.get("x-amz-sdk-checksum-algorithm"), [*declared, *trailing])
    sha256 = "" if is_chunked or payload == UNSIGNED else payload.lower()
    return BodyChecks(length, claim, principal.key, sha256, md5, declared, trailing)


def check_no_range(headers: Mapping[str, str], *names: str) -> None:
    """S3Error for a write of a part of an object: S3 has none, and the part would replace the whole object."""
    for name in names:
        if name in headers:
            message = f"a write cannot have the header {name}: send the whole content"
            raise S3Error("NotImplemented", message, Header=name)


def check_unlocked(settings: Mapping[str, str]) -> None:
    """S3Error when `settings` place a version whose content has no checksum under retention or a legal hold."""
    if RETENTION in settings or LEGAL_HOLD in settings:
        raise S3Error("InvalidRequest", "a write with object lock needs a Content-MD5 or an x-amz-checksum- header")


def unsigned_framing(headers: Mapping[str, str]) -> Claim | None:
    """Return the claim of an anonymous body that is framed only to send its checksum in a trailer."""
    by_name = "aws-chunked" in headers.get("content-encoding", "").lower()
    if not (by_name and _DECODED_LENGTH in headers) and headers.get(PAYLOAD_HEADER) != STREAMING_UNSIGNED_TRAILER:
        return None
    return Claim("header", Scope("", "", ""), "", (), "", STREAMING_UNSIGNED_TRAILER)


def _unsigned_payload(headers: Mapping[str, str]) -> str:
    """Return what an anonymous request claims about its body: its SHA-256, or nothing."""
    payload = check_payload(headers.get(PAYLOAD_HEADER) or UNSIGNED)
    if payload in STREAMING:
        raise S3Error("InvalidArgument", f"x-amz-content-sha256 is {payload}, but the request is not signed")
    return payload


def _announced_trailers(text: str) -> tuple[Algorithm, ...]:
    """The checksums that x-amz-trailer names; S3Error for any other trailer, which would be ignored."""
    found = []
    for name in (part.strip() for part in text.split(",")):
        algorithm = checksums.by_header(name)
        if name and algorithm is None:
            raise S3Error("InvalidRequest", f"x-amz-trailer is {name[:64]!r}; only x-amz-checksum- trailers are read")
        if algorithm is not None:
            found.append(algorithm)
    return tuple(found)


def _declared_length(request: S3Request, *, required: bool) -> int:
    if request.content_length is None:
        if required or "transfer-encoding" in request.headers:
            raise S3Error("MissingContentLength", "the body needs a Content-Length")
        return 0
    return request.content_length


def _decoded_length(headers: Mapping[str, str]) -> int:
    text = headers.get(_DECODED_LENGTH, "")
    if not (text.isascii() and text.isdecimal() and len(text) <= 15):
        raise S3Error("MissingContentLength", "an aws-chunked body needs x-amz-decoded-content-length")
    return int(text)


def _declared_checksums(headers: Mapping[str, str]) -> dict[Algorithm, str]:
    found = {}
    for name, text in headers.items():
        if name.startswith(checksums.HEADER_PREFIX):
            algorithm = checksums.by_header(name)
            if algorithm is not None:
                found[algorithm] = checksums.check_form(algorithm, text)
    if len(found) > 1:
        raise S3Error("InvalidRequest", "a request may have only one x-amz-checksum- header; several were sent")
    return found


def _declared_md5(text: str | None) -> str:
    if text is None:
        return ""
    raw = b""
    with suppress(binascii.Error, ValueError):
        raw = base64.b64decode(text, validate=True)
    if len(raw) != 16:
        raise S3Error("InvalidDigest", "Content-MD5 must be 16 bytes in base64", {}, **{"Content-MD5": text[:128]})
    return raw.hex()


def _check_announced(name: str | None, sent: list[Algorithm]) -> None:
    """S3Error unless the algorithm that x-amz-sdk-checksum-algorithm names is among `sent`."""
    if name is None:
        return
    if not sent:
        raise S3Error(
            "InvalidRequest",
            "x-amz-sdk-checksum-algorithm announces a checksum, but no x-amz-checksum- header or trailer was sent",
        )
    if checksums.by_name(name) not in sent:
        raise S3Error("InvalidRequest", f"x-amz-sdk-checksum-algorithm is {name[:32]}, but {sent[0].name} was sent")
