"""Reading: one version from beginning to end, every byte checked, large files ahead of the reader."""

from __future__ import annotations

import threading

import pytest

from lockstep_store.client.mount.contents import AHEAD_BYTES, RUN_BYTES
from lockstep_store.wire.errors import BadDigest, NotFound, PeerUnreachable, PreconditionFailed
from tests.unit.client.mount.mount_rig import MountRig
from tests.unit.people import noise

MIB = 1024 * 1024
STEP = 128 * 1024


def _open(rig: MountRig, name: str = "f"):  # type: ignore[no-untyped-def]
    entry = rig.tree.lookup(name)
    assert entry.file is not None
    return rig.contents.open(name, entry.file)


def _gets(rig: MountRig) -> int:
    return sum(1 for method, path in rig.asked() if method == "GET" and path.endswith("/f"))


@pytest.mark.parametrize("size", [0, 1, 256 * 1024, 256 * 1024 + 1, 9 * MIB])
def test_a_file_is_read_as_it_was_saved(rig: MountRig, size: int) -> None:
    """In steps, at its ends and beyond them."""
    data = noise(30, size)
    rig.server.core.save("f", data)
    opened = _open(rig)
    steps = range(0, max(size, 1), STEP)
    assert b"".join(opened.read(offset, STEP) for offset in steps) == data
    assert opened.read(size, 10) == opened.read(size + 5, 10) == b""
    assert opened.read(max(0, size - 3), 10) == data[-3:]
    assert opened.file.size == size


def test_a_small_file_costs_one_request_and_then_a_check(rig: MountRig) -> None:
    """The second time the proxy only says that nothing has changed: no content is sent."""
    rig.server.core.save("f", b"small")
    rig.tree.lookup("f")
    rig.asked()
    assert _open(rig).read(0, 10) == b"small"
    assert len(rig.asked()) == 1
    rig.server.core.chunks.clear()
    assert _open(rig).read(0, 10) == b"small"
    assert len(rig.asked()) == 1


def test_opening_finds_the_newest_version(rig: MountRig) -> None:
    """Even if the feed has not heard of it; a file that became large or was deleted is noticed."""
    rig.server.core.save("f", b"one")
    rig.tree.lookup("f")
    rig.server.core.save("f", b"two")
    assert _open(rig).read(0, 10) == b"two"
    big = noise(31, 3 * MIB)
    rig.server.core.save("f", big)
    assert _open(rig).read(0, 10) == big[:10]
    rig.api.delete("f")
    with pytest.raises(NotFound):
        _open(rig)


def test_an_open_file_stays_at_its_version(rig: MountRig) -> None:
    """What a program reads is never a mixture of two versions."""
    data = noise(32, 6 * MIB)
    rig.server.core.save("f", data)
    opened = _open(rig)
    first = opened.read(0, STEP)
    rig.server.core.save("f", noise(33, 6 * MIB))
    rest = b"".join(opened.read(offset, STEP) for offset in range(STEP, 6 * MIB, STEP))
    assert first + rest == data


def test_a_large_file_is_fetched_ahead_and_in_few_requests(rig: MountRig) -> None:
    data = noise(34, 24 * MIB)
    rig.server.core.save("f", data)
    opened = _open(rig)
    rig.asked()
    for offset in range(0, 24 * MIB, STEP):
        assert opened.read(offset, STEP) == data[offset : offset + STEP]
    assert _gets(rig) <= 24 * MIB // RUN_BYTES * 3


def test_a_random_read_fetches_only_its_chunk(rig: MountRig) -> None:
    data = noise(35, 24 * MIB)
    rig.server.core.save("f", data)
    opened = _open(rig)
    assert opened.read(20 * MIB, 4096) == data[20 * MIB : 20 * MIB + 4096]
    assert opened.read(3 * MIB, 4096) == data[3 * MIB : 3 * MIB + 4096]
    assert rig.contents.received_bytes() <= 8 * MIB
    assert rig.contents.received_bytes() < AHEAD_BYTES


def test_what_was_read_is_not_fetched_again(rig: MountRig) -> None:
    """Another open file of the same content finds it on the disk."""
    data = noise(36, 8 * MIB)
    rig.server.core.save("f", data)
    _read_whole(rig, data)
    rig.asked()
    _read_whole(rig, data)
    assert _gets(rig) == 0


def _read_whole(rig: MountRig, data: bytes) -> None:
    opened = _open(rig)
    assert b"".join(opened.read(offset, STEP) for offset in range(0, len(data), STEP)) == data


@pytest.mark.parametrize("kind", ["cut_answer", "corrupt"])
def test_a_lost_connection_or_a_wrong_byte_is_tried_again(rig: MountRig, kind: str) -> None:
    data = noise(37, 6 * MIB)
    rig.server.core.save("f", data)
    opened = _open(rig)
    rig.server.harm(kind, "GET", "/files/files/f", after=MIB)
    assert b"".join(opened.read(offset, STEP) for offset in range(0, 6 * MIB, STEP)) == data


def test_wrong_bytes_are_never_handed_on(rig: MountRig) -> None:
    for size in (100, 3 * MIB):
        rig.server.core.save("f", noise(38, size))
        rig.follow()
        rig.server.faults.clear()
        if size == 100:
            rig.server.harm("corrupt", "GET", "/files/files/f", after=5, times=100)
            with pytest.raises(BadDigest):
                _open(rig)
        else:
            opened = _open(rig)
            rig.server.harm("corrupt", "GET", "/files/files/f", after=5, times=100)
            with pytest.raises(BadDigest):
                opened.read(0, 10)


def test_a_proxy_that_has_gone_is_an_error(rig: MountRig) -> None:
    data = noise(39, 3 * MIB)
    rig.server.core.save("f", data)
    opened = _open(rig)
    rig.server.close()
    with pytest.raises(PeerUnreachable):
        opened.read(0, 10)


def test_a_version_that_was_removed_is_stale(rig: MountRig) -> None:
    """It is not "no such file": there is one, only newer."""
    saved = rig.server.core.save("f", noise(41, 3 * MIB))
    opened = _open(rig)
    rig.server.core.save("f", b"newer")
    rig.api.delete("f", version=saved.version)
    with pytest.raises(PreconditionFailed, match="open the file again"):
        opened.read(0, 10)


def test_several_threads_may_read_one_open_file(rig: MountRig) -> None:
    data = noise(40, 12 * MIB)
    rig.server.core.save("f", data)
    opened = _open(rig)
    wrong: list[int] = []

    def read(start: int) -> None:
        wrong.extend(at for at in range(start, 12 * MIB, 3 * MIB) if opened.read(at, 5000) != data[at : at + 5000])

    threads = [threading.Thread(target=read, args=(start * 100_000,)) for start in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
