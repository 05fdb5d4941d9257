"""Finds the content type of a body that comes without one, in its first bytes, while it passes."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from client_proxy.core.requests import Write
from lockstep_store.wire.chunk_stream import StreamReader
from lockstep_store.wire.content_types import FOUND_TYPE, Beginning, has_telling_name
from lockstep_store.wire.digest import Digest
from lockstep_store.wire.messages.files import MAX_METADATA_BYTES, FileVersion, metadata_bytes

_ENTRY_BYTES = 256
"""At least what the entry takes; metadata that leaves less room is stored without it."""

Metadata = Callable[[], dict[str, str]]


def are_wanted(request: Write) -> bool:
    """Whether a write needs a look at its content: neither its writer nor its name tells the type."""
    if request.content_type or request.raw or request.upload is not None or has_telling_name(request.path):
        return False
    return metadata_bytes(request.metadata) <= MAX_METADATA_BYTES - _ENTRY_BYTES


def added(*sources: Metadata) -> Metadata:
    """Return what has the metadata of all `sources`."""

    def all_of() -> dict[str, str]:
        return {name: value for source in sources for name, value in source().items()}

    return all_of


class KnownTypes:
    """The types found in older versions, for a stream that leaves out its first chunk because it is theirs."""

    def __init__(self) -> None:
        self._by_first: dict[Digest, str] = {}

    def note(self, chunks: Sequence[tuple[Digest, int]], version: FileVersion) -> None:
        """Remember the type that was found in a version with these chunks."""
        if chunks and FOUND_TYPE in version.metadata:
            self._by_first[chunks[0][0]] = version.metadata[FOUND_TYPE]

    def of_stream(self, stream: StreamReader) -> dict[str, str]:
        """Return the entry for a stream that has been read; {} for a type that nobody knows."""
        first = stream.first
        if first is None:
            return {}
        if first.data is None:
            kind = self._by_first.get(first.digest)
            return {FOUND_TYPE: kind} if kind else {}
        beginning = Beginning()
        beginning.add(first.data)
        return beginning.metadata()
