"""Metrics that several modules count. All others are beside the code that counts them."""

from __future__ import annotations

from prometheus_client import Counter

from lockstep_store.wire.chunking import Chunk
from lockstep_store.wire.messages.servers import Hop

WRITES = Counter("lockstep_file_server_writes", "Writes made durable on this server", ["hop"])
WRITTEN_BYTES = Counter("lockstep_file_server_written_bytes", "Plain bytes of writes made durable here", ["hop"])
RECEIVED_BYTES = Counter("lockstep_file_server_received_bytes", "Plain bytes that came over the network", ["hop"])


def count_received(hop: Hop, chunk: Chunk) -> None:
    """Count a frame that arrived, with or without bytes."""
    if chunk.data is not None:
        RECEIVED_BYTES.labels(hop).inc(len(chunk.data))


def count_write(hop: Hop, size: int) -> None:
    """Count a write of `size` plain bytes that is durable here."""
    WRITES.labels(hop).inc()
    WRITTEN_BYTES.labels(hop).inc(size)
