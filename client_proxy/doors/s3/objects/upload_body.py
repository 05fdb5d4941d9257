"""The bytes of an upload: read once, checked against everything the client said about them, and hashed on the way.

A check that fails raises before the last block is handed on, so whoever commits after the last block commits only what
was whole and right.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress

from client_proxy.doors.s3.objects.aws_chunked import ChunkedBody
from client_proxy.doors.s3.protocol import checksums
from client_proxy.doors.s3.protocol.checksums import Algorithm
from client_proxy.doors.s3.protocol.request import S3Request
from client_proxy.doors.s3.protocol.s3_errors import S3Error
from client_proxy.doors.s3.security.gate import Principal
from client_proxy.doors.s3.security.signature import STREAMING, STREAMING_UNSIGNED_TRAILER, UNSIGNED, Claim, Scope

BLOCK_BYTES = 256 * 1024
SMALL_BYTES = 64 * 1024
"""Hashed on the request's own thread: handing it to another would cost more than it saves."""
_HASHERS = ThreadPoolExecutor(8, thread_name_prefix="s3-hash")


class UploadBody:
    """One request's content. Iterate `blocks` once; then `md5` and `checksums` say what it was.

    `length` is the content's own, without any framing. With `foreign_checksums` the request's x-amz-checksum- headers
    are about something else than its body; `is_content` is for what is to be kept, whose length must be said.
    """

    def __init__(
        self,
        request: S3Request,
        principal: Principal,
        algorithm: Algorithm | None = None,
        *,
        foreign_checksums: bool = False,
        is_content: bool = False,
    ) -> None:
        self._request = request
        self._claim = principal.claim or _framed_by_nobody(request)
        self._key = principal.key
        payload = self._claim.payload if self._claim else UNSIGNED
        self._chunked: ChunkedBody | None = None
        self._sha256 = None
        if payload in STREAMING:  # its framing proves its end, so HTTP need not declare it
            self.length = _decoded_length(request)
            assert self._claim is not None
            self._chunked = ChunkedBody(request.read, self._claim, self._key, self.length)
        else:
            self.length = _declared(request, required=is_content)
            self._sha256 = None if payload == UNSIGNED else hashlib.sha256()
        self._promised = {} if foreign_checksums else _promised_checksums(request)
        self._promised_md5 = _promised_md5(request)
        trailer = [checksums.by_header(n.strip()) for n in (request.get("x-amz-trailer") or "").split(",") if n.strip()]
        self._trailing = [one for one in trailer if one is not None]
        if not foreign_checksums:
            _check_announced(request, [*self._promised, *self._trailing])
        wanted = {one.name: one for one in [*self._promised, *self._trailing, *([algorithm] if algorithm else [])]}
        self._running = {name: one.start() for name, one in wanted.items()}
        self._md5 = hashlib.md5(usedforsecurity=False)
        self.md5 = ""
        """Hex."""
        self.checksums: dict[str, str] = {}
        """Base64, by algorithm: those that the client sent or asked for."""

    def blocks(self) -> Iterator[bytes]:
        """The content. S3Error (before the last block) when it is not what the client said."""
        held = b""
        pending: Future[None] | None = None
        for block in self._chunked.blocks() if self._chunked else self._plain():
            if pending is not None:
                pending.result()
            pending = None
            if len(block) <= SMALL_BYTES:
                self._hash(block)
            else:  # beside the sending; one block at a time, so that memory stays bounded
                pending = _HASHERS.submit(self._hash, block)
            if held:
                yield held
            held = block
        if pending is not None:
            pending.result()
        self._check()
        if held:
            yield held

    @property
    def is_vouched_for(self) -> bool:
        """The client sent a checksum of its own beside the signature."""
        return bool(self._promised or self._promised_md5 or self._trailing)

    def read_all(self, limit: int) -> bytes:
        """The whole content of a small body."""
        if self.length > limit:
            raise S3Error("MaxMessageLengthExceeded", f"the body has {self.length} bytes; at most {limit} are read")
        return b"".join(self.blocks())

    def _plain(self) -> Iterator[bytes]:
        missing = self.length
        while missing:
            data = self._request.read(min(BLOCK_BYTES, missing))
            if not data:
                raise S3Error(
                    "IncompleteBody", f"the body ended after {self.length - missing} of {self.length} declared bytes"
                )
            missing -= len(data)
            yield data

    def _hash(self, block: bytes) -> None:
        self._md5.update(block)
        if self._sha256 is not None:
            self._sha256.update(block)
        for running in self._running.values():
            running.update(block)

    def _check(self) -> None:
        self.md5 = self._md5.hexdigest()
        if self._promised_md5 and self._promised_md5 != self.md5:
            raise S3Error("BadDigest", "the body does not have the Content-MD5 that came with it; nothing was saved")
        if self._sha256 is not None and self._claim is not None and self._sha256.hexdigest() != self._claim.payload:
            raise S3Error(
                "XAmzContentSHA256Mismatch",
                "the body does not have the SHA-256 that was signed; nothing was saved",
                ClientComputedContentSHA256=self._claim.payload,
                S3ComputedContentSHA256=self._sha256.hexdigest(),
            )
        self.checksums = {name: checksums.encode(running) for name, running in self._running.items()}
        for algorithm, value in self._promised.items():
            self._compare(algorithm, value)
        for algorithm in self._trailing:
            sent = self._chunked.trailers.get(algorithm.header) if self._chunked else None
            if sent is None:
                raise S3Error("MalformedTrailerError", f"the trailer {algorithm.header} was announced and never came")
            self._compare(algorithm, checksums.check_form(algorithm, sent))

    def _compare(self, algorithm: Algorithm, value: str) -> None:
        if self.checksums[algorithm.name] != value:
            raise S3Error(
                "BadDigest", f"the body does not have the {algorithm.name} that came with it; nothing was saved"
            )


def _framed_by_nobody(request: S3Request) -> Claim | None:
    """For an anonymous body that is framed all the same, to bring its checksum behind it: as if its payload were
    announced as an unsigned stream."""
    if "aws-chunked" not in (request.get("Content-Encoding") or "").lower():
        return None
    return Claim("header", Scope("", "", ""), "", (), "", STREAMING_UNSIGNED_TRAILER)


def _declared(request: S3Request, *, required: bool) -> int:
    if request.content_length is None:
        if required or "HTTP_TRANSFER_ENCODING" in request.environ:
            raise S3Error("MissingContentLength", "a body needs a Content-Length: without it its end cannot be told")
        return 0
    return request.content_length


def _decoded_length(request: S3Request) -> int:
    text = request.get("x-amz-decoded-content-length") or ""
    if not (text.isascii() and text.isdecimal() and len(text) <= 15):
        raise S3Error("MissingContentLength", "an aws-chunked body needs x-amz-decoded-content-length")
    return int(text)


def _promised_checksums(request: S3Request) -> dict[Algorithm, str]:
    found = {}
    for name in request.amz_headers:
        algorithm = checksums.by_header(name)
        if algorithm is not None:
            found[algorithm] = checksums.check_form(algorithm, request.get(name) or "")
    if len(found) > 1:
        raise S3Error("InvalidRequest", "expecting one x-amz-checksum- header; several were sent")
    return found


def _promised_md5(request: S3Request) -> str:
    text = request.get("Content-MD5")
    if text is None:
        return ""
    raw = b""
    with suppress(binascii.Error, ValueError):
        raw = base64.b64decode(text, validate=True)
    if len(raw) != 16:
        raise S3Error("InvalidDigest", "the Content-MD5 that came with the request is not 16 bytes in base64")
    return raw.hex()


def _check_announced(request: S3Request, sent: list[Algorithm]) -> None:
    """Whoever names the algorithm of the checksum that comes along sends one, and of that algorithm."""
    name = request.get("x-amz-sdk-checksum-algorithm")
    if name is None:
        return
    if not sent:
        raise S3Error(
            "InvalidRequest",
            "x-amz-sdk-checksum-algorithm announces a checksum, but no x-amz-checksum- header or trailer came",
        )
    if checksums.by_name(name) not in sent:
        raise S3Error("BadDigest", f"x-amz-sdk-checksum-algorithm announces {name[:32]}, and {sent[0].name} came")
