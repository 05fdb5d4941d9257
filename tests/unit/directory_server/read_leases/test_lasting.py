"""Read leases across starts of the directory."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from directory_server.maintenance.restore import accept_older
from directory_server.metadata.engines.sqlite.store import SqliteStore
from directory_server.metadata.statements import people
from directory_server.read_leases import lasting
from directory_server.read_leases.keys import path_key
from directory_server.read_leases.lasting import MARK, forget_leases, lasting_leases
from directory_server.read_leases.ledger import LeaseLedger, LeaseOffer
from lockstep_store.wire.messages.read_leases import TERM_SECONDS, ReadLeasesRequest
from tests.fakes.clock import ManualClock

CHANGE = json.dumps(["+", "current", "b", "k"])


@pytest.fixture(autouse=True)
def real_term(monkeypatch: pytest.MonkeyPatch) -> None:
    """Elsewhere restored directories do not wait (tests/fakes/cheap_setup.py)."""
    monkeypatch.setattr(lasting, "TERM_SECONDS", TERM_SECONDS)


class Waits(ManualClock):
    """A clock that goes on when a change waits, and counts for how long it did."""

    def __init__(self) -> None:
        super().__init__(start=100.0)
        self.waited = 0.0

    def attach(self, leases: LeaseLedger, monkeypatch: pytest.MonkeyPatch) -> LeaseLedger:
        def wait(seconds: float) -> bool:
            self.waited += seconds
            self.advance(seconds)
            return False

        monkeypatch.setattr(leases._changed, "wait", wait)
        return leases


def waits_at_start(file: Path, monkeypatch: pytest.MonkeyPatch) -> float:
    """Start on the metadata in `file`; return how long the first change waits."""
    clock, store = Waits(), SqliteStore(file)
    try:
        leases = clock.attach(lasting_leases(store, clock.monotonic), monkeypatch)
        with leases.commit_guard(CHANGE):
            return clock.waited
    finally:
        store.close()


def run_with_a_lease(file: Path, *, stopped: bool, held: bool = True) -> None:
    """A run that grants a lease, and is killed or stopped."""
    clock, store = ManualClock(), SqliteStore(file)
    try:
        leases = lasting_leases(store, clock.monotonic)
        session = leases.poll(ReadLeasesRequest()).session
        assert leases.grant(session, leases.moment(), [LeaseOffer(0, frozenset((path_key("b", "k"),)))])
        if not held:
            clock.advance(TERM_SECONDS)
        if stopped:
            leases.close()
            store.write(lambda tx: forget_leases(tx, leases))
    finally:
        store.close()


def test_the_first_change_after_a_kill_waits_for_the_longest_term(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only if the run before granted leases."""
    file = tmp_path / "metadata.db"
    assert waits_at_start(file, monkeypatch) == 0.0
    run_with_a_lease(file, stopped=False)
    assert waits_at_start(file, monkeypatch) == TERM_SECONDS


@pytest.mark.parametrize(("held", "seconds"), [(True, TERM_SECONDS), (False, 0.0)])
def test_a_stop_leaves_the_mark_where_a_lease_outlives_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, held: bool, seconds: float
) -> None:
    file = tmp_path / "metadata.db"
    run_with_a_lease(file, stopped=True, held=held)
    assert waits_at_start(file, monkeypatch) == seconds


def test_a_short_run_leaves_the_mark_of_the_run_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It stops while a proxy may still read under a lease of the run before, which was killed."""
    file = tmp_path / "metadata.db"
    run_with_a_lease(file, stopped=False)
    clock, store = ManualClock(), SqliteStore(file)
    try:
        leases = lasting_leases(store, clock.monotonic)
        leases.close()
        store.write(lambda tx: forget_leases(tx, leases))
    finally:
        store.close()
    assert waits_at_start(file, monkeypatch) == TERM_SECONDS


def test_older_metadata_that_is_accepted_waits_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It may be of before the mark."""
    file = tmp_path / "metadata.db"
    SqliteStore(file).close()
    accept_older(file)
    assert waits_at_start(file, monkeypatch) == TERM_SECONDS


def test_what_no_lease_depends_on_does_not_wait(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The directory's own rows change at once."""
    file = tmp_path / "metadata.db"
    run_with_a_lease(file, stopped=False)
    clock, store = Waits(), SqliteStore(file)
    try:
        clock.attach(lasting_leases(store, clock.monotonic), monkeypatch)
        store.write(lambda tx: people.write_setting(tx, "directory_time", "1.0"))
        assert clock.waited == 0.0
        with store.read() as reader:
            assert people.read_setting(reader, MARK)
    finally:
        store.close()
