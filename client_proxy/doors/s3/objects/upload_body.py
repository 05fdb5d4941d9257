"""UploadBody: the bytes of an upload, read once, hashed, and checked against what the client declared.

A failed check raises before the last block is yielded, so a writer that commits after the last block commits only
content that is complete and correct.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

from client_proxy.doors.s3.objects.aws_chunked import ChunkedBody, incomplete
from client_proxy.doors.s3.objects.body_checks import BodyChecks
from client_proxy.doors.s3.protocol import checksums
from client_proxy.doors.s3.protocol.checksums import Algorithm
from client_proxy.doors.s3.protocol.s3_errors import S3Error

BLOCK_BYTES = 256 * 1024
SMALL_BYTES = 64 * 1024
"""Blocks up to here are hashed on the request's own thread: a hand-over would cost more than it saves."""
_HASHERS = ThreadPoolExecutor(8, thread_name_prefix="s3-hash")


class UploadBody:
    """The content of one request. Iterate `blocks` once; `md5` and `checksums` are known afterwards.

    `algorithm` adds a checksum to those that `checks` name.
    """

    def __init__(self, read: Callable[[int], bytes], checks: BodyChecks, algorithm: Algorithm | None = None) -> None:
        self._read = read
        self.checks = checks
        self.length = checks.length
        self._chunked: ChunkedBody | None = None
        if checks.is_chunked:
            assert checks.claim is not None
            self._chunked = ChunkedBody(read, checks.claim, checks.key, checks.length)
        wanted = {one.name: one for one in (*checks.algorithms, *([algorithm] if algorithm else []))}
        self._running = {name: one.start() for name, one in wanted.items()}
        self._md5 = hashlib.md5(usedforsecurity=False)
        self._sha256 = hashlib.sha256() if checks.sha256 else None
        self.md5 = ""
        """Hex."""
        self.checksums: dict[str, str] = {}
        """Base64, by algorithm: those that the client sent or asked for."""

    def blocks(self) -> Iterator[bytes]:
        """The content. S3Error before the last block when a check fails."""
        held = b""
        pending: Future[None] | None = None
        for block in self._chunked.blocks() if self._chunked else self._plain():
            if pending is not None:
                pending.result()
            pending = None
            if len(block) <= SMALL_BYTES:
                self._hash(block)
            else:  # while the block before it is sent; one at a time, so that memory stays bounded
                pending = _HASHERS.submit(self._hash, block)
            if held:
                yield held
            held = block
        if pending is not None:
            pending.result()
        self._check()
        if held:
            yield held

    def read_all(self, limit: int) -> bytes:
        """The whole content of a small body."""
        if self.length > limit:
            raise S3Error("MaxMessageLengthExceeded", f"the body has {self.length} bytes; the maximum is {limit}")
        return b"".join(self.blocks())

    def _plain(self) -> Iterator[bytes]:
        missing = self.length
        while missing:
            data = self._read(min(BLOCK_BYTES, missing))
            if not data:
                raise incomplete(self.length, self.length - missing)
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
        if self.checks.md5 and self.checks.md5 != self.md5:
            raise S3Error(
                "BadDigest",
                "the body does not match its Content-MD5; nothing was saved",
                ExpectedDigest=self.checks.md5,
                CalculatedDigest=base64.b64encode(self._md5.digest()).decode(),
            )
        if self._sha256 is not None and self._sha256.hexdigest() != self.checks.sha256:
            raise S3Error(
                "XAmzContentSHA256Mismatch",
                "the body does not match the SHA-256 that was signed; nothing was saved",
                ClientComputedContentSHA256=self.checks.sha256,
                S3ComputedContentSHA256=self._sha256.hexdigest(),
            )
        self.checksums = {name: checksums.encode(running) for name, running in self._running.items()}
        for algorithm, value in self.checks.checksums.items():
            self._compare(algorithm, value)
        self._check_trailer_names()
        for algorithm in self.checks.trailing:
            sent = self._chunked.trailers.get(algorithm.header) if self._chunked else None
            if sent is None:
                raise S3Error("MalformedTrailerError", f"the trailer {algorithm.header} was announced but not sent")
            self._compare(algorithm, checksums.check_form(algorithm, sent))

    def _check_trailer_names(self) -> None:
        """S3Error for a trailer that was not announced: its checksum was not computed, so it cannot be compared."""
        announced = {algorithm.header for algorithm in self.checks.trailing}
        for name in self._chunked.trailers if self._chunked else ():
            if name not in announced:
                raise S3Error("MalformedTrailerError", f"the trailer {name[:64]!r} was not announced in x-amz-trailer")

    def _compare(self, algorithm: Algorithm, value: str) -> None:
        if self.checksums[algorithm.name] != value:
            raise S3Error("BadDigest", f"the body does not match its {algorithm.name}; nothing was saved")
