"""What a master and its replicas check of a ticket before they store anything."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import pytest

from file_server.store.chunk_store import Fence
from file_server.writes.ticket_check import MAX_BEGUN_AGAIN, DirectoryTime, TicketCheck, check_content
from lockstep_store.wire.chunking import chunk_bytes
from lockstep_store.wire.digest import chunk_digest
from lockstep_store.wire.errors import (
    BadRequest,
    TicketRefused,
    TooFewHolders,
    Unavailable,
)
from lockstep_store.wire.manifest import Manifest
from lockstep_store.wire.messages.files import Holder
from lockstep_store.wire.messages.writes import WriteTicket
from tests.fakes.clock import ManualClock
from tests.fakes.file_servers import DIRECTORY_URL, TICKET_KEY, Cluster
from tests.unit.file_server.writes.write_cases import LARGE, SIZES, nothing_happened


@pytest.mark.parametrize("hop", ["master", "replica"])
@pytest.mark.parametrize("size", [5000, LARGE])
def test_no_holder_takes_a_stream_after_the_lease_of_its_lock(cluster: Cluster, seed: int, size: int, hop: str) -> None:
    """A write whose lease is over is refused by whoever it reaches, even by one that knows of no newer lock."""
    data = random.Random(seed).randbytes(size)
    ticket = cluster.ticket("12", fence=7, lock_number=7, lease_until=cluster.directory.now() + 5.0)
    to = "1" if hop == "master" else "2"
    assert isinstance(cluster.clock, ManualClock)
    cluster.clock.advance(5.5)
    with pytest.raises(TicketRefused, match="lease"):
        cluster.write(data, ticket, hop, to)
    assert nothing_happened(cluster)
    assert not cluster.holds(to, Manifest([(c.digest, c.length) for c in chunk_bytes(data)]).digest)


@pytest.mark.parametrize("size", SIZES[1:])
def test_a_newer_lock_known_to_a_replica_alone_stops_the_write(cluster: Cluster, seed: int, size: int) -> None:
    """If only a replica has seen the newer lock, the write is still refused, spare or no spare."""
    store = cluster.server("2").store
    chunk = next(iter(chunk_bytes(b"newer")))
    with store.stage() as staging:
        staging.put(chunk)
        staging.complete(Manifest([(chunk.digest, chunk.length)]), Fence("files/a.txt", 9))
    with pytest.raises(TicketRefused) as refusal:
        cluster.write(random.Random(seed).randbytes(size), cluster.ticket("12", spares="34", fence=8))
    assert refusal.value.facts["fence"] == 9
    assert nothing_happened(cluster)


def _altered(ticket: str) -> str:
    middle = len(ticket) // 3
    return ticket[:middle] + ("A" if ticket[middle] != "A" else "B") + ticket[middle + 1 :]


MISUSES: dict[str, Callable[[Cluster], tuple[str, str, str]]] = {
    "altered": lambda cluster: (_altered(cluster.ticket()), "master", "1"),
    "not a ticket": lambda cluster: ("ticket", "master", "1"),
    "expired": lambda cluster: (cluster.ticket(expires=cluster.directory.now() - 1), "master", "1"),
    "wrong server": lambda cluster: (cluster.ticket("12"), "master", "3"),
    "replica as master": lambda cluster: (cluster.ticket("12"), "master", "2"),
    "master as replica": lambda cluster: (cluster.ticket("12"), "replica", "1"),
    "stranger as replica": lambda cluster: (cluster.ticket("12", spares="3"), "replica", "4"),
    "other content": lambda cluster: (cluster.ticket(digest=chunk_digest(b"other"), size=7), "master", "1"),
    "other content, replica": lambda cluster: (cluster.ticket(digest=chunk_digest(b"o"), size=7), "replica", "2"),
}


@pytest.mark.parametrize("misuse", MISUSES)
def test_a_ticket_is_good_for_one_write_only(cluster: Cluster, misuse: str) -> None:
    """Altered, expired, for other content or another server: refused, and nothing is stored."""
    ticket, hop, to = MISUSES[misuse](cluster)
    with pytest.raises(TicketRefused):
        cluster.write(b"content", ticket, hop, to)
    assert nothing_happened(cluster)
    assert all(cluster.server(id).store.totals.blobs == 0 for id in "1234")


def test_more_bytes_than_the_ticket_is_for_are_not_read(cluster: Cluster, seed: int) -> None:
    """A stream is refused as soon as it is longer than the write that was begun."""
    with pytest.raises(BadRequest, match="longer than"):
        cluster.write(random.Random(seed).randbytes(LARGE), cluster.ticket(size=2_000_000))
    assert nothing_happened(cluster)


def test_tickets_expire_by_directory_time(cluster: Cluster) -> None:
    """Between heartbeats the server's monotonic clock carries the directory's time on."""
    ticket = cluster.ticket()
    cluster.clock.advance(59)  # type: ignore[attr-defined]
    assert cluster.write(b"in time", ticket).copies == 2
    cluster.clock.advance(2)  # type: ignore[attr-defined]
    with pytest.raises(TicketRefused) as refusal:
        cluster.write(b"in time", ticket)
    assert refusal.value.facts["expired"]


def test_before_the_first_heartbeat_no_write_is_judged(tmp_path: Path) -> None:
    """A server that has not reached the directory says "not yet", not "never"."""
    cluster = Cluster(tmp_path, 0)
    cluster.network.dead.add(DIRECTORY_URL)
    cluster.start("1")
    with pytest.raises(Unavailable, match="try again"):
        cluster.write(b"content", cluster.ticket("1"))
    cluster.network.dead.clear()
    cluster.server("1").link.step()
    assert cluster.write(b"content", cluster.ticket("1")).copies == 1
    cluster.stop()


@pytest.mark.parametrize("size", SIZES)
def test_the_late_push_of_a_master_that_was_given_up_is_refused_by_the_replicas(
    cluster: Cluster, seed: int, size: int
) -> None:
    """Once a write was begun again, holders that know it take nothing of the attempt before: sent by its master, or by
    whoever else has its ticket."""
    rng = random.Random(seed)
    content, late = rng.randbytes(size), rng.randbytes(size + 1)
    never = Manifest((chunk.digest, chunk.length) for chunk in chunk_bytes(late)).digest
    first = cluster.ticket("12", "3", write_id="begun-twice")
    second = cluster.ticket("23", write_id="begun-twice", attempt=1)
    assert cluster.write(content, second, to="2").copies == 2
    with pytest.raises(TooFewHolders):
        cluster.write(late, first)
    for id in "23":
        with pytest.raises(TicketRefused, match="begun again"):
            cluster.write(late, first, hop="replica", to=id)
        assert cluster.server(id).store.generation(never) is None
    assert cluster.write(content, second, to="2").copies == 2
    assert len(cluster.directory.versions) == 1


def test_only_the_last_of_many_writes_that_were_begun_again_are_remembered(cluster: Cluster) -> None:
    """What is remembered is bounded; what is forgotten harms nothing, as the directory refuses its commit."""
    time = DirectoryTime(cluster.clock)
    time.learn(cluster.directory.now(), cluster.clock.monotonic())
    tickets = TicketCheck("1", time)
    tickets.trust(TICKET_KEY)
    for number in range(MAX_BEGUN_AGAIN + 1):
        tickets.check(cluster.ticket(write_id=f"write-{number}", attempt=1), "master")
    assert len(tickets._begun_again) == MAX_BEGUN_AGAIN
    with pytest.raises(TicketRefused):
        tickets.check(cluster.ticket(write_id="write-1"), "master")
    assert tickets.check(cluster.ticket(write_id="write-0"), "master").attempt == 0


def test_a_ticket_is_for_one_content() -> None:
    """Its digest and its size are those that may be stored."""
    digest, other = chunk_digest(b"content"), chunk_digest(b"other")
    ticket = WriteTicket(
        **{"write_id": "w" * 16, "bucket": "files", "path": "a", "author": "ann", "fence": 0, "lock_number": 0},
        **{"release_lock": False, "master": Holder("1", "https://a"), "replicas": [], "spares": [], "copies": 1},
        **{"expires": 100.0, "digest": digest, "size": 7},
    )
    check_content(ticket, digest, 7)
    for wrong in ((other, 7), (digest, 8)):
        with pytest.raises(TicketRefused, match="is for"):
            check_content(ticket, *wrong)
