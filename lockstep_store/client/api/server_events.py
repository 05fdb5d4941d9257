"""Reads a reply of server-sent events."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from lockstep_store.wire.errors import PeerUnreachable

if TYPE_CHECKING:
    from lockstep_store.client.api.transport import ApiTransport

SILENCE_SECONDS = 25.0
"""A proxy sends something every ten seconds."""


def server_events(transport: ApiTransport, address: str) -> Iterator[tuple[str, bytes]]:
    """Yield each event's name and data until the reply ends. PeerUnreachable when the connection is lost or silent."""
    import requests

    fields: dict[bytes, bytes] = {}
    with transport.request("GET", address, stream=True, read_seconds=SILENCE_SECONDS) as response:
        try:
            for line in response.iter_lines(chunk_size=None):  # as it comes: a size would wait until that much is there
                if line:
                    name, _, value = line.partition(b": ")
                    fields[name] = value
                    continue
                if b"event" in fields:
                    yield fields[b"event"].decode(), fields.get(b"data", b"")
                fields = {}
        except requests.RequestException as error:
            raise PeerUnreachable(f"the connection to {transport.url} was lost: {error}") from error
