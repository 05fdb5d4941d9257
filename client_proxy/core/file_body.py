"""A file's bytes on their way out, whichever door they leave by.

Small answers go out whole, which frees the server's thread at once, large ones in blocks, always with their length
declared, so that an answer that had to end early never looks complete.
"""

from __future__ import annotations

from client_proxy.core.ports import OpenFile
from client_proxy.metrics import ABORTED_ANSWERS, ANSWERED_BYTES, CLIENTS_GONE
from lockstep_store.runtime.tracing import log, request_id
from lockstep_store.wire.errors import InternalError

WHOLE_ANSWER_BYTES = 4 * 1024 * 1024
"""Up to this many bytes are had before the answer begins, so that whatever fails is still a proper refusal."""
PIECE_BYTES = 512 * 1024


class FileBody:
    """A large file on its way out. It is closed by whoever sends it, at the end or when the client went away.

    Its first block is had at once, so that what fails before any byte was sent is still a proper refusal. What fails
    later is raised to the runner, which aborts the connection: the declared length tells the client that it is cut.
    Blocks go out in pieces, because the runner keeps a copy of what a slow client has not taken yet.
    """

    def __init__(self, opened: OpenFile, start: int, stop: int) -> None:
        self._opened = opened
        self._blocks = opened.blocks(start, stop)
        self._left = stop - start
        self._request_id = request_id()
        self._block = memoryview(next(self._blocks, b""))

    def __iter__(self) -> FileBody:
        return self

    def __next__(self) -> bytes:
        try:
            while not self._block:
                self._block = memoryview(next(self._blocks))
        except StopIteration:
            if self._left:
                self._abort(f"{self._left} bytes are missing")
                raise InternalError(f"the file ended {self._left} bytes early") from None
            raise
        except Exception as error:
            self._abort(str(error))
            raise
        piece, self._block = bytes(self._block[:PIECE_BYTES]), self._block[PIECE_BYTES:]
        self._left -= len(piece)
        if self._left < 0:
            self._abort("more bytes were read than it has")
            raise InternalError("more bytes were read than the file has")
        ANSWERED_BYTES.inc(len(piece))
        return piece

    def close(self) -> None:
        """Stop reading. Safe to repeat."""
        if self._left > 0:
            self._left = 0
            CLIENTS_GONE.inc()
        close = getattr(self._blocks, "close", None)
        if close is not None:
            close()
        self._opened.close()

    def _abort(self, why: str) -> None:
        self._left = 0
        ABORTED_ANSWERS.inc()
        log.warning("an answer was cut off in the middle of a file (request %s): %s", self._request_id, why)
