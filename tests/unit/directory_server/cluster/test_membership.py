"""Membership: states by heartbeat and directory time, registration, and who can be relied on for what."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from directory_server.cluster import membership
from directory_server.cluster.directory_clock import DirectoryClock
from lockstep_store.wire.errors import Conflict, NotFound, Unavailable
from tests.fakes.clock import ManualClock
from tests.fakes.directory import FakeDirectory


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[FakeDirectory]:
    directory = FakeDirectory(tmp_path, {"1": "a", "2": "a", "3": "b"})
    yield directory
    directory.store.close()


def writable(directory: FakeDirectory) -> list[str]:
    return [candidate.id for candidate in directory.membership.candidates() if candidate.writable]


def test_silence_makes_suspect_then_down(directory: FakeDirectory) -> None:
    """Three seconds without a heartbeat make a server suspect, ten make it down, one heartbeat brings it back."""
    states = []
    for _ in range(12):
        states.append(directory.membership.state("1"))
        directory.pass_time(1, "2", "3")
    assert states == ["up"] * 3 + ["suspect"] * 7 + ["down"] * 2
    directory.beat("1")
    assert directory.membership.state("1") == "up"


def test_the_wall_clock_kills_nobody(directory: FakeDirectory) -> None:
    """An administrator who sets the clock by an hour does not take the cluster down."""
    directory.machine.step_wall(3600)
    assert writable(directory) == ["1", "2", "3"]


def test_a_new_server_is_joining_until_its_first_heartbeat(directory: FakeDirectory) -> None:
    """Registered is not yet ready: nothing is placed there before it says how it is."""
    directory.register("4")
    assert directory.membership.state("4") == "joining"
    assert "4" not in writable(directory)
    directory.beat("4")
    assert directory.membership.state("4") == "up"


def test_an_unknown_heartbeat_is_asked_to_register(directory: FakeDirectory) -> None:
    """A server that the directory does not know, or knows under another storage or address, must register again."""
    assert not directory.beat("9")
    assert not directory.beat("1", store_id="another")
    assert not directory.beat("1", url="https://elsewhere:1")
    assert directory.beat("1")


def test_servers_are_remembered_over_a_restart(directory: FakeDirectory) -> None:
    """After a restart the servers are known, joining until they are heard, and down when they are not."""
    directory.restart()
    assert directory.membership.state("1") == "joining"
    assert directory.beat("1")
    assert directory.membership.state("1") == "up"
    directory.pass_time(10, "1")
    assert directory.membership.state("2") == "down"


def test_reported_unreachable_is_suspect_until_heard_again(directory: FakeDirectory) -> None:
    """What a proxy found out at once keeps new writes away, until the server shows that it lives."""
    directory.membership.report_unreachable("2")
    assert directory.membership.state("2") == "suspect"
    assert writable(directory) == ["1", "3"]
    directory.beat("2")
    assert writable(directory) == ["1", "2", "3"]


def test_what_a_master_could_not_reach_is_avoided_until_heard_again(directory: FakeDirectory) -> None:
    """It stays up, because the two may only be cut off from each other, and readers still find it there."""

    def avoided() -> list[str]:
        return [each.id for each in directory.membership.candidates() if each.avoided]

    directory.membership.avoid("2", by="1")
    directory.membership.avoid("unknown", by="1")
    assert avoided() == ["2"]
    assert directory.membership.state("2") == "up"
    assert writable(directory) == ["1", "2", "3"]
    directory.beat("1")
    assert avoided() == ["2"]
    directory.beat("2")
    assert avoided() == []


def test_a_full_or_unhealthy_server_reads_but_takes_no_writes(directory: FakeDirectory) -> None:
    """No room or a reported problem keeps new bytes away; reads still go there."""
    directory.beat("1", free_bytes=1 << 20)
    directory.beat("2", healthy=False, problem="the disk does not answer")
    assert writable(directory) == ["3"]
    assert [h.id for h in directory.membership.holders_in_reading_order(["1", "2"]) if h.up] == ["2", "1"]
    states = {c.id: c.state for c in directory.membership.candidates()}
    assert states == {"1": "full", "2": "the disk does not answer", "3": "up"}


def test_replicas_are_read_before_the_master_and_the_dead_come_last(directory: FakeDirectory) -> None:
    """Reading order spares the master, which has the writes; a holder that is down is the last resort."""
    order = directory.membership.holders_in_reading_order(["1", "2", "3"])
    assert [holder.id for holder in order] == ["2", "3", "1"]
    directory.pass_time(12, "2", "3")
    order = directory.membership.holders_in_reading_order(["1", "2", "3"])
    assert [(holder.id, holder.up) for holder in order] == [("3", True), ("2", True), ("1", False)]


def test_an_empty_disk_is_no_holder(directory: FakeDirectory) -> None:
    """A new store id forgets what the server held, so that repair makes the copies again."""
    digests = [directory.add_blob(f"blob {n}", "1", "2") for n in range(50)]
    before = directory.membership.whose_copies_count(60)
    directory.pass_time(4, "2", "3")
    directory.register("1", "a", store="fresh")
    assert {tuple(directory.holders(digest)) for digest in digests} == {("2",)}
    assert directory.membership.whose_copies_count(60) != before


def test_two_servers_with_one_id_do_not_wipe_each_other(directory: FakeDirectory) -> None:
    """While the first is alive, a second with the same id and another storage is refused."""
    digest = directory.add_blob("blob", "1", "2")
    with pytest.raises(Unavailable):
        directory.register("1", "a", store="another machine's")
    assert directory.holders(digest) == ["1", "2"]


def test_registering_again_forgets_nothing(directory: FakeDirectory) -> None:
    """The same storage at a new start, or a new address, keeps what it holds."""
    digest = directory.add_blob("blob", "1", "2")
    directory.register("1", "a")
    directory.beat("1")
    assert directory.holders(digest) == ["1", "2"]
    assert directory.membership.state("1") == "up"


def test_draining_stops_writes_and_survives_a_restart(directory: FakeDirectory) -> None:
    """A draining server is read from, not written to, and its copies no longer count; it can be taken back."""
    directory.membership.drain("1")
    directory.restart()
    directory.beat("1", "2", "3")
    assert directory.membership.state("1") == "draining"
    assert writable(directory) == ["2", "3"]
    assert directory.membership.living(["1", "2"], 60) == ["2"]
    assert directory.membership.holders_in_reading_order(["1"])[0].up
    directory.membership.drain("1", draining=False)
    assert writable(directory) == ["1", "2", "3"]


@pytest.mark.parametrize("decision", ["drain", "remove"])
def test_what_is_decided_while_a_server_registers_holds(
    directory: FakeDirectory, monkeypatch: pytest.MonkeyPatch, decision: str
) -> None:
    """Whichever comes first, an answered decision is not overwritten by what registering saw before it."""
    deciding = threading.Thread(target=getattr(directory.membership, decision), args=("1",))

    def decide(name: str) -> None:
        if name == "directory.register.asked":
            deciding.start()
            deciding.join(0.5)  # or it waits for the registration, and comes after it

    monkeypatch.setattr(membership, "crash_point", decide)
    directory.register("1", "a")
    deciding.join()
    directory.beat("1", "2", "3")
    assert directory.membership.state("1") == {"drain": "draining", "remove": "removed"}[decision]
    directory.restart()
    directory.beat("1", "2", "3")
    assert directory.membership.state("1") == {"drain": "draining", "remove": "removed"}[decision]


def test_a_removed_server_comes_back_only_empty(directory: FakeDirectory) -> None:
    """Removing forgets what it held; the same storage is refused, an empty one welcome."""
    digest = directory.add_blob("blob", "1", "2")
    directory.membership.remove("1")
    assert directory.holders(digest) == ["2"]
    assert not directory.beat("1")
    assert "1" not in {info.id for info in directory.membership.infos()}
    with pytest.raises(Conflict):
        directory.register("1")
    directory.register("1", store="fresh")
    with pytest.raises(NotFound):
        directory.membership.remove("77")


def test_infos_tell_what_was_last_heard(directory: FakeDirectory) -> None:
    """The cluster's state shows figures, zone, state and the silence of each server."""
    directory.beat("3", blobs=7, stored_bytes=700)
    directory.machine.advance(5)
    info = {info.id: info for info in directory.membership.infos()}["3"]
    assert (info.blobs, info.stored_bytes, info.zone, info.state) == (7, 700, "b", "suspect")
    assert info.seconds_since_heartbeat == 5


# ---------------------------------------------------------------- directory time


def test_directory_time_never_goes_back() -> None:
    """A restart, on another boot of the machine too, goes on after everything that was told before the crash."""
    machine = ManualClock(start=1000.0)
    saved: list[float] = []
    first = DirectoryClock(machine)
    machine.advance(50)
    machine.step_wall(-86400)
    assert (first.now(), first.since_start()) == (50, 50)
    first.save(saved.append)
    while not first.must_be_saved():
        machine.advance(0.5)
    machine.advance(1.0)
    second = DirectoryClock(ManualClock(start=3.0), saved=saved[-1])
    assert second.now() >= first.now()
    assert second.since_start() == 0


def test_directory_time_is_saved_at_most_once_a_second() -> None:
    """The save hook writes only when the saved value has grown old."""
    machine, saved = ManualClock(), []
    clock = DirectoryClock(machine)
    for _ in range(10):
        machine.advance(0.25)
        clock.save(saved.append)
    assert saved == [1.0, 2.0]
