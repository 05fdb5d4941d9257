"""Decodes `aws-chunked` bodies: chunks, signed or not, and trailers with a checksum after them.

Blocks are passed on as they arrive, and a chunk's signature is checked at its end. That is safe because nothing is
committed before the whole body was read: a wrong signature raises, and the write is dropped.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Callable, Iterator

from client_proxy.doors.s3.auth.claims import STREAMING_SIGNED, STREAMING_UNSIGNED_TRAILER, Claim
from client_proxy.doors.s3.auth.signature import sign
from client_proxy.doors.s3.protocol.s3_errors import S3Error

BLOCK_BYTES = 512 * 1024
MAX_LINE_BYTES = 1024
MAX_TRAILERS = 16
_EMPTY = hashlib.sha256(b"").hexdigest()
_CHUNK = re.compile(rb"([0-9a-fA-F]{1,16})(?:;chunk-signature=([0-9a-f]{64}))?")

Read = Callable[[int], bytes]


def incomplete(expected: int, provided: int) -> S3Error:
    """Return the error for a body that ended early; lengths in bytes."""
    message = f"the body ended after {provided} of {expected} declared bytes"
    return S3Error("IncompleteBody", message, {}, **_lengths(expected, provided))


def _lengths(expected: int, provided: int) -> dict[str, str]:
    return {"NumberBytesExpected": str(expected), "NumberBytesProvided": str(provided)}


class ChunkedBody:
    """The content of such a body. After the last block `trailers` has the trailers, by lower-case name.

    `length` is the content's declared length (x-amz-decoded-content-length). Where the claim says so, `key` must have
    signed every chunk and the trailers, each signature covering the one before, the first one the request's.
    """

    def __init__(self, read: Read, claim: Claim, key: bytes, length: int) -> None:
        self._read = read
        self._claim = claim
        self._key = key
        self._length = length
        self._signed = claim.payload != STREAMING_UNSIGNED_TRAILER
        self._has_trailer = claim.payload != STREAMING_SIGNED
        self._previous = claim.signature
        self._rest = b""
        self._at = 0  # position in the rest; cutting it would copy the rest for each chunk of one byte
        self.trailers: dict[str, str] = {}

    def blocks(self) -> Iterator[bytes]:
        """The content. S3Error when framing, length or a signature is wrong."""
        have = 0
        while True:
            size, signature = self._chunk_header()
            have += size
            if have > self._length:
                raise S3Error(
                    "IncompleteBody",
                    f"the body is longer than the {self._length} bytes declared",
                    {},
                    **_lengths(self._length, have),
                )
            running = hashlib.sha256()
            yield from self._chunk(size, running)
            if self._signed:
                self._check_chunk(signature, running.hexdigest())
            if not size:
                break
            self._expect_line_end()
        if have != self._length:
            raise incomplete(self._length, have)
        self._read_trailers()

    def _chunk_header(self) -> tuple[int, str]:
        line = self._line()
        found = _CHUNK.fullmatch(line)
        if not found or (self._signed and found[2] is None):
            raise S3Error("InvalidRequest", f"{line[:64]!r} is not the header of an aws-chunked chunk")
        return int(found[1], 16), (found[2] or b"").decode()

    def _chunk(self, size: int, running: hashlib._Hash) -> Iterator[bytes]:
        left = size
        while left:
            data = self._rest[self._at : self._at + left]
            self._at += len(data)
            if not data:
                data = self._more(min(left, BLOCK_BYTES))
            left -= len(data)
            if self._signed:
                running.update(data)
            yield data

    def _check_chunk(self, signature: str, digest: str) -> None:
        claim = self._claim
        text = "\n".join(("AWS4-HMAC-SHA256-PAYLOAD", claim.amz_date, claim.scope.text, self._previous, _EMPTY, digest))
        self._check(signature, text)

    def _check(self, signature: str, text: str) -> None:
        expected = sign(self._key, text)
        if not hmac.compare_digest(expected.encode(), signature.encode()):
            raise S3Error("SignatureDoesNotMatch", "a chunk's signature does not match its bytes; nothing was saved")
        self._previous = expected

    def _read_trailers(self) -> None:
        lines: list[tuple[str, str]] = []
        signature = ""
        while line := self._line(at_end=True):
            name, colon, value = line.decode("latin-1").partition(":")
            if not colon or len(lines) >= MAX_TRAILERS:
                raise S3Error("InvalidRequest", f"{line[:64]!r} is not a trailer")
            name, value = name.strip().lower(), value.strip()
            if name == "x-amz-trailer-signature":
                signature = value
            else:
                lines.append((name, value))
        if not self._has_trailer:
            if lines or signature:
                raise S3Error("InvalidRequest", "the request did not announce its trailers")
            return
        self.trailers = dict(lines)
        if self._signed:
            self._check_trailers(lines, signature)

    def _check_trailers(self, lines: list[tuple[str, str]], signature: str) -> None:
        canonical = "".join(f"{name}:{value}\n" for name, value in lines)
        digest = hashlib.sha256(canonical.encode("latin-1")).hexdigest()
        claim = self._claim
        self._check(
            signature,
            "\n".join(("AWS4-HMAC-SHA256-TRAILER", claim.amz_date, claim.scope.text, self._previous, digest)),
        )

    def _expect_line_end(self) -> None:
        if self._line():
            raise S3Error("InvalidRequest", "an aws-chunked chunk is longer than its header declares")

    def _line(self, at_end: bool = False) -> bytes:
        """The next line without its end; with `at_end`, the end of the body counts as an empty one."""
        while (end := self._rest.find(b"\r\n", self._at)) < 0:
            self._rest, self._at = self._rest[self._at :], 0
            if len(self._rest) > MAX_LINE_BYTES:
                raise S3Error("InvalidRequest", "a line of the aws-chunked body is too long")
            data = self._read(BLOCK_BYTES)
            if not data:
                if at_end and not self._rest:
                    return b""
                raise S3Error("IncompleteBody", "the body ends in the middle of a chunk")
            self._rest += data
        line = self._rest[self._at : end]
        if len(line) > MAX_LINE_BYTES:
            raise S3Error("InvalidRequest", "a line of the aws-chunked body is too long")
        self._at = end + 2
        return line

    def _more(self, count: int) -> bytes:
        data = self._read(count)
        if not data:
            raise S3Error("IncompleteBody", "the body ends in the middle of a chunk")
        return data
