"""Content as the body of a reply: small content whole, which frees the thread at once, large content streamed.

The length is always declared, so a reply that is cut short never looks complete.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple, Protocol

from prometheus_client import Counter

from lockstep_store.runtime.tracing import log, request_id
from lockstep_store.wire.errors import InternalError

WHOLE_ANSWER_BYTES = 4 * 1024 * 1024
"""Up to this many bytes are read before the reply begins, so any failure still gets an error reply."""
PIECE_BYTES = 128 * 1024


class Readable(Protocol):
    """Bytes that can be read in verified blocks."""

    def blocks(self, start: int = 0, stop: int | None = None) -> Iterator[bytes]: ...
    def close(self) -> None: ...


class ContentMetrics(NamedTuple):
    """What a program counts about streamed replies."""

    aborted: Counter
    """Replies cut short because the rest could not be read."""
    abandoned: Counter
    """Replies whose client closed the connection before the end."""


def content_body(
    content: Readable, start: int, stop: int, metrics: ContentMetrics, *, whole: bool
) -> list[bytes] | StreamedContent:
    """Return bytes [start, stop) of `content` as the body of a reply that declares their length.

    If `whole` (see `RawRequest.may_send_whole`), they are read now, and the caller closes `content`. Otherwise they are
    streamed, and the stream closes it. InternalError when the content has another number of bytes.
    """
    if not whole:
        return StreamedContent(content, start, stop, metrics)
    data = b"".join(content.blocks(start, stop))
    if len(data) != stop - start:
        raise InternalError(f"nothing was sent: the content has {len(data)} bytes instead of {stop - start}")
    return [data]


class StreamedContent:
    """A streamed body. The runner closes it at the end or when the client has disconnected, which closes the content.

    The first block is read at once, so a failure before the first byte still gets an error reply. A later failure is
    raised to the runner, which aborts the connection; the declared length shows the client that bytes are missing.
    Blocks are sent in pieces, because the runner keeps a copy of what a slow client has not received yet.
    """

    def __init__(self, content: Readable, start: int, stop: int, metrics: ContentMetrics) -> None:
        self._content = content
        self._metrics = metrics
        self._blocks = content.blocks(start, stop)
        self._left = stop - start
        self._request_id = request_id()
        self._block = memoryview(next(self._blocks, b""))

    def __iter__(self) -> StreamedContent:
        return self

    def __next__(self) -> bytes:
        try:
            while not self._block:
                self._block = memoryview(next(self._blocks))
        except StopIteration:
            if self._left:
                self._abort(f"{self._left} bytes are missing")
                raise InternalError(f"the content ended {self._left} bytes early") from None
            raise
        except Exception as error:
            self._abort(str(error))
            raise
        piece, self._block = bytes(self._block[:PIECE_BYTES]), self._block[PIECE_BYTES:]
        self._left -= len(piece)
        if self._left < 0:
            self._abort("more bytes were read than were declared")
            raise InternalError("the content has more bytes than were declared")
        return piece

    def close(self) -> None:
        """Stop reading. Safe to repeat."""
        if self._left > 0:
            self._left = 0
            self._metrics.abandoned.inc()
        close = getattr(self._blocks, "close", None)
        if close is not None:
            close()
        self._content.close()

    def _abort(self, reason: str) -> None:
        self._left = 0
        self._metrics.aborted.inc()
        log.warning("a reply was cut short in its content (request %s): %s", self._request_id, reason)
