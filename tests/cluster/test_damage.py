"""Damage to the disks of real programs: chunk files of a file server, and the directory's metadata.

The volume is in `tests/properties/test_damage.py` and in
`tests/unit/directory_server/metadata/test_page_checksums.py`; this is what an operator sees.
"""

from __future__ import annotations

import random
import time
from pathlib import Path

from tests.cluster.cluster_harness import ClusterHarness
from tests.cluster.conftest import MakeCluster
from tests.cluster.disks import stop_and_check_disks
from tests.cluster.people import Person
from tests.waiting import wait_until

FILES = 12
SIZES = (100, 90_000, 400_000)
GENTLE_NO_MORE = {"LOCKSTEP_FILE_SERVER_SCRUB_PAUSE_FACTOR": "0.1"}


def flip(file: Path, source: random.Random) -> bytes:
    """Flip one bit; the content from before."""
    before = file.read_bytes()
    data = bytearray(before)
    data[source.randrange(len(data))] ^= 1 << source.randrange(8)
    file.write_bytes(data)
    return before


def read_all(cluster: ClusterHarness, files: dict[str, bytes]) -> None:
    """Through the proxy that has none of them in its cache yet."""
    with Person(cluster, 2) as person:
        for path, content in files.items():
            assert person.get(path) == content, f"wrong bytes of {path} were served"


def test_a_server_with_flipped_bits_harms_nobody_and_is_repaired(make_cluster: MakeCluster, seed: int) -> None:
    """Every chunk file of one server is damaged: reads are right, and soon both copies of everything are whole."""
    source = random.Random(seed)
    cluster = make_cluster(env=GENTLE_NO_MORE)
    files = {f"damage/{n}": source.randbytes(SIZES[n % len(SIZES)]) for n in range(FILES)}
    with Person(cluster) as person:
        for path, content in files.items():
            person.put(path, content)
    cluster.terminate("file_server", 1)
    folder = cluster.data_dir("file_server", 1)
    chunks = sorted(folder.glob("chunks/??/*"))
    assert chunks
    for chunk in chunks:
        flip(chunk, source)
    cluster.start("file_server", 1)
    read_all(cluster, files)
    wait_until(lambda: len(list((folder / "quarantine").iterdir())) >= len(chunks), what="quarantine of the damage")
    with Person(cluster) as person:

        def repaired() -> bool:
            info = person.patiently("GET", "/cluster").json()["repair"]
            return not info.get("under_copied") and not info.get("ordered") and not info.get("walking")

        for _ in range(8):  # reports come with heartbeats, one a second: once may be before the last of them
            time.sleep(0.5)
            wait_until(repaired, what="repair of the damage")
    checked = stop_and_check_disks(cluster)
    print(f"{len(chunks)} of {len(chunks)} damaged chunks found; {checked.copies} whole copies, 0 bad bytes served")


def test_a_directory_with_flipped_bits_does_not_start(make_cluster: MakeCluster, seed: int) -> None:
    """It says what is damaged and what to do; with its file as it was, it serves what it served before."""
    source = random.Random(seed)
    cluster = make_cluster(file_servers=2)
    files = {f"damage/{n}": source.randbytes(200) for n in range(20)}
    with Person(cluster) as person:
        for path, content in files.items():
            person.put(path, content)
    cluster.terminate("directory_server")
    record = cluster.record("directory_server")
    metadata = cluster.data_dir("directory_server") / "metadata.db"
    before = flip(metadata, source)
    cluster.start("directory_server", wait=False)

    def ended() -> bool:
        cluster._reap()
        return not cluster.record("directory_server").running

    wait_until(ended, what="the end of the directory with damaged metadata")
    said = Path(record.log_file).read_text()
    assert "is damaged" in said
    assert "restore a backup" in said
    metadata.write_bytes(before)
    cluster.start("directory_server")
    read_all(cluster, files)
