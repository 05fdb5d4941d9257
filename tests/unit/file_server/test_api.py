"""A file server's routes, and what it tells the directory."""

from __future__ import annotations

import errno
import io
import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from file_server.__main__ import main
from file_server.api import WHOLE_REPLY_BYTES
from lockstep_store.wire.chunk_stream import StreamReader
from lockstep_store.wire.chunking import chunk_bytes
from lockstep_store.wire.codec import decode_problem, encode
from lockstep_store.wire.digest import Digest, chunk_digest
from lockstep_store.wire.errors import BadRequest, DamagedChunk, NotFound, TooLarge
from lockstep_store.wire.manifest import Manifest
from lockstep_store.wire.messages.servers import (
    MANIFEST_PATH,
    MAX_READ_CHUNKS,
    MISSING_CHUNKS,
    READ_CHUNKS_PATH,
    WRITE_PATH,
    MissingChunksRequest,
    ReadChunksRequest,
)
from tests.fakes.blobs import put
from tests.fakes.disk import BrokenDisk
from tests.fakes.file_servers import DIRECTORY_URL, Cluster
from tests.fakes.wsgi import ask


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    cluster = Cluster(tmp_path, 1)
    yield cluster
    cluster.stop()


def _get(cluster: Cluster, path: str) -> dict:
    found = ask(cluster.server("1").wsgi, "GET", path)
    return {"status": found.status, **found.json}


def _read(cluster: Cluster, digests: list[Digest]) -> dict[Digest, bytes]:
    answer = cluster.network.open(cluster.url("1"), "POST", READ_CHUNKS_PATH, encode(ReadChunksRequest(digests)))
    return {chunk.digest: bytes(chunk.data or b"") for chunk in StreamReader(answer.read)}


@pytest.mark.parametrize("size", [0, 1000, 3_000_000, 12_000_000])
def test_chunks_are_read_back_as_a_checked_stream(cluster: Cluster, seed: int, size: int) -> None:
    """The answer is a whole chunk stream, whether it is made in memory or chunk by chunk."""
    data = random.Random(seed).randbytes(size)
    reply = cluster.write(data, cluster.ticket("1"))
    manifest = cluster.server("1").store.manifest(reply.digest)
    chunks = _read(cluster, [digest for digest, _ in manifest.chunks])
    assert b"".join(chunks[digest] for digest, _ in manifest.chunks) == data


@pytest.mark.parametrize("size", [3_000_000, 12_000_000])
def test_the_declared_length_is_the_bodys_length(cluster: Cluster, seed: int, size: int) -> None:
    """A reader can tell a cut answer from a whole one by its length alone."""
    reply = cluster.write(random.Random(seed).randbytes(size), cluster.ticket("1"))
    manifest = cluster.server("1").store.manifest(reply.digest)
    headers: dict[str, str] = {}

    class Body:
        def __init__(self) -> None:
            self.rest = encode(ReadChunksRequest([digest for digest, _ in manifest.chunks]))

        def read(self, count: int) -> bytes:
            data, self.rest = self.rest[:count], self.rest[count:]
            return data

    environ = {"REQUEST_METHOD": "POST", "PATH_INFO": READ_CHUNKS_PATH, "wsgi.input": Body()}
    body = cluster.server("1").wsgi(environ, lambda _, given: headers.update(given))
    assert sum(len(piece) for piece in body) == int(headers["Content-Length"])


@pytest.mark.parametrize("asked", [1, 9])
def test_a_damaged_first_chunk_is_named_before_a_reply_begins(cluster: Cluster, asked: int) -> None:
    """A reply that breaks off would give no reason, and a reader could not tell damage from a server that died."""
    # The same bytes in each run: the first chunk of others may be longer than a whole reply.
    reply = cluster.write(random.Random(1).randbytes(12_000_000), cluster.ticket("1"))
    store = cluster.server("1").store
    digests = [digest for digest, _ in store.manifest(reply.digest).chunks][:asked]
    assert (sum(store.lengths(digests)) > WHOLE_REPLY_BYTES) == (asked > 1)
    path = store._files.path(digests[0])
    path.write_bytes(path.read_bytes()[:-1])
    body = io.BytesIO(encode(ReadChunksRequest(digests)))
    environ = {"PATH_INFO": READ_CHUNKS_PATH, "REQUEST_METHOD": "POST", "wsgi.input": body}
    status: list[str] = []
    reply_body = cluster.server("1").wsgi(environ, lambda line, _: status.append(line))
    assert decode_problem(b"".join(reply_body), int(status[0][:3])).code == "damaged_chunk"


def test_reads_are_bounded(cluster: Cluster, seed: int) -> None:
    """Too many chunks or bytes in one question are refused before anything is read."""
    with pytest.raises(BadRequest):
        _read(cluster, [chunk_digest(b"%d" % number) for number in range(MAX_READ_CHUNKS + 1)])
    with pytest.raises(BadRequest):
        _read(cluster, [])
    reply = cluster.write(random.Random(seed).randbytes(20_000_000), cluster.ticket("1"))
    manifest = cluster.server("1").store.manifest(reply.digest)
    with pytest.raises(TooLarge):
        _read(cluster, [digest for digest, _ in manifest.chunks])


def test_unknown_things_are_not_found(cluster: Cluster) -> None:
    """Chunks and manifests that are not here are NotFound; what is no digest is a bad request."""
    with pytest.raises(NotFound):
        _read(cluster, [chunk_digest(b"unknown")])
    for rest, error in ((str(chunk_digest(b"unknown")), NotFound), ("nonsense", BadRequest)):
        with pytest.raises(error):
            cluster.network.open(cluster.url("1"), "GET", MANIFEST_PATH + rest)


def test_a_manifest_is_served_in_canonical_form(cluster: Cluster, seed: int) -> None:
    """Its bytes hash to the blob's digest."""
    data = random.Random(seed).randbytes(5_000_000)
    reply = cluster.write(data, cluster.ticket("1"))
    raw = cluster.network.open(cluster.url("1"), "GET", MANIFEST_PATH + str(reply.digest)).read_all(1 << 20)
    assert Manifest.decode(raw, reply.digest).size == len(data)


def test_missing_chunks_are_named(cluster: Cluster) -> None:
    """A sender learns exactly which chunks to send."""
    reply = cluster.write(b"here", cluster.ticket("1"))
    absent = chunk_digest(b"absent")
    answer = cluster.network.call(cluster.url("1"), MISSING_CHUNKS, MissingChunksRequest([reply.digest, absent]))
    assert answer.missing == [absent]


@pytest.mark.parametrize("hop", ["", "proxy"])
def test_a_write_says_what_it_is(cluster: Cluster, hop: str) -> None:
    """Without a ticket, or with an unknown hop, a write is a bad request."""
    with pytest.raises(BadRequest, match="X-Lockstep-Hop"):
        cluster.write(b"content", cluster.ticket("1"), hop=hop)
    with pytest.raises(BadRequest, match="X-Lockstep-Ticket"):
        cluster.network.send_stream(cluster.url("1"), WRITE_PATH, {}, [b""])


def test_damage_found_by_a_reader_is_reported_with_the_next_heartbeat(cluster: Cluster, seed: int) -> None:
    """The reader is told that the chunk is damaged; the directory, which blob."""
    data = random.Random(seed).randbytes(5_000_000)
    reply = cluster.write(data, cluster.ticket("1"))
    chunk = next(iter(chunk_bytes(data)))
    path = cluster.server("1").store._files.path(chunk.digest)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(DamagedChunk):
        _read(cluster, [chunk.digest])
    cluster.network.dead.add(DIRECTORY_URL)
    cluster.server("1").link.step()
    assert cluster.directory.damaged == []
    cluster.network.dead.clear()
    cluster.server("1").link.step()
    assert cluster.directory.damaged == [("1", reply.digest)]
    cluster.server("1").link.step()
    assert len(cluster.directory.damaged) == 1


def test_health_is_good_while_the_directory_is_away_and_says_so(cluster: Cluster) -> None:
    """Losing the directory is a problem worth telling, not a reason to restart this server."""
    assert _get(cluster, "/health")["healthy"]
    cluster.network.dead.add(DIRECTORY_URL)
    cluster.server("1").link.step()
    health = _get(cluster, "/health")
    assert health["status"] == 200
    assert health["healthy"]
    assert "directory server" in health["problems"][0]
    cluster.network.dead.clear()
    cluster.server("1").link.step()
    assert _get(cluster, "/health").get("problems", []) == []


def test_an_index_that_keeps_a_server_from_registering_is_not_blamed_on_the_directory(cluster: Cluster) -> None:
    """Whoever reads the health is told what to do, and does not look at the wrong machine."""
    server = cluster.server("1")
    server.store._index.submit(lambda tx: tx._run("DROP TABLE sealed_fence"))
    server.link.registered = False
    server.link.step()
    problems = _get(cluster, "/health")["problems"]
    assert any("index failed" in problem for problem in problems)
    assert not any("does not answer" in problem for problem in problems)


def test_a_full_disk_is_in_the_health_and_the_heartbeat_until_it_is_not(cluster: Cluster, seed: int) -> None:
    """Storage that takes no writes makes the server unhealthy; a probe that works makes it healthy again."""
    server = cluster.server("1")
    disk = BrokenDisk()
    server.store._files._disk = disk
    disk.break_all(errno.ENOSPC)
    with pytest.raises(Exception, match="full"):
        put(server.store, random.Random(seed).randbytes(100_000))
    server.link.step()
    assert _get(cluster, "/health")["status"] == 503
    assert not cluster.directory.beats[-1].healthy
    assert "full" in cluster.directory.beats[-1].problem
    disk.repair()
    server.link.step()
    assert cluster.directory.beats[-1].healthy
    assert _get(cluster, "/health")["status"] == 200


def test_a_heartbeat_carries_the_figures(cluster: Cluster) -> None:
    """Capacity, free space, blobs and bytes are those of the storage."""
    cluster.write(b"content", cluster.ticket("1"))
    cluster.server("1").link.step()
    beat = cluster.directory.beats[-1]
    assert beat.blobs == 1
    assert beat.stored_bytes == len(b"content") + 33
    assert 0 < beat.free_bytes <= beat.capacity_bytes
    assert beat.store_id == cluster.server("1").store.store_id


def test_a_server_that_the_directory_has_forgotten_registers_again(cluster: Cluster) -> None:
    """After the directory lost its members, or restarted, the next heartbeat brings the server back."""
    cluster.directory.known.clear()
    link = cluster.server("1").link
    link.step()
    assert cluster.directory.known == {cluster.url("1")}
    link.step()
    assert link.registered
    assert link.problem == ""


def test_damage_from_before_a_restart_is_reported_again(tmp_path: Path) -> None:
    """What the directory may not have heard before the server stopped, it hears when the server registers."""
    cluster = Cluster(tmp_path, 1)
    reply = cluster.write(bytes(200_000), cluster.ticket("1"))
    server = cluster.server("1")
    server.store._files.path(reply.digest).unlink()
    with pytest.raises(DamagedChunk):
        server.store.read_chunk(reply.digest)
    server.stop()
    cluster.start("1")
    assert cluster.directory.damaged == [("1", reply.digest)]
    cluster.stop()


def test_metrics_are_served(cluster: Cluster) -> None:
    """The metrics page names this program's figures."""
    page = ask(cluster.server("1").wsgi, "GET", "/metrics").body.decode()
    for name in ("writes", "written_bytes", "read_bytes", "scrubbed_bytes", "dropped_blobs", "copied_blobs"):
        assert f"lockstep_file_server_{name}" in page


def test_what_is_asked_for_makes_no_figure_of_its_own(cluster: Cluster) -> None:
    """A figure stays in memory for good, so there is one for a route, not for each blob that is not here."""

    def refusals() -> set[str]:
        page = ask(cluster.server("1").wsgi, "GET", "/metrics").body.decode()
        return {line.rpartition(" ")[0] for line in page.splitlines() if line.startswith("lockstep_refusals_total")}

    before = refusals()
    for number in range(20):
        with pytest.raises(NotFound):
            cluster.network.open(cluster.url("1"), "GET", MANIFEST_PATH + str(chunk_digest(b"%d" % number)))
    assert refusals() - before <= {'lockstep_refusals_total{code="not_found",route="/v1/manifests/"}'}


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--directory", "http://plain"], "https://"),
        (["--advertise", "nowhere"], "https://"),
        (["--port", "0"], "port"),
    ],
)
def test_options_that_cannot_work_are_refused(options: list[str], expected: str) -> None:
    """A wrong option ends the program with a sentence about it."""
    result = CliRunner().invoke(main, options)
    assert result.exit_code == 2
    assert expected in result.output


def test_a_start_that_fails_is_one_sentence(tmp_path: Path) -> None:
    """Without certificates or an authority the program says how to join, without a traceback."""
    result = CliRunner().invoke(main, ["--certs", str(tmp_path / "certs"), "--data", str(tmp_path / "data")])
    assert result.exit_code == 1
    assert "lockstep join" in result.output
    assert "Traceback" not in result.output
