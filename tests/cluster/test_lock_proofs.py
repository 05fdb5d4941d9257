"""What a lock is worth when its holder is late, the directory is killed, and leases end in the middle of an edit.

Late holders are tried at every door that could let them in: a proxy, the directory's commit, the master, a replica.
"""

from __future__ import annotations

import random
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pytest
import requests

from lockstep_store.runtime.peers.caller import PeerClient
from lockstep_store.runtime.tls.identity import ensure_identity
from lockstep_store.wire.chunk_stream import encode_stream
from lockstep_store.wire.chunking import chunk_bytes
from lockstep_store.wire.digest import chunk_digest
from lockstep_store.wire.errors import LockStale, LockstepError, NotFound, TicketRefused, Unavailable, from_problem
from lockstep_store.wire.messages.files import Holder
from lockstep_store.wire.messages.locks import ACQUIRE, RELEASE, AcquireRequest, LockPath, ReleaseRequest
from lockstep_store.wire.messages.servers import (
    COMMIT,
    HOP_HEADER,
    TICKET_HEADER,
    WRITE_PATH,
    CommitItem,
    CommitRequest,
    Hop,
)
from lockstep_store.wire.messages.writes import BEGIN, BeginItem, BeginReplyItem, BeginRequest
from lockstep_store.wire.tickets import TICKET_KEY_BYTES, TicketSigner
from tests.cluster.cluster_harness import ClusterHarness
from tests.cluster.people import Person, file_path
from tests.waiting import PATIENCE_SECONDS

LEASE = 1.0
BATCH = 20
QUIET = {"LOCKSTEP_DIRECTORY_DOWN_SECONDS": "60"}
"""Nothing here is about failover: a slow test machine must not change where the copies go."""


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClusterHarness]:
    """One cluster for these tests; each uses paths of its own, and leaves every program running."""
    with ClusterHarness(tmp_path_factory.mktemp("locks"), env=QUIET) as harness:
        yield harness


class Insider:
    """Speaks to directory and file servers as their peers do, with the cluster's own certificates."""

    def __init__(self, cluster: ClusterHarness) -> None:
        self.cluster = cluster
        self.peers: dict[tuple[str, str], PeerClient] = {}

    def __enter__(self) -> Insider:
        return self

    def __exit__(self, *_: object) -> None:
        for peer in self.peers.values():
            peer.close()

    def peer(self, role: str, id: str) -> PeerClient:
        """A client that is known as `role` number `id`."""
        if (role, id) not in self.peers:
            identity = ensure_identity(self.cluster.folder.certs_dir, role, id)
            self.peers[role, id] = PeerClient(identity, directory=self.cluster.directory_url)
        return self.peers[role, id]

    def begin(self, path: str, content: bytes, lock_number: int) -> BeginReplyItem:
        """A ticket for one write, as a proxy gets it; lock number 0 is none."""
        item = BeginItem(
            credential=self.cluster.admin_key,
            write_id=secrets.token_hex(16),
            bucket="files",
            path=path,
            size=len(content),
            digest=chunk_digest(content),
            lock_number=lock_number or None,
        )
        reply = self.peer("client_proxy", "1").call(self.cluster.directory_url, BEGIN, BeginRequest([item]))
        return reply.results[0].unwrap()

    def push(self, holder: Holder, ticket: str, hop: Hop, content: bytes) -> None:
        """Hand a file server the bytes under a ticket, as a proxy does (`master`) or the master (`replica`)."""
        sender = self.peer("client_proxy", "1") if hop == "master" else self.peer("file_server", "1")
        headers = {TICKET_HEADER: ticket, HOP_HEADER: hop}
        sender.send_stream(holder.url, WRITE_PATH, headers, encode_stream(chunk_bytes(content)))

    def commit(self, begun: BeginReplyItem, content: bytes, holders: list[str]) -> None:
        """Tell the directory that `holders` have the bytes, as the master does."""
        assert begun.master is not None
        item = CommitItem(begun.ticket or "", chunk_digest(content), len(content), holders)
        peer = self.peer("file_server", begun.master.id)
        result = peer.call(self.cluster.directory_url, COMMIT, CommitRequest([item])).results[0]
        if result.problem is not None:
            raise from_problem(result.problem)


# ---------------------------------------------------------------- late holders


@dataclass
class LateHolder:
    """Someone who took the lock, began a write, and then was stopped."""

    path: str
    number: int
    content: bytes
    begun: BeginReplyItem
    replicas: list[Holder]


def _replicas(begun: BeginReplyItem) -> list[Holder]:
    # Not verified: the test has no ticket key, and needs none to read a ticket.
    class Reader(TicketSigner):
        def _mac(self, body: bytes) -> bytes:
            return b""

    ticket_body = (begun.ticket or "").partition(".")[0]
    return Reader(bytes(TICKET_KEY_BYTES)).verify(f"{ticket_body}.", 0.0).replicas


def _take_and_begin(insider: Insider, person: Person, path: str, seed: int, lease: float = LEASE) -> LateHolder:
    content = f"the late holder of {path}, {seed}".encode()
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        answer = person.patiently("POST", "/locks", json={"paths": [f"files/{path}"], "lease_seconds": lease})
        assert answer.status_code == 200, answer.text
        number = answer.json()["lock"]["number"]
        try:
            begun = insider.begin(path, content, number)
        except LockStale:  # the machine stood still for a whole lease
            assert time.monotonic() < deadline
            continue
        return LateHolder(path, number, content, begun, _replicas(begun))


def _overtake(cluster: ClusterHarness, late: LateHolder) -> bytes:
    """Someone else gets the lock when the lease has ended, and writes; the content."""
    content = f"the next holder of {late.path}, {late.number}".encode()
    with Person(cluster, 2) as person, person.lock(late.path) as number:
        assert number > late.number
        person.put(late.path, content, X_Lockstep_Lock=str(number))
    return content


def _refusal(attempt: Callable[[], object]) -> str:
    """The code an attempt was refused with; empty when it was let in."""
    try:
        attempt()
    except LockstepError as error:
        return error.code
    return ""


def _late_holders_are_refused(cluster: ClusterHarness, seed: int, count: int) -> int:
    """Try `count` late holders at every door; how many attempts were refused, which must be all."""
    tried = 0
    rng = random.Random(seed)
    with Insider(cluster) as insider, Person(cluster, 1) as person, ThreadPoolExecutor(BATCH) as pool:
        for first in range(0, count, BATCH):
            paths = [f"late-{rng.getrandbits(64):x}" for _ in range(min(BATCH, count - first))]
            holders = [_take_and_begin(insider, person, path, seed) for path in paths]
            # The proxy that they work at is what stops: it can neither renew nor write for three leases.
            cluster.pause("client_proxy", 1)
            stopped_at = time.monotonic()
            try:
                overtaken = list(pool.map(_overtake, [cluster] * len(holders), holders))
                time.sleep(max(0.0, stopped_at + 3 * LEASE - time.monotonic()))
            finally:
                cluster.resume("client_proxy", 1)
            for late, content in zip(holders, overtaken, strict=True):
                tried += _try_every_door(insider, person, late)
                assert person.get(late.path) == content
    return tried


def _try_every_door(insider: Insider, person: Person, late: LateHolder) -> int:
    begun, content = late.begun, late.content
    assert begun.master is not None
    master, ticket = begun.master, begun.ticket or ""
    headers = {"X-Lockstep-Lock": str(late.number)}
    answer = person.patiently("PUT", file_path("files", late.path), data=content, headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (409, LockStale.code), answer.text
    holders = [master.id, *(replica.id for replica in late.replicas)]
    assert _refusal(lambda: insider.commit(begun, content, holders)) == LockStale.code
    assert _refusal(lambda: insider.push(master, ticket, "master", content)) == TicketRefused.code
    for replica in late.replicas:
        assert _refusal(lambda replica=replica: insider.push(replica, ticket, "replica", content)) == TicketRefused.code
    return 3 + len(late.replicas)


def test_a_late_holder_is_refused_at_every_door(cluster: ClusterHarness, seed: int) -> None:
    """Stopped for three leases, a holder's write is refused by proxy, directory, master and replica."""
    tried = _late_holders_are_refused(cluster, seed, BATCH)
    print(f"\n{BATCH} late holders, {tried} attempts, all refused")
    assert tried == 4 * BATCH


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_a_thousand_late_holders_are_refused_at_every_door(cluster: ClusterHarness, seed: int) -> None:
    """The same for 1,000 holders."""
    tried = _late_holders_are_refused(cluster, seed, 1000)
    print(f"\n1000 late holders, {tried} attempts, all refused")
    assert tried == 4 * 1000


def test_a_broken_holder_is_refused_by_the_directory_at_once_and_by_replicas_with_the_next_write(
    cluster: ClusterHarness, seed: int
) -> None:
    """While nobody wrote under the next lock a late push may be stored, and never becomes the file; then it is not
    even stored."""
    path = f"broken-{seed}"
    with Insider(cluster) as insider, Person(cluster, 1) as person, Person(cluster, 2) as other:
        late = _take_and_begin(insider, person, path, seed, lease=300.0)
        assert other.ask("DELETE", f"/locks/lock-{late.number}?break=true").status_code == 204
        replica, ticket = late.replicas[0], late.begun.ticket or ""
        with other.lock(path) as number:
            insider.push(replica, ticket, "replica", late.content)
            assert _refusal(lambda: _push_to_master(insider, late)) == LockStale.code
            assert person.ask("GET", file_path("files", path)).status_code == 404
            other.put(path, b"the next holder", X_Lockstep_Lock=str(number))
            for hop, holder in (("replica", replica), ("master", late.begun.master)):
                with pytest.raises(TicketRefused, match="granted since"):
                    insider.push(holder, ticket, hop, late.content)
        assert person.get(path) == b"the next holder"


def _push_to_master(insider: Insider, late: LateHolder) -> None:
    assert late.begun.master is not None
    insider.push(late.begun.master, late.begun.ticket or "", "master", late.content)


# ---------------------------------------------------------------- a counter


class Counter:
    """People who add one to a number in a file under its lock, some of whom fall asleep for longer than the lease."""

    def __init__(self, cluster: ClusterHarness, seed: int, increments: int) -> None:
        self.cluster, self.seed = cluster, seed
        self.path = f"counter-{seed}"
        self.left = increments
        self.acknowledged = self.refused = self.unknown = 0
        self.guard = threading.Lock()

    def work(self, client: int) -> None:
        rng = random.Random(f"{self.seed}:{client}")
        with Person(self.cluster, 1 + client % 2) as person:
            while self._take_turn():
                with person.lock(self.path, LEASE) as number:
                    value = int(person.get(self.path))
                    if rng.random() < 0.08:
                        time.sleep(rng.uniform(1.2, 2.5) * LEASE)
                    self._note(self._write(person, value + 1, number))

    def _take_turn(self) -> bool:
        with self.guard:
            self.left -= 1
            return self.left >= 0

    def _write(self, person: Person, value: int, number: int) -> int:
        headers = {"X-Lockstep-Lock": str(number)}
        try:
            answer = person.ask("PUT", file_path("files", self.path), data=str(value), headers=headers, timeout=20)
        except requests.RequestException:
            return 0
        assert answer.status_code in (200, 409, 423) or answer.status_code >= 500, answer.text
        return answer.status_code

    def _note(self, status: int) -> None:
        with self.guard:
            if status == 200:
                self.acknowledged += 1
            elif status in (409, 423):
                self.refused += 1
            else:
                self.unknown += 1


def _count(cluster: ClusterHarness, seed: int, clients: int, increments: int, pauses: int) -> None:
    counter = Counter(cluster, seed, increments)
    rng = random.Random(seed)
    with Person(cluster) as person:
        person.put(counter.path, b"0")
        with ThreadPoolExecutor(clients) as pool:
            running = [pool.submit(counter.work, client) for client in range(clients)]
            for _ in range(pauses):
                program = rng.choice(("directory_server", "file_server", "client_proxy"))
                time.sleep(rng.uniform(0.5, 1.5))
                cluster.pause(program, 1)
                time.sleep(rng.uniform(0.3, 2.0) * LEASE)
                cluster.resume(program, 1)
            for one in running:
                one.result()
        value = int(person.get(counter.path))
    print(
        f"\nseed {seed}: counted to {value}; {counter.acknowledged} acknowledged, {counter.unknown} unknown, "
        f"{counter.refused} refused as late"
    )
    assert counter.acknowledged <= value <= counter.acknowledged + counter.unknown
    assert counter.acknowledged > increments // 2


def test_a_counter_under_a_lock_counts_what_was_acknowledged(cluster: ClusterHarness, seed: int) -> None:
    """However long holders and programs pause, no increment is lost and no refused one is counted."""
    _count(cluster, seed, clients=6, increments=30, pauses=1)


@pytest.mark.soak
@pytest.mark.timeout(3 * 3600)
def test_a_counter_under_a_lock_counts_what_was_acknowledged_for_long(cluster: ClusterHarness, seed: int) -> None:
    """The same with 3,000 increments by 16 people."""
    _count(cluster, seed, clients=16, increments=3000, pauses=100)


# ---------------------------------------------------------------- lock numbers


class Grants:
    """People who take locks on a few paths and give them back, and every grant they were told of."""

    def __init__(self, cluster: ClusterHarness, seed: int, wanted: int) -> None:
        self.cluster, self.seed, self.wanted = cluster, seed, wanted
        self.granted: list[tuple[float, float, int]] = []  # asked at, told at, number

    def work(self, client: int) -> None:
        rng = random.Random(f"{self.seed}:{client}")
        key = self.cluster.admin_key
        with Insider(self.cluster) as insider:
            peer = insider.peer("client_proxy", "1")
            while len(self.granted) < self.wanted:
                path = LockPath("files", f"grant-{self.seed}-{rng.randrange(16)}")
                asked = AcquireRequest(key, [path], rng.randbytes(16).hex(), lease_seconds=5.0)
                asked_at = time.monotonic()
                try:
                    lock = peer.call(self.cluster.directory_url, ACQUIRE, asked, timeout=3.0).lock
                    assert lock is not None
                    self.granted.append((asked_at, time.monotonic(), lock.number))
                    peer.call(self.cluster.directory_url, RELEASE, ReleaseRequest(key, lock.id), timeout=3.0)
                except (Unavailable, NotFound):
                    time.sleep(0.02)
                except LockstepError as error:
                    assert error.code == "locked", error  # noqa: PT017 - any other refusal is a failure

    def check(self) -> None:
        """No number twice, and none that is not above every number told before it was asked for."""
        numbers = [number for _, _, number in self.granted]
        assert len(set(numbers)) == len(numbers), "a lock number was given twice"
        highest, told = 0, sorted((told_at, number) for _, told_at, number in self.granted)
        place = 0
        for asked_at, _, number in sorted(self.granted):
            while told[place][0] < asked_at:
                highest = max(highest, told[place][1])
                place += 1
            assert number > highest, f"lock number {number} was given after {highest}"


def _grant(cluster: ClusterHarness, seed: int, wanted: int, kills: int) -> None:
    grants = Grants(cluster, seed, wanted)
    with ThreadPoolExecutor(8) as pool:
        running = [pool.submit(grants.work, client) for client in range(8)]
        for kill in range(1, kills + 1):
            while len(grants.granted) < kill * wanted // (kills + 1) and not any(one.done() for one in running):
                time.sleep(0.005)
            cluster.kill("directory_server")
            cluster.start("directory_server")
        for one in running:
            one.result()
    cluster.wait_healthy()
    grants.check()
    numbers = [number for _, _, number in grants.granted]
    print(f"\n{len(numbers)} grants, numbers {min(numbers)} to {max(numbers)}, {kills} kills of the directory")
    assert len(numbers) >= wanted


def test_lock_numbers_only_rise_over_kills_of_the_directory(cluster: ClusterHarness, seed: int) -> None:
    """No number is given twice and none falls, also when the directory is killed between grants."""
    _grant(cluster, seed, 1500, kills=2)


@pytest.mark.soak
@pytest.mark.timeout(3 * 3600)
def test_a_hundred_thousand_lock_numbers_only_rise(cluster: ClusterHarness, seed: int) -> None:
    """The same for 100,000 grants and 50 kills."""
    _grant(cluster, seed, 100_000, kills=50)
