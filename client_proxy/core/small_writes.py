"""Begins and sends small writes, many in one call to the directory and one to their master.

The directory gives small writes of a moment the same master, so those that gather while one call is under way share
both of the next one. Begun one by one as they came, they would cost the directory twice as many calls, and wait for
each other at the master all the same.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from client_proxy.core.chunk_upload import Upload, small_stream
from client_proxy.core.directory_client import DirectoryClient
from client_proxy.metrics import SENT_BYTES
from lockstep_store.runtime.peers.coalescing import Coalescer
from lockstep_store.wire.chunking import Chunk
from lockstep_store.wire.crash_points import crash_point
from lockstep_store.wire.errors import LockstepError
from lockstep_store.wire.messages.servers import MAX_SMALL_WRITES, SmallWrite, WriteReply
from lockstep_store.wire.messages.writes import BeginItem, BeginReplyItem

MAX_IN_FLIGHT = 2
"""With one call at a time, eight clients' writes were a tenth slower."""
PATIENCE_SECONDS = 0.1
"""How long a write waits at most for a call under way, which may hang for seconds."""


class GatheredWrite(NamedTuple):
    """A write to begin, and its whole chunk stream."""

    item: BeginItem
    stream: bytes


class BegunWrite(NamedTuple):
    """What the directory and the master replied; `outcome` is None if nothing was sent to a master."""

    begun: BeginReplyItem
    outcome: WriteReply | LockstepError | None


class SmallWrites:
    """Small writes of one proxy. Thread-safe."""

    def __init__(self, directory: DirectoryClient, upload: Upload) -> None:
        self._directory = directory
        self._upload = upload
        self._calls: Coalescer[GatheredWrite, BegunWrite] = Coalescer(
            self._send, max_batch=MAX_SMALL_WRITES, max_in_flight=MAX_IN_FLIGHT, patience=PATIENCE_SECONDS
        )

    @staticmethod
    def stream_of(chunks: Sequence[Chunk]) -> bytes | None:
        """Return the chunk stream of a small write; None if the chunks are not all there, or too many or too long."""
        return None if any(chunk.data is None for chunk in chunks) else small_stream(chunks)

    def begin(self, item: BeginItem, stream: bytes) -> BegunWrite:
        """Begin a write, and send it with others of the same master. Raises what refuses the begin.

        A write whose master differs from most of the others' is only begun.
        """
        return self._directory.begin_in(item, lambda item: self._calls.submit(GatheredWrite(item, stream)))

    def _send(self, writes: list[GatheredWrite]) -> list[BegunWrite | Exception]:
        begun = self._directory.begin_all([write.item for write in writes])
        results = [one if isinstance(one, Exception) else BegunWrite(one, None) for one in begun]
        urls = [result.begun.master.url for result in results if isinstance(result, BegunWrite) and result.begun.master]
        if not urls:
            return results
        crash_point("proxy.small.begun")
        url = Counter(urls).most_common(1)[0][0]
        places, items = [], []
        for place, result in enumerate(results):
            if isinstance(result, BegunWrite) and result.begun.master and result.begun.master.url == url:
                places.append(place)
                items.append(SmallWrite(result.begun.ticket or "", writes[place].stream))
        SENT_BYTES.inc(sum(writes[place].item.size or 0 for place in places))
        outcomes = self._upload.send_small(url, items)
        for place, outcome in zip(places, outcomes, strict=True):
            result = results[place]
            assert isinstance(result, BegunWrite)
            results[place] = result._replace(outcome=outcome)
        return results
