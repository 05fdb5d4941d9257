"""Several directory servers on one PostgreSQL: who is active, who takes over when."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from directory_server.metadata.store import InUse, MetadataStore
from lockstep_store.wire.errors import StandingBy
from tests.contract.store_rows import address_file, names, put
from tests.waiting import PATIENCE_SECONDS, wait_until

if TYPE_CHECKING:
    from directory_server.metadata.engines.postgres.presence import Seen
    from directory_server.metadata.engines.postgres.standby import StandbyDatabase
    from tests.fakes.postgres_server import PostgresServer

psycopg = pytest.importorskip("psycopg")

ACTIVE, STANDBY = "https://first.example:5050", "https://second.example:5050"


@pytest.fixture(params=["postgres"])
def engine(postgres: PostgresServer, tmp_path: Path) -> Iterator[str]:
    with postgres.database() as address:
        address_file(tmp_path).write_text(address)
        yield "postgres"


@pytest.fixture
def address(engine: str, tmp_path: Path) -> str:
    return address_file(tmp_path).read_text()


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def standby(address: str, clock: Clock) -> Iterator[StandbyDatabase]:
    from directory_server.metadata.engines.postgres.standby import StandbyDatabase

    with closing(StandbyDatabase(address, STANDBY, clock)) as standby:
        yield standby


def turn_after(standby: StandbyDatabase, clock: Clock, seconds: float) -> bool:
    clock.now += seconds
    return standby.is_my_turn()


def end_session(address: str) -> None:
    """End the session with the lock, as when the active server dies."""
    with psycopg.connect(address, autocommit=True) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_locks JOIN pg_database"
            " ON pg_database.oid = database AND datname = current_database() WHERE locktype = 'advisory'"
        )


def test_a_standby_waits_as_long_as_the_active_one_works(
    open_store: Callable[..., MetadataStore], standby: StandbyDatabase, clock: Clock
) -> None:
    store = open_store(own_url=ACTIVE)
    for _ in range(20):
        store.check_some()
        assert not turn_after(standby, clock, 1.0)
    assert (standby.active, standby.problem) == (ACTIVE, "")
    store.check_some()
    ((url, seconds),) = store.other_servers()
    assert url == STANDBY
    assert 0 <= seconds < 60
    standby.close()
    store.check_some()
    assert store.other_servers() == []
    put(store, "a")
    assert names(store) == ["a"]


def test_a_clean_stop_hands_over_at_once(
    open_store: Callable[..., MetadataStore], standby: StandbyDatabase, clock: Clock
) -> None:
    store = open_store(own_url=ACTIVE)
    assert not standby.is_my_turn()
    store.close()
    wait_until(standby.is_my_turn, what="the turn")
    assert names(open_store(start_seconds=0.0)) == []


def test_the_lock_of_one_that_died_is_taken_soon(
    open_store: Callable[..., MetadataStore], standby: StandbyDatabase, clock: Clock, address: str
) -> None:
    """Not at once: after a broken connection the active server gets the time to come back."""
    first = open_store(own_url=ACTIVE)
    put(first, "a")
    assert not standby.is_my_turn()
    end_session(address)
    assert not turn_after(standby, clock, 1.9)
    clock.now += 0.1
    wait_until(standby.is_my_turn, what="the turn")
    second = open_store(start_seconds=0.0)
    assert names(second) == ["a"]
    with pytest.raises(StandingBy):
        put(first, "b")


def test_an_active_one_whose_connection_broke_comes_back_first(
    open_store: Callable[..., MetadataStore], standby: StandbyDatabase, clock: Clock, address: str
) -> None:
    """Its check takes the lock back, without a write of anybody's."""
    store = open_store(own_url=ACTIVE)
    assert not standby.is_my_turn()
    end_session(address)
    store.check_some()
    for _ in range(3):
        assert not turn_after(standby, clock, 1.9)
        store.check_some()
    with pytest.raises(InUse):
        open_store(start_seconds=0.0)


def test_the_session_of_one_that_hangs_is_ended(
    open_store: Callable[..., MetadataStore], standby: StandbyDatabase, clock: Clock
) -> None:
    """What it had not committed is undone, and after it wakes it neither reads, nor writes, nor answers polls."""
    first = open_store(own_url=ACTIVE)
    put(first, "a")
    replaced: list[bool] = []
    first.on_replaced = lambda: replaced.append(True)
    assert not standby.is_my_turn()
    assert not turn_after(standby, clock, 5.9)
    with pytest.raises(InUse):
        open_store(start_seconds=0.0)
    assert not turn_after(standby, clock, 0.1)  # ends the session
    wait_until(standby.is_my_turn, what="the turn")
    second = open_store(start_seconds=2.0)
    put(second, "b")
    with pytest.raises(StandingBy, match="stands by from now on"), first.read():
        pass
    with pytest.raises(StandingBy):
        first.confirm_active()
    with pytest.raises(StandingBy):
        put(first, "c")
    with pytest.raises(StandingBy):
        first.demand_active()
    first.check_some()
    assert replaced == [True]
    assert names(second) == ["a", "b"]


def test_a_read_of_the_replaced_one_is_refused_before_it_knows(
    open_store: Callable[..., MetadataStore], address: str
) -> None:
    """With the reader's connection of before: the snapshot itself shows who is active."""
    first = open_store()
    put(first, "a")
    assert names(first) == ["a"]
    end_session(address)
    open_store()
    with pytest.raises(StandingBy), first.read():
        pass


def test_one_that_beats_again_keeps_its_session(
    open_store: Callable[..., MetadataStore], standby: StandbyDatabase, clock: Clock
) -> None:
    store = open_store(own_url=ACTIVE)
    assert not standby.is_my_turn()
    assert not turn_after(standby, clock, 5.0)
    store.check_some()
    assert not turn_after(standby, clock, 5.0)
    put(store, "a")
    assert not turn_after(standby, clock, 0.9)
    assert names(store) == ["a"]


def test_without_postgresql_the_active_one_sends_callers_to_the_others(
    open_store: Callable[..., MetadataStore],
    standby: StandbyDatabase,
    clock: Clock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """And a standby that could not look does not count the time meanwhile as silence."""
    from directory_server.metadata.engines.postgres import connections, presence

    store = open_store(own_url=ACTIVE)
    assert not standby.is_my_turn()
    store.check_some()
    store.demand_active()

    def cut_off(url: str) -> None:
        raise psycopg.OperationalError("cut off")

    with monkeypatch.context() as patch:
        for module in (connections, presence):
            patch.setattr(module, "connect", cut_off)
        for one in (store, standby):
            one._presence._drop()  # type: ignore[attr-defined]
        store.check_some()
        patch.setattr(store, "_confirmed_at", store._confirmed_at - 5.0)  # type: ignore[attr-defined]
        with pytest.raises(StandingBy, match="another directory server may be active"):
            store.demand_active()
        assert not turn_after(standby, clock, 60.0)
        assert "PostgreSQL cannot be reached" in standby.problem
    assert not turn_after(standby, clock, 1.0)
    store.check_some()
    store.demand_active()
    put(store, "a")


def test_a_directory_alone_says_what_is_wrong_instead(
    open_store: Callable[..., MetadataStore], monkeypatch: pytest.MonkeyPatch
) -> None:
    """There is nobody else to ask, so callers get the reason at once."""
    store = open_store(own_url=ACTIVE)
    monkeypatch.setattr(store, "_confirmed_at", store._confirmed_at - 60.0)  # type: ignore[attr-defined]
    store.demand_active()


def test_one_that_died_is_known_until_it_comes_back(
    open_store: Callable[..., MetadataStore], standby: StandbyDatabase, address: str
) -> None:
    from directory_server.metadata.engines.postgres.standby import StandbyDatabase

    store = open_store(own_url=ACTIVE)
    standby.is_my_turn()
    standby._presence._drop()
    store.check_some()
    assert [url for url, _ in store.other_servers()] == [STANDBY]
    with closing(StandbyDatabase(address, STANDBY)) as again:
        again.is_my_turn()
        store.check_some()
        assert [url for url, _ in store.other_servers()] == [STANDBY]


def test_nobody_takes_over_because_postgresql_hung(
    open_store: Callable[..., MetadataStore], standby: StandbyDatabase, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The active server could not show that it works in that time."""
    store = open_store(own_url=ACTIVE)
    assert not standby.is_my_turn()
    beat = standby._presence.beat

    def late() -> Seen:
        clock.now += 60.0
        return beat()

    with monkeypatch.context() as patch:
        patch.setattr(standby._presence, "beat", late)
        assert not standby.is_my_turn()
    assert not turn_after(standby, clock, 1.0)
    put(store, "a")
    assert standby.active == ACTIVE


def test_one_that_takes_over_slowly_is_left_alone(
    open_store: Callable[..., MetadataStore], standby: StandbyDatabase, clock: Clock, address: str
) -> None:
    """It may have to bring the metadata up to date first, and shows no sign of life meanwhile."""
    from directory_server.metadata.engines.postgres.writer import new_writer

    put(open_store(own_url=ACTIVE), "a")
    assert not standby.is_my_turn()
    end_session(address)

    def prepare() -> None:
        for _ in range(4):
            assert not turn_after(standby, clock, 5.0)

    writer = new_writer(address, "token of a third one", prepare, time.monotonic() + PATIENCE_SECONDS)
    with closing(writer.connection):
        assert writer.commits() > 0


def test_three_servers_one_turn(
    open_store: Callable[..., MetadataStore], standby: StandbyDatabase, clock: Clock, address: str
) -> None:
    """Two standbys whose turn it is at the same time: one takes over, the other goes on waiting."""
    from directory_server.metadata.engines.postgres.standby import StandbyDatabase

    first = open_store(own_url=ACTIVE)
    with closing(StandbyDatabase(address, "https://third.example:5050", clock)) as third:
        assert not standby.is_my_turn()
        assert not third.is_my_turn()
        first.close()
        wait_until(standby.is_my_turn, what="the turn")
        assert third.is_my_turn()
        second = open_store(start_seconds=0.0, own_url=STANDBY)
        with pytest.raises(InUse):
            open_store(start_seconds=0.0)
        assert not third.is_my_turn()
        assert third.active == STANDBY
        put(second, "a")
