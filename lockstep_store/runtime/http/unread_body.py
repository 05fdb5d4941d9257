"""A request whose unread body can be drained, as every door does before it rejects one.

If the connection were closed while the client sends, it would be reset, and the client would not see the error. If it
were kept, the rest of the body would be read as the next request.
"""

from __future__ import annotations

import time

from lockstep_store.runtime.http.api import Environ, RawRequest
from lockstep_store.wire.errors import ExpectationFailed, IncompleteBody

DRAIN_BLOCK_BYTES = 512 * 1024
DRAIN_BYTES = 256 * 1024 * 1024
DRAIN_SECONDS = 10.0


class DrainableRequest(RawRequest):
    """A request that counts the bytes of its body read so far (`received`)."""

    def __init__(self, environ: Environ) -> None:
        super().__init__(environ)
        self.method: str = environ["REQUEST_METHOD"]
        self.received = 0
        self._ended = False

    def check_expectation(self) -> None:
        """Raise ExpectationFailed for an Expect header other than `100-continue`."""
        expected: str = self.environ.get("HTTP_EXPECT", "")
        if expected and expected.lower() != "100-continue":
            raise ExpectationFailed(f"'Expect: {expected[:80]}' is not supported; only 100-continue is")

    def read(self, count: int) -> bytes:
        try:
            data = super().read(count)
        except IncompleteBody:
            self._ended = True
            raise
        self.received += len(data)
        if not data:
            self._ended = True
        return data

    def drain(self) -> None:
        """Read and drop the rest of a rejected body, within bounds.

        A client that waits for `100 Continue` has sent nothing yet.
        """
        if self._ended or (self.environ.get("HTTP_EXPECT") and not self.received):
            return
        length = self.content_length
        if length is None and "HTTP_TRANSFER_ENCODING" not in self.environ:
            return
        until = time.monotonic() + DRAIN_SECONDS
        left = DRAIN_BYTES if length is None else min(length - self.received, DRAIN_BYTES)
        while left > 0 and time.monotonic() < until:
            try:
                data = self.read(min(DRAIN_BLOCK_BYTES, left))
            except IncompleteBody:
                return
            if not data:
                return
            left -= len(data)
