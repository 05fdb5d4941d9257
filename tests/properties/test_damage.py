"""Flipped bits, cuts, swaps and older disks on file servers, and damage in the proxy's cache, in a whole cluster inside
this process.

After each damage everything is read, through a proxy whose cache is empty: no byte may be wrong. Then the background
jobs have their turn, and every version must have its copies again, whole, where the directory says.
"""

from __future__ import annotations

import random
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from directory_server.metadata.statements import servers
from lockstep_store.wire.digest import Digest
from lockstep_store.wire.errors import LockstepError, Unavailable
from tests.fakes.whole_cluster import WholeCluster

EVERYDAY, SOAK = 12, 1000
OLDER = ("the whole disk", "index.db", "chunks", "nothing")
"""What of a disk is older: all of it, its index alone, its chunk files alone; or all of it is empty."""
SIZES = (0, 1, 300, 300, 5_000, 40_000, 40_000, 90_000, 90_000, 200_000, 700_000, 2_000_000)
PAGE = 4096


class Damage:
    """A cluster with files, and a random source of harm."""

    def __init__(self, cluster: WholeCluster, seed: int) -> None:
        self.cluster = cluster
        self.random = random.Random(seed)
        self.files: dict[str, bytes] = {}
        for number, size in enumerate(SIZES):
            self.write(f"file-{number}", size)

    def write(self, path: str, size: int) -> None:
        content = self.random.randbytes(size)
        assert self.cluster.ask("PUT", f"/files/files/{path}", content).status in (200, 201)
        self.files[path] = content

    def harm(self, file: Path, other: Path | None = None) -> str:
        """Flip a bit, cut, or swap: pages of an index, or the whole content with `other`."""
        data = bytearray(file.read_bytes())
        kind = self.random.choice(("flip", "flip", "cut", "swap"))
        if kind == "swap" and other is not None:
            file.write_bytes(other.read_bytes())
            other.write_bytes(data)
            return f"{file.name} and {other.name} swapped"
        if kind == "swap" and len(data) >= 2 * PAGE:
            one, two = (self.random.randrange(len(data) // PAGE) * PAGE for _ in range(2))
            data[one : one + PAGE], data[two : two + PAGE] = data[two : two + PAGE], data[one : one + PAGE]
            what = f"{file.name}: pages at {one} and {two} swapped"
        elif kind == "cut":
            length = self.random.randrange(len(data))
            del data[length:]
            what = f"{file.name} cut to {length}"
        else:
            at = self.random.randrange(len(data))
            data[at] ^= 1 << self.random.randrange(8)
            what = f"{file.name}: bit flipped in byte {at}"
        file.write_bytes(data)
        return what

    def keep_disk(self, id: str) -> None:
        """Keep a copy of the disk of a file server that does not run, of now; the earlier copy goes."""
        shutil.rmtree(self._aside(id), ignore_errors=True)
        shutil.copytree(self.cluster.server_folder(id), self._aside(id))

    def _aside(self, id: str) -> Path:
        return self.cluster.folder / f"older-{id}"

    @property
    def kept(self) -> list[str]:
        """The file servers of whose disks there are copies."""
        return [id for id in sorted(self.cluster.servers) if self._aside(id).exists()]

    def make_older(self, id: str) -> str:
        """Put the kept copy of a disk, or of a part of it, in its place."""
        part = self.random.choice(OLDER)
        folder, older = self.cluster.server_folder(id), self._aside(id)
        if part in ("the whole disk", "nothing"):
            shutil.rmtree(folder)
            if part == "the whole disk":
                shutil.copytree(older, folder)
        elif part == "chunks":
            shutil.rmtree(folder / part)
            shutil.copytree(older / part, folder / part)
        else:
            shutil.copy(older / part, folder / part)
        return f"{part} is older"

    def read_everything(self) -> None:
        for path, content in self.files.items():
            answer = self.cluster.ask("GET", f"/files/files/{path}")
            assert answer.status == 200, (path, answer.status, answer.body[:300])
            assert answer.error is None
            assert answer.body == content, f"wrong bytes of {path} were served"

    def empty_cache(self) -> None:
        folder = self.cluster.proxies["1"].folder
        self.cluster.stop_proxy("1")
        shutil.rmtree(folder / "cache")
        self.cluster.start_proxy("1")

    def recover(self, id: str) -> None:
        """What happens by itself; and a restart, where the server's health asks for one."""
        for _ in range(2):
            settled = False
            try:
                settled = self.background_work(id)
            except Unavailable:
                assert self.asks_for_restart(id)
            if not self.asks_for_restart(id):
                assert settled, self.cluster.directory.repair.info()
                return
            self.cluster.stop_server(id)
            self.cluster.start_server(id)
            self.read_everything()
        raise AssertionError("a restart did not make the index whole")

    def asks_for_restart(self, id: str) -> bool:
        """A reader may have found what the background work need not touch."""
        return "it is being rebuilt" in self.cluster.servers[id].store.problem

    def background_work(self, id: str) -> bool:
        """A whole round of the server's scrubber and inventory, and then of repair; whether that came to its end."""
        server = self.cluster.servers[id]
        for _ in range(1000):
            if server.scrubber.step() > 1000:
                break
        for _ in range(50):
            self.cluster.pass_time(1.0)
            if server.inventory.step() >= 10:
                break
        return self.cluster.settle()

    def check_copies(self) -> None:
        """Every blob in use has two holders, and each has every byte of it."""
        store = self.cluster.directory.store
        with store.read() as reader:
            blobs = servers.page_of_blobs(reader, b"", 1000)
        assert len(blobs) >= len(set(self.files.values()))
        for blob in blobs:
            assert len(blob.holders) >= 2, blob
            for id in blob.holders:
                assert self.is_whole(id, blob.digest), f"{blob.digest} is not whole on file server {id}"

    def is_whole(self, id: str, digest: Digest) -> bool:
        held = self.cluster.servers[id].store
        try:
            return all(len(held.read_chunk(chunk)) == length for chunk, length in held.manifest(digest).chunks)
        except LockstepError:
            return False


@pytest.fixture
def damage(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, seed: int) -> Iterator[Damage]:
    with WholeCluster(tmp_path, tmp_path_factory.getbasetemp() / "certs") as cluster:
        yield Damage(cluster, seed)


def harm_file_servers(damage: Damage, rounds: int, seed: int) -> None:
    cluster, source = damage.cluster, damage.random
    for number in range(rounds):
        older = number % 3 == 2
        id = source.choice(damage.kept if older else sorted(cluster.servers))
        cluster.stop_server(id)
        folder = cluster.server_folder(id)
        chunks = sorted(folder.glob("chunks/??/*"))
        if older:
            what = damage.make_older(id)
        else:
            damage.keep_disk(id)
            if number % 3 == 1 and chunks:
                what = damage.harm(source.choice(chunks), source.choice(chunks))
            else:
                what = damage.harm(folder / "index.db")
        try:
            damage.empty_cache()
            cluster.start_server(id)
            damage.read_everything()
            damage.recover(id)
            damage.check_copies()
        except Exception as error:
            raise AssertionError(f"seed {seed}, round {number}, file server {id}, {what}: {error}") from error
        damage.write(f"file-{number % len(SIZES)}", SIZES[number % len(SIZES)] or 0)
    print(f"{rounds} damages on file servers: 0 bad bytes served, every copy whole again")


def harm_cache(damage: Damage, rounds: int) -> None:
    for _ in range(rounds):
        damage.read_everything()
        files = sorted(file for file in (damage.cluster.proxies["1"].folder / "cache").rglob("*") if file.is_file())
        for file in damage.random.sample(files, min(4, len(files))):
            if file.stat().st_size:
                damage.harm(file, damage.random.choice(files))
        damage.cluster.stop_proxy("1")
        damage.cluster.start_proxy("1")
        damage.read_everything()
    print(f"{4 * rounds} damages in the cache: 0 bad bytes served")


def test_damage_on_file_servers_is_never_served_and_is_repaired(damage: Damage, seed: int) -> None:
    """After damage to a chunk file or to the index, or with an older disk, reads are right at once, and all copies are
    whole again soon."""
    harm_file_servers(damage, EVERYDAY, seed)


def test_damage_in_the_cache_is_never_served(damage: Damage) -> None:
    """A damaged entry of the proxy's cache is a miss."""
    harm_cache(damage, 4)


@pytest.mark.soak
@pytest.mark.timeout(3 * 3600)
def test_a_thousand_damages_on_file_servers(damage: Damage, seed: int) -> None:
    """The same a thousand times."""
    harm_file_servers(damage, SOAK, seed)


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_a_thousand_damages_in_the_cache(damage: Damage) -> None:
    """The same a thousand times."""
    harm_cache(damage, SOAK // 4)
