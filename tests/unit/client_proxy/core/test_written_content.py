"""What a proxy wrote it reads from its own cache: nothing of it is fetched from file servers."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from client_proxy.core.requests import Write
from client_proxy.core.written_entries import WrittenEntries
from lockstep_store.wire.digest import Digest, chunk_digest
from tests.fakes.proxy_rig import ProxyRig, noise, proxy_rig


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[ProxyRig]:
    with proxy_rig(tmp_path) as rig:
        yield rig


@pytest.mark.parametrize("size", [0, 5000, 900_000, 7_000_000, 12_000_000])
def test_what_was_written_is_not_fetched(rig: ProxyRig, size: int) -> None:
    """A body of one chunk, one that is held, and one that is streamed."""
    content = noise(1, size)

    def body() -> Iterator[bytes]:
        """As slow as the cache's disk: what that cannot keep up with is not kept."""
        for start in range(0, size, 500_000):
            yield content[start : start + 500_000]
            rig.cache.drain()

    rig.files.write(Write("ann", "files", "file", size=size), body())
    rig.cache.drain()
    assert rig.read("file") == (content, "hit")
    assert rig.one.chunks_served == rig.two.chunks_served == 0


def test_a_write_never_waits_for_the_cache() -> None:
    """While its disk hangs, chunks up to the bound wait and can be read, and the rest is not kept."""
    goes_on = threading.Event()
    stored: list[Digest] = []

    def store(key: tuple[str, Digest], data: bytes) -> None:
        assert goes_on.wait(60)
        stored.append(key[1])

    entries = WrittenEntries(store, max_bytes=100)  # type: ignore[arg-type]
    chunks = {chunk_digest(bytes([n]) * 40): bytes([n]) * 40 for n in range(4)}
    for digest, data in chunks.items():
        entries.add(("chunks", digest), memoryview(data))
    first, second, third, _ = chunks
    assert entries.get(("chunks", first)) == chunks[first]
    assert ("chunks", second) in entries
    assert ("chunks", third) not in entries
    goes_on.set()
    entries.drain()
    assert stored == [first, second]
    entries.add(("chunks", third), chunks[third])
    entries.drain()
    assert stored == [first, second, third]
