"""Metrics that several modules count. All others are beside the code that counts them."""

from __future__ import annotations

from prometheus_client import Counter, Gauge

from lockstep_store.wire.chunking import Chunk
from lockstep_store.wire.messages.servers import Hop

WRITES = Counter("lockstep_file_server_writes", "Writes made durable on this server", ["hop"])
WRITTEN_BYTES = Counter("lockstep_file_server_written_bytes", "Plain bytes of writes made durable here", ["hop"])
RECEIVED_BYTES = Counter("lockstep_file_server_received_bytes", "Plain bytes that came over the network", ["hop"])
CAPACITY_BYTES = Gauge("lockstep_file_server_capacity_bytes", "Size of the data folder's disk")
FREE_BYTES = Gauge("lockstep_file_server_free_bytes", "Bytes that new files may still use on it")
STORED_BYTES = Gauge("lockstep_file_server_stored_bytes", "Bytes of the chunks stored here")


def show_space(capacity: int, free: int, stored: int) -> None:
    """Show how full the disk is, in bytes. A disk that cannot be read shows 0."""
    CAPACITY_BYTES.set(capacity)
    FREE_BYTES.set(free)
    STORED_BYTES.set(stored)


def count_received(hop: Hop, chunk: Chunk) -> None:
    """Count a frame that arrived, with or without bytes."""
    if chunk.data is not None:
        RECEIVED_BYTES.labels(hop).inc(len(chunk.data))


def count_write(hop: Hop, size: int) -> None:
    """Count a write of `size` plain bytes that is durable here."""
    WRITES.labels(hop).inc()
    WRITTEN_BYTES.labels(hop).inc(size)
