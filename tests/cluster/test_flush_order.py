"""The order of flushes behind every acknowledgement, from the kernel's point of view.

For each write, on each of its two holders: the chunk's file is flushed, then moved to its name, then the folder is
flushed, then the index; (small chunks lie in the index, so for them only that;) then the directory's metadata; and only
then does the client hear of it. Flushes shared by several writes count for each of them, if they began late enough.
"""

from __future__ import annotations

import itertools
import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import pytest

from file_server.store.local.disk_layout import DiskLayout
from lockstep_store.wire.digest import Digest, chunk_digest
from tests.cluster.cluster_harness import ClusterHarness
from tests.cluster.people import Person
from tests.cluster.system_calls import Call, calls_in, skip_without_strace, traced
from tests.fakes.older_storage import names_of

INLINE, FILE = 4_000, 100_000
EVERYDAY_WRITES, SOAK_WRITES = 40, 1000
WRITERS = 8
COPIES = 2


class Written(NamedTuple):
    """An acknowledged write of one chunk, by the wall clock that strace uses too."""

    chunk: Digest
    is_file: bool
    sent: float
    acknowledged: float


class Judge:
    """Finds, among the calls of a trace, the steps that a write needs.

    `file_servers` says, for each process, what the file of a chunk is called there.
    """

    def __init__(
        self, calls: Sequence[Call], directory: int, file_servers: Mapping[int, Callable[[Digest], str]]
    ) -> None:
        self._names = file_servers
        self._metadata = [call for call in calls if call.pid == directory and call.path.endswith("/metadata.db-wal")]
        self._mine = {pid: [call for call in calls if call.pid == pid] for pid in file_servers}

    def fault_of(self, write: Written) -> str:
        """What is missing before the acknowledgement of `write`; empty when all is in order."""
        sealed = sorted(end for pid in self._mine if (end := self._sealed(pid, write)) is not None)
        if len(sealed) < COPIES:
            return f"{len(sealed)} holders had it on disk"
        if not any(
            sealed[COPIES - 1] <= call.start and call.end <= write.acknowledged
            for call in self._between(self._metadata, write)
        ):
            return "the metadata was not flushed between the holders' flushes and the acknowledgement"
        return ""

    def _sealed(self, pid: int, write: Written) -> float | None:
        """When the write was first durable on a holder; None when it was not."""
        calls = list(self._between(self._mine[pid], write))
        after: float | None = write.sent
        if write.is_file:
            after = self._in_place(calls, self._names[pid](write.chunk))
        if after is None:
            return None
        return next((c.end for c in calls if c.path.endswith("/index.db-wal") and c.start >= after), None)

    def _in_place(self, calls: Sequence[Call], name: str) -> float | None:
        for rename in calls:
            if not rename.target.endswith(f"/{name}"):
                continue
            flushed = any(c.path == rename.path and not c.target and c.end <= rename.start for c in calls)
            folder = str(Path(rename.target).parent)
            named = next((c.end for c in calls if c.path == folder and c.start >= rename.end), None)
            return named if flushed else None
        return None

    def _between(self, calls: Sequence[Call], write: Written) -> Iterator[Call]:
        return (call for call in calls if write.sent <= call.start and call.end <= write.acknowledged)


def _write(person: Person, rng: random.Random, number: int) -> Written:
    body = rng.randbytes(FILE if number % 2 else INLINE)
    sent = time.time()
    person.put(f"traced/{number}", body)
    return Written(chunk_digest(body), bool(number % 2), sent, time.time())


def _name_on(cluster: ClusterHarness, data: Path) -> Callable[[Digest], str]:
    names, layout = names_of(data, cluster.folder.certs_dir / "storage-keys.json"), DiskLayout(data)
    return lambda digest: layout.chunk_file(names.name(digest)).name


def _traced_writes(
    cluster: ClusterHarness, rng: random.Random, count: int, folder: Path
) -> tuple[list[Written], Judge]:
    """Half of the writes one at a time, then half of them by several writers at once."""
    directory = cluster.pid("directory_server")
    servers = {
        record.pid: _name_on(cluster, Path(record.data_dir))
        for record in cluster.programs
        if record.program == "file_server"
    }
    numbers = itertools.count()
    with traced([directory, *servers], folder):
        with Person(cluster) as person:
            written = [_write(person, rng, next(numbers)) for _ in range(count // 2)]

        def several(seed: int) -> list[Written]:
            own = random.Random(seed)
            with Person(cluster, 1 + seed % 2) as person:
                return [_write(person, own, next(numbers)) for _ in range(count // 2 // WRITERS)]

        with ThreadPoolExecutor(WRITERS) as pool:
            for some in pool.map(several, [rng.getrandbits(32) for _ in range(WRITERS)]):
                written.extend(some)
    return written, Judge(calls_in(folder), directory, servers)


@pytest.mark.parametrize("count", [EVERYDAY_WRITES, pytest.param(SOAK_WRITES, marks=pytest.mark.soak)])
@pytest.mark.timeout(1800)
def test_every_acknowledgement_comes_after_every_flush(
    shared_cluster: ClusterHarness, tmp_path: Path, seed: int, count: int
) -> None:
    """File, name, folder and index on two holders, then the metadata, then the acknowledgement: in every write."""
    skip_without_strace()
    rng = random.Random(seed)
    written, judge = _traced_writes(shared_cluster, rng, count, tmp_path / "trace")
    faults = [f"{write.chunk.hex()}: {fault}" for write in written if (fault := judge.fault_of(write))]
    print(f"\n{len(written)} acknowledged writes traced, {len(faults)} with a step missing or out of order")
    assert not faults, "\n".join(faults[:10])
    assert len(written) >= count - WRITERS


def _trace_of_one_write() -> tuple[list[Call], Written]:
    write = Written(Digest(b"\xab" * 32), True, 0.0, 10.0)
    calls = []
    for holder in (1, 2):
        root = f"/{holder}"
        calls += [
            Call(holder, 1.0, 1.5, f"{root}/incoming/x"),
            Call(holder, 2.0, 2.5, f"{root}/incoming/x", f"{root}/chunks/ab/{write.chunk.hex()}"),
            Call(holder, 3.0, 3.5, f"{root}/chunks/ab"),
            Call(holder, 4.0, 4.5, f"{root}/index.db-wal"),
        ]
    return [*calls, Call(9, 5.0, 5.5, "/9/metadata.db-wal")], write


def test_the_judge_of_traces_catches_each_missing_or_late_step() -> None:
    """A trace without any one of its steps, or with one too early or too late, is found out; a whole one passes."""
    calls, write = _trace_of_one_write()
    servers = dict.fromkeys((1, 2, 3), Digest.hex)
    assert Judge(calls, 9, servers).fault_of(write) == ""
    for position, call in enumerate(calls):
        others = calls[:position] + calls[position + 1 :]
        early = call._replace(start=0.1, end=0.2)
        late = call._replace(start=call.start + 7.0, end=call.end + 7.0)
        assert Judge(others, 9, servers).fault_of(write), f"{call} was left out"
        assert Judge([*others, late], 9, servers).fault_of(write), f"{call} came late"
        if not call.path.endswith("/incoming/x") or call.target:
            assert Judge([*others, early], 9, servers).fault_of(write), f"{call} came early"
