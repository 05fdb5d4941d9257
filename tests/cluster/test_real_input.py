"""Real input through a real cluster: a tree, a large file, edits under locks, a file server killed.

The long form has 5,000 files and one over 1 GiB.
"""

from __future__ import annotations

import hashlib
import os
import random
import subprocess
import sys
import sysconfig
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.cluster.cluster_harness import ClusterHarness
from tests.cluster.disks import stop_and_check_disks
from tests.cluster.people import Person

CLIENTS = 4
MANY_READS = 20


@dataclass(frozen=True)
class Amount:
    """How much goes through the cluster."""

    files: int
    edited_files: int
    edits: int
    large_bytes: int


EVERYDAY = Amount(files=600, edited_files=20, edits=80, large_bytes=(64 << 20) + 12_345)
SOAK = Amount(files=5000, edited_files=60, edits=200, large_bytes=(1 << 30) + 12_345)


def _collect_tree(folder: Path, files: int) -> Path:
    """Copies of at least so many real files: the Python standard library, then installed packages."""
    count = 0
    for source in (Path(sysconfig.get_path("stdlib")), Path(sysconfig.get_path("purelib"))):
        for file in sorted(source.rglob("*")):
            if count >= files * 1.04:
                return folder
            relative = f"{source.name}/{file.relative_to(source)}"
            if file.is_symlink() or not file.is_file() or len(os.fsencode(relative)) > 900:
                continue
            target = folder / relative
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(file.read_bytes())
            count += 1
    assert count >= files, f"this machine has only {count} files to try with"
    return folder


def _lockstep(cluster: ClusterHarness, *words: str) -> None:
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "lockstep_store.client.cli",
            "--url",
            cluster.proxy_urls[0],
            "--ca",
            str(cluster.ca_file),
            *words,
        ],
        env={**os.environ, "LOCKSTEP_API_KEY": cluster.admin_key},
        capture_output=True,
        text=True,
        timeout=1200,
        check=False,
    )
    assert done.returncode == 0, f"lockstep {words}: {done.returncode}\n{done.stderr}"


def _sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


class Editors:
    """Four clients that add lines to shared files under locks, and what they have been told is done."""

    def __init__(self, cluster: ClusterHarness, paths: list[str], edits: int, seed: int) -> None:
        self.cluster, self.paths, self.edits, self.seed = cluster, paths, edits, seed
        self.acknowledged: dict[str, list[bytes]] = {path: [] for path in paths}
        self.count = 0
        self.half_done = threading.Event()
        self.guard = threading.Lock()

    def edit(self, client: int) -> None:
        rng = random.Random(self.seed + client)
        with Person(self.cluster, 1 + client % 2) as person:
            for number in range(self.edits // CLIENTS):
                path = rng.choice(self.paths)
                line = b"client %d edit %d\n" % (client, number)
                with person.lock(path) as lock:
                    content = person.get(path)
                    person.put(path, content + line, X_Lockstep_Lock=str(lock))
                    with self.guard:
                        self.acknowledged[path].append(line)
                        self.count += 1
                        if self.count >= self.edits // 2:
                            self.half_done.set()

    def watch(self, stop: threading.Event) -> int:
        """Read all the while, many times, through the other proxy: whatever was acknowledged before a read began must
        be in it."""
        rng, reads = random.Random(self.seed - 1), 0
        with Person(self.cluster, 2) as person:
            while not stop.is_set() or reads < MANY_READS:
                path = rng.choice(self.paths)
                with self.guard:
                    expected = list(self.acknowledged[path])
                content = person.get(path)
                missing = [line for line in expected if line not in content]
                assert not missing, f"stale: {path} lacks {missing}, which was acknowledged before the read"
                reads += 1
        return reads


def _write_large(file: Path, length: int, seed: int) -> bytes:
    """A file of that length in which no two MiB are equal; its digest."""
    block = random.Random(seed).randbytes(1 << 20)
    digest = hashlib.sha256()
    with file.open("wb") as opened:
        for number in range(-(-length // len(block))):
            piece = (number.to_bytes(8, "big") + block[8:])[: length - number * len(block)]
            digest.update(piece)
            opened.write(piece)
    return digest.digest()


def _read_all_back(cluster: ClusterHarness, tree: Path, files: list[Path], large_digest: bytes) -> None:
    """Every byte that went in through one proxy comes out through the other."""

    def compare(share: list[Path]) -> None:
        with Person(cluster, 2) as person:
            for file in share:
                name = f"tree/{file.relative_to(tree)}"
                assert _sha(person.get(name)) == _sha(file.read_bytes()), f"{name} differs"

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(compare, [files[n::6] for n in range(6)]))
    with Person(cluster, 2) as person:
        back = hashlib.sha256()
        with person.ask("GET", "/files/files/large.bin", stream=True) as answer:
            assert answer.status_code == 200
            for piece in answer.iter_content(1 << 20):
                back.update(piece)
    assert back.digest() == large_digest


def _edit_while_a_server_dies(cluster: ClusterHarness, editors: Editors) -> int:
    """Half of the edits come after the kill; how often was read beside them."""
    stop = threading.Event()
    with ThreadPoolExecutor(CLIENTS + 1) as pool:
        watcher = pool.submit(editors.watch, stop)
        clients = [pool.submit(editors.edit, client) for client in range(CLIENTS)]
        try:
            assert editors.half_done.wait(300), [c.exception(0) for c in clients if c.done()] or "the edits are stuck"
            cluster.kill("file_server", 2)
            for client in clients:
                client.result(600)
        finally:
            stop.set()
        reads = watcher.result(120)
    assert editors.count == editors.edits
    return reads


def _go_through(cluster: ClusterHarness, folder: Path, seed: int, amount: Amount) -> str:
    tree = _collect_tree(folder / "tree", amount.files)
    large = folder / "large.bin"
    digest = _write_large(large, amount.large_bytes, seed)
    _lockstep(cluster, "put", "-r", str(tree), "tree")
    _lockstep(cluster, "put", str(large), "large.bin")
    large.unlink()
    files = sorted(file for file in tree.rglob("*") if file.is_file())
    assert len(files) >= amount.files
    _read_all_back(cluster, tree, files, digest)

    edited = [f"tree/{file.relative_to(tree)}" for file in random.Random(seed).sample(files, amount.edited_files)]
    before = {name: (tree / name.removeprefix("tree/")).read_bytes() for name in edited}
    editors = Editors(cluster, edited, amount.edits, seed)
    reads = _edit_while_a_server_dies(cluster, editors)
    with Person(cluster, 1) as person:
        for path, lines in editors.acknowledged.items():
            # Each edit read the file under the lock, so the lines stand in the very order of the acknowledgements.
            assert person.get(path) == before[path] + b"".join(lines), f"{path} is not what was acknowledged"

    cluster.start("file_server", 2)
    checked = stop_and_check_disks(cluster)
    assert checked.versions >= amount.files + amount.edits
    return (
        f"{len(files)} files and {amount.large_bytes:,} bytes compared, {amount.edits} edits, {reads} reads beside "
        f"them, {checked.copies} copies of {checked.blobs} blobs checked on disk"
    )


def test_real_files_edits_and_a_killed_file_server(cluster: ClusterHarness, tmp_path: Path, seed: int) -> None:
    """Real files and a large one go in through one proxy and come out equal through the other; edits under locks while
    a file server is killed: nothing acknowledged is lost, nothing stale is read, the disks agree with the directory."""
    print(_go_through(cluster, tmp_path, seed, EVERYDAY))


@pytest.mark.soak
@pytest.mark.timeout(2400)
def test_thousands_of_files_and_a_gigabyte(cluster: ClusterHarness, tmp_path: Path, seed: int) -> None:
    """The same with 5,000 files, 1 GiB and 200 edits."""
    print(_go_through(cluster, tmp_path, seed, SOAK))
