"""Steps of a write through the proxy's core, and what it left behind."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator

from client_proxy.core.requests import Write
from lockstep_store.wire.chunk_stream import StreamReader, encode_stream
from lockstep_store.wire.chunking import Chunk
from lockstep_store.wire.messages.files import CommittedReply
from tests.fakes.proxy_rig import ProxyRig

MIB = 1024 * 1024


def put(rig: ProxyRig, content: bytes, *, size: int | None = None, path: str = "file") -> CommittedReply:
    return rig.files.write(Write("ann", "files", path, size=len(content) if size is None else size), blocks_of(content))


def blocks_of(content: bytes, length: int = 100_000) -> Iterator[bytes]:
    for start in range(0, len(content), length):
        yield content[start : start + length]


def stream_of(chunks: Iterable[Chunk]) -> StreamReader:
    body = memoryview(b"".join(encode_stream(chunks)))
    return reader_of(body)


def reader_of(body: memoryview | bytes) -> StreamReader:
    view, at = memoryview(body), 0

    def read(count: int) -> bytes:
        nonlocal at
        piece = bytes(view[at : at + min(count, 70_000)])
        at += len(piece)
        return piece

    return StreamReader(read)


def stored(rig: ProxyRig, path: str = "file") -> bytes:
    """The current content as the file servers hold it, past the proxy."""
    version = rig.directory.current("files", path)
    assert version is not None
    for server in (rig.one, rig.two):
        if version.digest in server.manifests:
            return b"".join(server.chunks[digest] for digest, _ in server.manifests[version.digest].chunks)
    raise AssertionError("nobody holds it")


def versions(rig: ProxyRig, path: str = "file") -> int:
    return len(rig.directory.versions.get(("files", path), []))


def threads_named(name: str) -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name == name]
