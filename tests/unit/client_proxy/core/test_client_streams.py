"""Chunk streams that clients cut themselves."""

from __future__ import annotations

import pytest

from client_proxy.core.requests import Write
from client_proxy.metrics import SENT_BYTES
from lockstep_store.wire.chunk_stream import StreamReader, encode_stream
from lockstep_store.wire.chunking import chunk_bytes
from lockstep_store.wire.digest import Digest
from lockstep_store.wire.errors import (
    BadDigest,
    IncompleteBody,
    MissingChunks,
)
from tests.fakes.proxy_rig import ProxyRig, noise
from tests.unit.client_proxy.core.writing import MIB, put, reader_of, stored, stream_of, threads_named, versions


def test_a_clients_stream_is_relayed_with_what_it_leaves_out(rig: ProxyRig) -> None:
    """Frames without bytes stand for chunks the master has; the version is the whole file."""
    old = noise(15, 20 * MIB)
    put(rig, old)
    new = old[: 9 * MIB] + b"edit" + old[9 * MIB :]
    known = {digest for digest, _ in rig.one.manifests[rig.directory.current("files", "file").digest].chunks}  # type: ignore[union-attr]
    chunks = [chunk._replace(data=None) if chunk.digest in known else chunk for chunk in chunk_bytes(new)]
    before = SENT_BYTES._value.get()
    rig.files.write_chunks(Write("ann", "files", "file", size=None), stream_of(chunks))
    assert stored(rig) == new
    assert SENT_BYTES._value.get() - before == sum(len(chunk.data) for chunk in chunks if chunk.data is not None)


def test_missing_chunks_are_named_to_the_client_all_at_once(rig: ProxyRig) -> None:
    """A stream of frames without bytes is answered with every chunk that the cluster lacks."""
    content = noise(16, 20 * MIB)
    chunks = [chunk._replace(data=None) for chunk in chunk_bytes(content)]
    with pytest.raises(MissingChunks) as caught:
        rig.files.write_chunks(Write("ann", "files", "file", size=None), stream_of(chunks))
    assert caught.value.facts["digests"] == [str(chunk.digest) for chunk in chunks]
    assert versions(rig) == 0


def test_an_announced_digest_that_is_known_needs_no_stream(rig: ProxyRig) -> None:
    """Known content is linked before the client's stream is looked at."""
    committed = put(rig, noise(17, 6 * MIB))

    def unread(count: int) -> bytes:
        raise AssertionError("the stream was read")

    linked = rig.files.write_chunks(
        Write("ann", "files", "copy", size=6 * MIB), StreamReader(unread), committed.version.digest
    )
    assert linked.version.digest == committed.version.digest


@pytest.mark.parametrize("size", [5000, 30 * MIB])
def test_a_stream_that_is_not_what_it_announced_commits_nothing(rig: ProxyRig, size: int) -> None:
    """The announced digest binds the client: other content under its name is refused."""
    with pytest.raises(BadDigest, match="was announced"):
        rig.files.write_chunks(
            Write("ann", "files", "file", size=size), stream_of(chunk_bytes(noise(18, size))), Digest(b"d" * 32)
        )
    assert versions(rig) == 0


@pytest.mark.parametrize("size", [5000, 30 * MIB])
def test_a_stream_without_its_end_commits_nothing(rig: ProxyRig, size: int) -> None:
    """A chunk stream cut anywhere, even right before its end frame, is not a file."""
    body = b"".join(encode_stream(chunk_bytes(noise(19, size))))
    for cut in (41, len(body) // 2):
        with pytest.raises(IncompleteBody):
            rig.files.write_chunks(Write("ann", "files", "file", size=None), reader_of(body[:-cut]))
    assert versions(rig) == 0
    assert not threads_named("upload")


@pytest.mark.parametrize("size", [5000, 30 * MIB])
def test_a_damaged_stream_commits_nothing(rig: ProxyRig, size: int) -> None:
    """A bit flipped on the client's way is found before anything is committed."""
    body = bytearray(b"".join(encode_stream(chunk_bytes(noise(20, size)))))
    body[-1000] ^= 1
    with pytest.raises(BadDigest):
        rig.files.write_chunks(Write("ann", "files", "file", size=None), reader_of(bytes(body)))
    assert versions(rig) == 0
