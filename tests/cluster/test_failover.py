"""Failover: file servers are killed and frozen under real clients, and nobody has to notice.

Every client here asks once: whatever is retried, the cluster does it. Each test prints the seconds it saw; the long
form (`--soak`) is the same with random victims, many times.
"""

from __future__ import annotations

import random
import secrets
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import pytest
import requests

from lockstep_store.client.api.body import Body
from lockstep_store.client.api.calls import ApiCalls
from lockstep_store.client.api.transport import ApiTransport
from lockstep_store.client.transfers import upload
from lockstep_store.runtime.peers.caller import PeerClient
from lockstep_store.runtime.tls.identity import ensure_identity
from lockstep_store.wire.chunk_stream import encode_stream
from lockstep_store.wire.chunking import chunk_bytes
from lockstep_store.wire.codec import decoder
from lockstep_store.wire.errors import TicketRefused, TooFewHolders
from lockstep_store.wire.messages.files import LOOKUP, LookupItem, LookupRequest
from lockstep_store.wire.messages.servers import (
    HOP_HEADER,
    MAX_SMALL_STREAM_BYTES,
    TICKET_HEADER,
    WRITE_PATH,
    WriteReply,
)
from lockstep_store.wire.messages.writes import BEGIN, BeginItem, BeginReplyItem, BeginRequest
from tests.cluster.cluster_harness import ClusterHarness
from tests.cluster.people import Person, file_path
from tests.cluster.promised_times import check_time, in_time_once
from tests.waiting import wait_until

Harm = Literal["kill", "freeze"]
PROMISED_SECONDS = 3.0
MIB = 1 << 20
KEPT_SERVERS = 2 * MAX_SMALL_STREAM_BYTES
"""Bytes of a file whose servers the next write of its path keeps; those of smaller files change with the load."""
_write_reply = decoder(WriteReply)


class Scene:
    """A cluster with 3 file servers and 2 proxies, a person at each proxy, and a look behind the doors."""

    def __init__(self, cluster: ClusterHarness) -> None:
        self.cluster = cluster
        self.people = [Person(cluster, 1), Person(cluster, 2)]
        identity = ensure_identity(cluster.folder.certs_dir, "client_proxy", "1")
        self.peer = PeerClient(identity, directory=cluster.directory_url)

    def close(self) -> None:
        self.peer.close()
        for person in self.people:
            person.session.close()

    def holders(self, path: str) -> list[str]:
        """The ids of those that hold the current version, in reading order: whoever is asked first comes first."""
        item = LookupItem(credential=self.cluster.admin_key, bucket="files", path=path)
        found = self.peer.call(self.cluster.directory_url, LOOKUP, LookupRequest([item])).results[0].unwrap()
        return [holder.id for holder in found.holders]

    def begin(self, path: str, write_id: str, exclude: list[str], attempt: int = 0) -> BeginReplyItem:
        item = BeginItem(self.cluster.admin_key, write_id, "files", path, exclude=exclude, attempt=attempt)
        return self.peer.call(self.cluster.directory_url, BEGIN, BeginRequest([item])).results[0].unwrap()

    def up(self) -> int:
        """How many file servers the directory counts as up."""
        servers = self.people[0].ask("GET", "/cluster").json()["file_servers"]
        return sum(server["state"] == "up" for server in servers)

    @contextmanager
    def without(self, harm: Harm, *ids: str) -> Iterator[None]:
        """Some file servers killed or frozen inside the block; afterwards they are back, and known to be."""
        for id in ids:
            (self.cluster.kill if harm == "kill" else self.cluster.pause)("file_server", id)
        try:
            yield
        finally:
            self.bring_back(harm, *ids)

    def bring_back(self, harm: Harm, *ids: str) -> None:
        """Start or wake file servers, and wait until all are up. One that was just killed may still be taken for up."""
        for id in ids:
            if harm == "kill":
                self.cluster.start("file_server", id, wait=False)
            else:
                self.cluster.resume("file_server", id)
        self.cluster.wait_healthy(*(self.cluster.record("file_server", id) for id in ids))
        wait_until(lambda: self.up() == 3, what="all file servers to be up")

    def versions(self, path: str) -> list[str]:
        """The digests of a path's versions, newest first."""
        answer = self.people[0].ask("GET", f"/versions/files/{path}")
        return [version["digest"] for version in answer.json()["versions"]] if answer.status_code == 200 else []


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    with ClusterHarness(tmp_path_factory.mktemp("failover")) as cluster:
        scene = Scene(cluster)
        yield scene
        scene.close()


def timed(ask: Callable[[], requests.Response]) -> tuple[requests.Response, float]:
    began = time.monotonic()
    answer = ask()
    return answer, time.monotonic() - began


def _write_through_both(scene: Scene, path: str, content: bytes) -> list[float]:
    """One write through each proxy at the same time, asked for once; the seconds each took."""

    def write(person: Person) -> float:
        own = content + person.url.encode()
        answer, seconds = timed(lambda: person.ask("PUT", file_path("files", path), data=own))
        assert answer.status_code in (200, 201), answer.text
        assert "2/2" in answer.headers["X-Lockstep-Copies"]
        return seconds

    with ThreadPoolExecutor(2) as pool:
        return list(pool.map(write, scene.people))


def _lose_the_master(scene: Scene, harm: Harm, path: str, rng: random.Random) -> float:
    """Seconds of the slower first write. When the master is back, nothing that was written has changed."""
    master = scene.people[0].ask("PUT", file_path("files", path), data=rng.randbytes(KEPT_SERVERS))
    with scene.without(harm, master.headers["X-Lockstep-File-Server"]):
        first = _write_through_both(scene, path, rng.randbytes(KEPT_SERVERS))
        second = _write_through_both(scene, path, rng.randbytes(KEPT_SERVERS))
        scene.people[0].put(path, b"the last word")
        before = scene.versions(path)
    # It is up, so it has had its turn; a write of its own now comes after whatever it still had to say.
    for number in range(4):
        scene.people[number % 2].put(f"{path}-{number}", b"%d" % number)
    assert len(before) == 6
    assert scene.versions(path) == before
    assert scene.people[1].get(path) == b"the last word"
    print(f"master {harm}: first writes {_shown(first)} s, next writes {_shown(second)} s")
    # A server found dead costs its time-out once.
    check_time(max(second), PROMISED_SECONDS / 2, "the next write")
    return max(first)


@pytest.mark.parametrize("harm", ["kill", "freeze"])
def test_writes_go_on_through_the_next_holder(scene: Scene, seed: int, harm: Harm) -> None:
    """With its master gone a file is written within 3 seconds through either proxy, without an error reaching a
    client; and the master, back again with what it had in hand, adds and replaces nothing."""
    rng = random.Random(seed)

    def attempt(number: int) -> None:
        seconds = _lose_the_master(scene, harm, f"master-{harm}-{number}", rng)
        check_time(seconds, PROMISED_SECONDS, "the first write")

    in_time_once(attempt)


def _read_without_the_preferred_holder(scene: Scene, harm: Harm, path: str, rng: random.Random) -> float:
    small, large = f"{path}-small", f"{path}-large"
    contents = {small: rng.randbytes(20_000), large: rng.randbytes(12 * MIB)}
    for name, content in contents.items():
        scene.people[0].put(name, content)
    reader = scene.people[1]
    with reader.ask("GET", file_path("files", large), stream=True) as answer:
        pieces = answer.iter_content(MIB)
        got = [next(pieces)]
        # The first in reading order; another one when the machine stood still so long that it was asked instead.
        victim = answer.headers["X-Lockstep-File-Server"]
        assert victim in scene.holders(large)
        longest, last = 0.0, time.monotonic()
        with scene.without(harm, victim):
            for piece in pieces:
                longest, last = max(longest, time.monotonic() - last), time.monotonic()
                got.append(piece)
            assert b"".join(got) == contents[large]
            whole, seconds = timed(lambda: reader.ask("GET", file_path("files", small)))
            assert whole.content == contents[small]
    print(f"preferred holder {harm}: longest pause in mid-stream {longest:.2f} s, small file {seconds:.2f} s")
    return max(longest, seconds)


@pytest.mark.parametrize("harm", [pytest.param("kill", marks=pytest.mark.soak), "freeze"])
def test_reads_do_not_notice(scene: Scene, seed: int, harm: Harm) -> None:
    """An uncached file is read whole and right while its preferred holder goes away, also in mid-stream."""
    rng = random.Random(seed)

    def attempt(number: int) -> None:
        seconds = _read_without_the_preferred_holder(scene, harm, f"read-{harm}-{number}", rng)
        check_time(seconds, PROMISED_SECONDS, "a read")

    in_time_once(attempt)


def test_a_late_commit_is_answered_with_what_exists(scene: Scene, seed: int) -> None:
    """The master that was given up commits the same write later: it gets that version; with other content, nothing."""
    rng = random.Random(seed)
    content, other = rng.randbytes(4000), rng.randbytes(4000)
    write_id = secrets.token_hex(16)

    def send(begun: BeginReplyItem, data: bytes) -> WriteReply:
        assert begun.master is not None
        headers = {TICKET_HEADER: begun.ticket or "", HOP_HEADER: "master"}
        blocks = encode_stream(chunk_bytes(data))
        return _write_reply.decode(scene.peer.send_stream(begun.master.url, WRITE_PATH, headers, blocks))

    late = scene.begin("late", write_id, [])
    assert late.master is not None
    in_time = scene.begin("late", write_id, [late.master.id])
    assert in_time.master is not None
    assert in_time.master.id != late.master.id
    made = send(in_time, content).version
    assert made is not None
    repeated = send(late, content).version
    assert repeated is not None
    assert repeated.version == made.version
    scene.people[0].put("late", b"newer")
    with pytest.raises(TicketRefused):
        send(late, other)
    again = send(late, content).version
    assert again is not None
    assert again.version == made.version
    assert len(scene.versions("late")) == 2
    assert scene.people[1].get("late") == b"newer"
    wait_until(lambda: scene.up() == 3, what="the server that was reported to be up again")


def test_a_late_push_is_refused_by_the_replicas(scene: Scene) -> None:
    """A master that was given up sends its replicas what it still has in hand: they have heard of the next attempt."""
    write_id = secrets.token_hex(16)
    late = scene.begin("pushed", write_id, [])
    assert late.master is not None
    in_time = scene.begin("pushed", write_id, [late.master.id], attempt=1)
    assert in_time.master is not None

    def push(begun: BeginReplyItem, data: bytes, hop: str, url: str) -> WriteReply:
        headers = {TICKET_HEADER: begun.ticket or "", HOP_HEADER: hop}
        return _write_reply.decode(scene.peer.send_stream(url, WRITE_PATH, headers, encode_stream(chunk_bytes(data))))

    assert push(in_time, b"in time", "master", in_time.master.url).copies == 2
    with pytest.raises(TooFewHolders):
        push(late, b"late", "master", late.master.url)
    with pytest.raises(TicketRefused, match="begun again"):
        push(late, b"late", "replica", in_time.master.url)
    assert scene.people[1].get("pushed") == b"in time"
    assert len(scene.versions("pushed")) == 1
    wait_until(lambda: scene.up() == 3, what="the server that was reported to be up again")


class _HalfWay:
    """A body of known length that does something when half of it was sent."""

    def __init__(self, content: bytes, then: Callable[[], None]) -> None:
        self._content = content
        self._then = then

    def blocks(self) -> Iterator[bytes]:
        half = len(self._content) // 2
        for start in range(0, len(self._content), MIB):
            if half <= start < half + MIB:
                self._then()
            yield self._content[start : start + MIB]

    def for_requests(self) -> object:
        return Body(self.blocks(), len(self._content)).for_requests()


def _lose_a_replica_in_mid_upload(scene: Scene, harm: Harm, path: str, rng: random.Random) -> float:
    writer = scene.people[0]
    first = writer.ask("PUT", file_path("files", path), data=rng.randbytes(KEPT_SERVERS))
    master = first.headers["X-Lockstep-File-Server"]
    replica = next(id for id in scene.holders(path) if id != master)
    content = rng.randbytes(12 * MIB)
    lost: list[float] = []

    def lose() -> None:
        (scene.cluster.kill if harm == "kill" else scene.cluster.pause)("file_server", replica)
        lost.append(time.monotonic())

    body = _HalfWay(content, lose)
    try:
        answer = writer.ask("PUT", file_path("files", path), data=body.for_requests())
        seconds = time.monotonic() - lost[0]
        assert answer.status_code == 200, answer.text
        assert "2/2" in answer.headers["X-Lockstep-Copies"]
        assert answer.headers["X-Lockstep-File-Server"] == master
        assert sorted(scene.holders(path)) == sorted({"1", "2", "3"} - {replica})
    finally:
        scene.bring_back(harm, replica)
    assert scene.people[1].get(path) == content
    print(f"replica {harm} in mid-upload: replaced and on two disks after {seconds:.2f} s")
    return seconds


def test_a_replica_that_freezes_in_mid_upload_is_replaced(scene: Scene, seed: int) -> None:
    """The write ends with the promised copies, one of them on another server."""
    rng = random.Random(seed)

    def attempt(number: int) -> None:
        seconds = _lose_a_replica_in_mid_upload(scene, "freeze", f"replica-{number}", rng)
        check_time(seconds, 2 * PROMISED_SECONDS, "the rest of the upload")

    in_time_once(attempt)


def test_an_upload_whose_master_freezes_goes_on_by_itself(scene: Scene, seed: int, tmp_path: Path) -> None:
    """A body too long to be held by the proxy is sent again by the person's client, which has the file."""
    source = tmp_path / "large"
    rng = random.Random(seed)
    source.write_bytes(rng.randbytes(12 * MIB))
    first = scene.people[0].ask("PUT", file_path("files", "long"), data=rng.randbytes(KEPT_SERVERS))
    master = first.headers["X-Lockstep-File-Server"]
    frozen: list[float] = []

    def advance(count: int) -> None:
        if not frozen:
            scene.cluster.pause("file_server", master)
            frozen.append(time.monotonic())

    with _api(scene) as api:
        try:
            sent = upload(api, source, "files", "long", progress=advance)
            seconds = time.monotonic() - frozen[0]
        finally:
            scene.bring_back("freeze", master)
    print(f"master frozen in mid-upload: saved after {seconds:.2f} s, {sent.bytes_sent >> 20} MiB sent again")
    assert scene.people[1].get("long") == source.read_bytes()
    assert len(scene.versions("long")) == 2


@contextmanager
def _api(scene: Scene) -> Iterator[ApiCalls]:
    api = ApiCalls(ApiTransport(scene.people[0].url, scene.cluster.ca_file, scene.cluster.admin_key))
    try:
        yield api
    finally:
        api.close()


@pytest.mark.parametrize("harm", ["kill", pytest.param("freeze", marks=pytest.mark.soak)])
def test_too_few_servers_are_a_quick_refusal_that_leaves_nothing(scene: Scene, seed: int, harm: Harm) -> None:
    """With one server left a write is answered 503, and no version, no path and no old content is touched."""
    rng = random.Random(seed)
    scene.people[0].put("kept", b"as it was")
    in_time_once(lambda number: _write_with_too_few(scene, harm, f"never-{number}", rng))
    assert scene.people[1].get("kept") == b"as it was"


def _write_with_too_few(scene: Scene, harm: Harm, path: str, rng: random.Random) -> None:
    lost = rng.sample(["1", "2", "3"], 2)
    with scene.without(harm, *lost):
        asked = [(scene.people[0], path, rng.randbytes(5000)), (scene.people[1], "kept", rng.randbytes(5000))]

        def write(person: Person, path: str, content: bytes) -> tuple[requests.Response, float]:
            return timed(lambda: person.ask("PUT", file_path("files", path), data=content))

        with ThreadPoolExecutor(2) as pool:
            (new, first), (old, second) = pool.map(lambda one: write(*one), asked)
        assert (new.status_code, old.status_code) == (503, 503)
        assert int(new.headers["Retry-After"]) >= 1
        assert new.json()["code"] == "too_few_holders"
        assert scene.people[0].ask("GET", file_path("files", path)).status_code == 404
        _, again = timed(lambda: scene.people[0].ask("PUT", file_path("files", path), data=b"more"))
    print(f"two of three servers {harm}: refused after {first:.2f} and {second:.2f} s, then {again:.2f} s")
    assert scene.versions(path) == []
    # Two that freeze at the same moment are found one after the other: first the master, then whoever was to follow.
    promised = PROMISED_SECONDS if harm == "kill" else 3 * PROMISED_SECONDS
    check_time(max(first, second), promised, "a refusal")
    check_time(again, PROMISED_SECONDS, "the next refusal")


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_failover_again_and_again(scene: Scene, seed: int) -> None:
    """The same, 50 times, with random harm."""
    worst_write = worst_read = worst_replica = 0.0
    rng = random.Random(seed)
    for number in range(50):
        harm: Harm = rng.choice(["kill", "freeze"])
        worst_write = max(worst_write, _lose_the_master(scene, harm, f"soak-master-{number}", rng))
        harm = rng.choice(["kill", "freeze"])
        worst_read = max(worst_read, _read_without_the_preferred_holder(scene, harm, f"soak-read-{number}", rng))
        harm = rng.choice(["kill", "freeze"])
        worst_replica = max(worst_replica, _lose_a_replica_in_mid_upload(scene, harm, f"soak-replica-{number}", rng))
    print(f"50 rounds: worst write {worst_write:.2f} s, read {worst_read:.2f} s, replica {worst_replica:.2f} s")
    assert max(worst_write, worst_read) < PROMISED_SECONDS
    assert worst_replica < 2 * PROMISED_SECONDS


def _shown(seconds: list[float]) -> str:
    return ", ".join(f"{each:.2f}" for each in seconds)
