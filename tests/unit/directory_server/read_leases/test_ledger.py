"""The ledger of read leases: a change waits for who reads under a lease, and for nobody else."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from directory_server.read_leases import ledger
from directory_server.read_leases.keys import EVERYTHING, Keys, account_key, path_key
from directory_server.read_leases.ledger import KEPT_COMMITS, MAX_SESSIONS, LeaseLedger, LeaseOffer
from directory_server.read_leases.sessions import MAX_LEASES
from lockstep_store.wire.errors import Overloaded
from lockstep_store.wire.messages.read_leases import LEASE_SECONDS, TERM_SECONDS, ReadLeasesReply, ReadLeasesRequest
from tests.fakes.clock import ManualClock
from tests.waiting import wait_until

K = path_key("b", "k")


class Rig:
    """A ledger on a clock that stands still."""

    def __init__(self) -> None:
        self.clock = ManualClock(start=100.0)
        self.ledger = LeaseLedger(self.clock.monotonic)

    def session(self) -> str:
        return self.ledger.poll(ReadLeasesRequest()).session

    def poll(self, session: str, done: int = 0, dropped: tuple[int, ...] = ()) -> ReadLeasesReply:
        return self.ledger.poll(ReadLeasesRequest(session, done, list(dropped)))

    def grant(self, session: str, *keys: tuple[str, ...], since: int | None = None, seconds: float = 10.0) -> int:
        """Return a lease's id, or 0 if none was granted."""
        moment = self.ledger.moment() if since is None else since
        leases = self.ledger.grant(session, moment, [LeaseOffer(0, frozenset(keys), seconds)])
        return leases[0].id if leases else 0

    def commit(self, path: str = "k", inside: Callable[[], object] = lambda: None) -> None:
        with self.ledger.commit_guard(json.dumps(["+", "current", "b", path])):
            inside()

    @contextmanager
    def committing(self, path: str = "k") -> Iterator[threading.Event]:
        """A commit in another thread, and whether it is done."""
        done = threading.Event()

        def run() -> None:
            self.commit(path)
            done.set()

        thread = threading.Thread(target=run)
        thread.start()
        try:
            yield done
        finally:
            thread.join(60)
            assert not thread.is_alive()

    def breaks(self, session: str) -> ReadLeasesReply:
        """The poll that brings a break."""
        return wait_until(lambda: found if (found := self.poll(session)).broken else None, what="a break")

    def lapse(self) -> None:
        """Let sessions end, and whoever waits for that notice it."""
        self.clock.advance(TERM_SECONDS)
        with self.ledger._changed:
            self.ledger._changed.notify_all()


@pytest.fixture
def rig() -> Rig:
    return Rig()


def test_a_commit_waits_until_the_break_is_confirmed(rig: Rig) -> None:
    """Not until it was told: until the proxy says that it is carried out."""
    session = rig.session()
    lease = rig.grant(session, K)
    assert lease
    with rig.committing() as done:
        reply = rig.breaks(session)
        assert (reply.broken, reply.through, reply.extended) == ([lease], 1, False)
        assert not done.is_set()
        assert rig.poll(session).broken == [lease], "a reply that was lost comes again"
        assert not done.is_set()
        assert rig.poll(session, done=1).extended
    assert not rig.ledger.is_held


def test_a_second_change_waits_for_a_break_that_the_first_began(rig: Rig) -> None:
    """The lease is gone only when its break is confirmed, whoever began it."""
    session = rig.session()
    rig.grant(session, K)
    announcing = threading.Event()

    def announce() -> None:
        with rig.ledger.announced([("b", "k")]):
            announcing.set()

    first = threading.Thread(target=announce)
    first.start()
    rig.breaks(session)
    with rig.committing() as done:
        assert not announcing.is_set()
        assert not done.wait(0.05)
        rig.poll(session, done=1)
    first.join(60)
    assert announcing.is_set()


def test_a_commit_outlasts_a_silent_session_and_no_longer(rig: Rig) -> None:
    """The session and all of its leases end; its proxy is told so when it comes back."""
    session = rig.session()
    rig.grant(session, K)
    with rig.committing() as done:
        assert not done.wait(0.05)
        rig.lapse()
    assert not rig.poll(session).session
    assert rig.session() != session


def test_polls_without_confirmation_extend_nothing(rig: Rig) -> None:
    """A proxy that sends and never receives would hold up a change for ever."""
    session = rig.session()
    rig.grant(session, K)
    with rig.committing():
        rig.breaks(session)
        rig.clock.advance(TERM_SECONDS / 2)
        assert not rig.poll(session).extended
        rig.clock.advance(TERM_SECONDS / 2)
        assert not rig.poll(session).session


def test_nothing_else_waits(rig: Rig) -> None:
    """Changes of other paths, and of what no reply shows."""
    session = rig.session()
    rig.grant(session, K)
    rig.commit("other")
    with rig.ledger.commit_guard('["+","journal",1]'):
        pass
    assert not rig.poll(session).broken


def test_a_break_of_everything_is_for_every_lease(rig: Rig) -> None:
    one, other = rig.session(), rig.session()
    rig.grant(one, K)
    rig.grant(other, path_key("b", "elsewhere"))

    def commit() -> None:
        with rig.ledger.commit_guard('["+","a table of a later version","x"]'):
            pass

    thread = threading.Thread(target=commit)
    thread.start()
    for session in (one, other):
        rig.poll(session, done=rig.breaks(session).through)
    thread.join(60)
    assert not thread.is_alive()
    assert rig.ledger.count == 0


@pytest.mark.parametrize("keys", [frozenset((K,)), frozenset((EVERYTHING,))])
def test_a_look_up_that_a_change_overtook_gets_no_lease(rig: Rig, keys: Keys) -> None:
    """Its snapshot may be of before: during the commit, and after it."""
    session = rig.session()
    since = rig.ledger.moment()
    inside: list[int] = []
    changes = json.dumps(["+", "current", "b", "k"] if K in keys else ["+", "unknown", "x"])
    with rig.ledger.commit_guard(changes):
        inside.append(rig.grant(session, K))
    assert inside == [0]
    assert rig.grant(session, K, since=since) == 0
    assert rig.grant(session, K, since=rig.ledger.moment())


def test_a_look_up_that_other_changes_overtook_gets_one(rig: Rig) -> None:
    """As long as it is known what they changed."""
    session, since = rig.session(), rig.ledger.moment()
    for _ in range(KEPT_COMMITS):
        rig.commit("other")
    assert rig.grant(session, K, since=since)
    rig.commit("other")
    assert rig.grant(session, account_key("ann"), since=since) == 0


def test_a_failed_commit_counts_as_one(rig: Rig) -> None:
    """Nobody knows what became of it."""
    session, since = rig.session(), rig.ledger.moment()
    with pytest.raises(OSError), rig.ledger.commit_guard(json.dumps(["+", "current", "b", "k"])):
        raise OSError
    assert rig.grant(session, K, since=since) == 0


def test_no_lease_on_an_announced_path(rig: Rig) -> None:
    """Also while several announce it."""
    session = rig.session()
    with rig.ledger.announced([("b", "k")]):
        with rig.ledger.announced([("b", "k"), ("b", "k")]):
            assert not rig.grant(session, K)
        assert not rig.grant(session, K)
        assert rig.grant(session, path_key("b", "other"))
    assert rig.grant(session, K)


def test_dropped_and_old_leases_hold_up_nobody(rig: Rig) -> None:
    session = rig.session()
    rig.poll(session, dropped=(rig.grant(session, K), 4711))
    rig.commit()
    rig.grant(session, K, seconds=1.0)
    rig.clock.advance(1.0)
    rig.commit()
    assert not rig.poll(session).broken


def test_numbers_are_bounded(rig: Rig) -> None:
    """Leases of a session, until they are old, and sessions, until they end."""
    session = rig.session()
    for number in range(MAX_LEASES):
        assert rig.grant(session, path_key("b", str(number)))
    assert not rig.grant(session, K)
    for _ in range(int(LEASE_SECONDS)):
        rig.clock.advance(1.0)
        rig.poll(session)
    assert rig.grant(session, K)
    for _ in range(MAX_SESSIONS - 1):
        rig.session()
    with pytest.raises(Overloaded):
        rig.session()
    rig.lapse()
    assert rig.session()


def test_the_first_change_after_a_start_outlasts_earlier_leases() -> None:
    """Of what a lease may be about; the directory's own rows may change before."""
    clock = ManualClock(start=50.0)
    rig = Rig()
    rig.clock, rig.ledger = clock, LeaseLedger(clock.monotonic, held_until=clock.monotonic() + TERM_SECONDS)
    with rig.ledger.commit_guard('["+","setting","directory_time"]'):
        pass
    with rig.committing() as done:
        assert not done.wait(0.05)
        rig.lapse()


def test_the_start_is_remembered_before_the_first_session() -> None:
    """Once in a run."""
    remembered: list[str] = []
    ledger = LeaseLedger(lambda: 0.0, remember=lambda: remembered.append("granted"))
    ledger.poll(ReadLeasesRequest("unknown"))
    assert not remembered
    for _ in range(3):
        ledger.poll(ReadLeasesRequest())
    assert remembered == ["granted"]


def test_a_stop_answers_polls_and_grants_nothing(rig: Rig) -> None:
    session = rig.session()
    replies: list[ReadLeasesReply] = []
    waiting = threading.Thread(
        target=lambda: replies.append(rig.ledger.poll(ReadLeasesRequest(session, wait_seconds=1.0)))
    )
    waiting.start()
    rig.ledger.close()
    waiting.join(60)
    assert replies
    assert not rig.grant(session, K)
    assert not rig.ledger.poll(ReadLeasesRequest()).session


def test_polls_beyond_a_number_do_not_wait(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each occupies a thread. Their proxies come again after a pause, which is shorter than their term."""
    monkeypatch.setattr(ledger, "MAX_WAITING", 0)
    session = rig.session()
    reply = rig.ledger.poll(ReadLeasesRequest(session, wait_seconds=1.0))
    assert reply.extended
    assert 0 < reply.pause_seconds < TERM_SECONDS / 2


def test_a_newer_poll_ends_the_wait_of_an_older_one(rig: Rig) -> None:
    """Which its caller has given up."""
    session = rig.session()
    waiting = threading.Thread(target=lambda: rig.ledger.poll(ReadLeasesRequest(session, wait_seconds=1.0)))
    waiting.start()
    wait_until(lambda: rig.ledger._sessions[session].polls == 1)
    rig.poll(session)
    waiting.join(60)
    assert not waiting.is_alive()
