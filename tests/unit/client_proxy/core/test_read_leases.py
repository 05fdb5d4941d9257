"""The proxy's leases: what is answered from memory, and for how long."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from client_proxy.core import read_leases
from client_proxy.core.read_leases import (
    HOT_SECONDS,
    IDLE_SECONDS,
    REFUSED_SECONDS,
    RETRY_SECONDS,
    Found,
    LeaseKey,
    ReadLeases,
    lease_key,
)
from lockstep_store.wire.digest import EMPTY_DIGEST
from lockstep_store.wire.errors import LockstepError, NotFound, PeerUnreachable
from lockstep_store.wire.messages.files import FileVersion, LookupItem
from lockstep_store.wire.messages.read_leases import (
    LEASE_SECONDS,
    SHARE_OF_PROXY,
    TERM_SECONDS,
    ReadLease,
    ReadLeasesReply,
    ReadLeasesRequest,
)
from lockstep_store.wire.messages.s3 import S3Proof
from lockstep_store.wire.messages.s3_access import S3Access
from tests.fakes.clock import ManualClock

VERSION = FileVersion("b", "k", "1", EMPTY_DIGEST, 0, "ann", 0.0)
FOUND = Found(VERSION, 7)


class Rig:
    """Leases whose directory replies as a test says."""

    def __init__(self) -> None:
        self.clock = ManualClock(start=50.0)
        self.asked: list[ReadLeasesRequest] = []
        self.reply: Callable[[ReadLeasesRequest], ReadLeasesReply] = lambda request: ReadLeasesReply(
            request.session or "s1", True, TERM_SECONDS
        )
        self.woken = 0
        self.leases = ReadLeases(self._ask, elapsed=self.clock.monotonic)
        self.leases.wake = self._wake
        self.key = key_of("k")

    def _wake(self) -> None:
        self.woken += 1

    def _ask(self, request: ReadLeasesRequest, _seconds: float) -> ReadLeasesReply:
        self.asked.append(request)
        return self.reply(request)

    def begin(self) -> None:
        """Hold a session, as after a path has become hot."""
        self.leases.is_wanted(self.key)
        self.leases.is_wanted(self.key)
        assert self.leases.step() == 0.0
        assert self.leases.session is not None

    def keep(self, id: int = 1, path: str = "k", as_of: int = 0, seconds: float = LEASE_SECONDS) -> None:
        session = self.leases.session
        assert session is not None
        lease = ReadLease(0, id, seconds, as_of)
        self.leases.keep(session, lease, key_of(path), FOUND, self.clock.monotonic())

    def break_now(self, *ids: int, through: int = 1) -> None:
        self.reply = lambda request: ReadLeasesReply(request.session, True, TERM_SECONDS, list(ids), through)
        self.leases.step()
        self.reply = lambda request: ReadLeasesReply(request.session, True, TERM_SECONDS, [], through)


def key_of(path: str, credential: str = "lsk_x") -> LeaseKey:
    key = lease_key(LookupItem(credential, "b", path))
    assert key is not None
    return key


@pytest.fixture
def rig() -> Rig:
    return Rig()


def test_a_lease_is_wanted_by_the_second_look_up_in_a_short_time(rig: Rig) -> None:
    """The first hot path wakes the job that begins a session."""
    assert not rig.leases.is_wanted(rig.key)
    rig.clock.advance(HOT_SECONDS + 0.1)
    assert not rig.leases.is_wanted(rig.key)
    assert not rig.woken
    assert not rig.leases.is_wanted(rig.key), "there is no session yet"
    assert rig.woken == 1
    rig.leases.step()
    assert rig.leases.is_wanted(rig.key)


def test_a_lease_answers_until_it_or_its_session_ends(rig: Rig) -> None:
    """Each counted from the sending of the request, and shorter than at the directory."""
    rig.begin()
    rig.keep(1)
    assert rig.leases.find(rig.key) == FOUND._replace(leased=True)
    rig.clock.advance(SHARE_OF_PROXY * TERM_SECONDS)
    assert rig.leases.find(rig.key) is None
    for _ in range(5):
        rig.leases.step()
        assert rig.leases.find(rig.key) is not None
        rig.clock.advance(SHARE_OF_PROXY * TERM_SECONDS)
    rig.leases.step()
    assert rig.leases.find(rig.key) is None, f"it is older than {LEASE_SECONDS} s"


def test_the_term_is_counted_from_the_sending(rig: Rig) -> None:
    """However long the reply is on its way."""
    rig.begin()
    rig.keep(1)

    def late(request: ReadLeasesRequest) -> ReadLeasesReply:
        rig.clock.advance(1.0)
        return ReadLeasesReply(request.session, True, TERM_SECONDS)

    rig.reply = late
    rig.leases.step()
    rig.clock.advance(SHARE_OF_PROXY * TERM_SECONDS - 1.0)
    assert rig.leases.find(rig.key) is None


def test_a_break_is_carried_out_before_it_is_confirmed(rig: Rig) -> None:
    rig.begin()
    rig.keep(1)
    rig.keep(2, "other")
    rig.break_now(1, 99, through=4)
    assert rig.leases.find(rig.key) is None
    assert rig.leases.find(key_of("other")) is not None
    rig.leases.step()
    assert rig.asked[-1].done == 4


def test_a_grant_that_its_break_overtook_is_not_used(rig: Rig) -> None:
    """The break has been confirmed already: the change that it announced may be done."""
    rig.begin()
    rig.break_now(1, through=1)
    rig.keep(1, as_of=0)
    assert rig.leases.find(rig.key) is None
    rig.keep(2, as_of=1)
    assert rig.leases.find(rig.key) is not None


def test_nothing_of_an_earlier_session_is_used(rig: Rig) -> None:
    """Neither what was granted, nor a grant that arrives late."""
    rig.begin()
    earlier = rig.leases.session
    rig.keep(1)
    entry = rig.leases._entries[rig.key]
    rig.reply = lambda request: ReadLeasesReply("s2" if not request.session else "", True, TERM_SECONDS)
    rig.leases.step()
    assert rig.leases.session is None
    assert rig.leases.find(rig.key) is None
    rig.leases.step()
    assert earlier is not None
    assert rig.leases.session is not earlier
    rig.leases.keep(earlier, ReadLease(0, 2, 9.0, 5), rig.key, FOUND, rig.clock.monotonic())
    assert rig.leases.find(rig.key) is None
    # The directory began anew, so its first session has a lease with the same number: that one is still in use.
    rig.keep(2, "other")
    rig.leases.step()
    assert rig.asked[-1].dropped == []
    # Who took the entry before, and goes on now, sees its own session ended.
    rig.clock.advance(SHARE_OF_PROXY * TERM_SECONDS)
    rig.leases.step()
    assert rig.clock.monotonic() >= entry.session.until


def test_a_session_that_is_not_extended_ends(rig: Rig) -> None:
    rig.begin()
    rig.keep(1)
    rig.reply = lambda request: ReadLeasesReply(request.session, False, TERM_SECONDS)
    rig.clock.advance(1.0)
    rig.leases.step()
    rig.clock.advance(SHARE_OF_PROXY * TERM_SECONDS - 1.0)
    assert rig.leases.find(rig.key) is None


@pytest.mark.parametrize(
    ("error", "pause"),
    [(PeerUnreachable("away"), RETRY_SECONDS), (NotFound("an older directory"), REFUSED_SECONDS)],
)
def test_a_directory_without_an_answer_is_not_asked_at_each_look_up(
    rig: Rig, error: LockstepError, pause: float
) -> None:
    def fail(_: ReadLeasesRequest) -> ReadLeasesReply:
        raise error

    rig.reply = fail
    rig.leases.is_wanted(rig.key)
    rig.leases.is_wanted(rig.key)
    assert rig.leases.step() == pause
    woken = rig.woken
    rig.leases.is_wanted(rig.key)
    assert rig.woken == woken


def test_a_poll_that_the_directory_cannot_let_wait_is_not_repeated_at_once(rig: Rig) -> None:
    """Unless it brought a break, which a change waits for."""
    rig.begin()
    rig.reply = lambda request: ReadLeasesReply(request.session, True, TERM_SECONDS, pause_seconds=0.3)
    assert rig.leases.step() == 0.3
    rig.keep(1)
    rig.reply = lambda request: ReadLeasesReply(request.session, True, TERM_SECONDS, [1], 1, 0.3)
    assert rig.leases.step() == 0.0


def test_a_session_ends_when_nothing_is_hot(rig: Rig) -> None:
    """Then nothing is polled any more."""
    rig.begin()
    rig.keep(1)
    rig.clock.advance(LEASE_SECONDS)
    rig.leases.step()
    rig.clock.advance(IDLE_SECONDS)
    asked = len(rig.asked)
    assert rig.leases.step() == REFUSED_SECONDS
    assert rig.leases.session is None
    assert len(rig.asked) == asked


def test_the_directory_learns_of_the_last_lease_before_the_session_ends(rig: Rig) -> None:
    """There the lease lasts longer, and a change would wait for a proxy that polls no more."""
    rig.begin()
    rig.keep(1)
    rig.clock.advance(LEASE_SECONDS)
    assert rig.leases.step() == 0.0
    assert rig.asked[-1].dropped == [1]
    assert rig.leases.step() == REFUSED_SECONDS


def test_the_number_of_leases_is_bounded(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest goes, and the directory is told."""
    monkeypatch.setattr(read_leases, "MAX_LEASES", 3)
    rig.begin()
    for number in range(1, 6):
        rig.keep(number, f"path-{number}")
    assert len(rig.leases) == 3
    assert rig.leases.find(key_of("path-2")) is None
    assert rig.leases.find(key_of("path-5")) is not None
    rig.leases.step()
    assert rig.asked[-1].dropped == [1, 2]


def _signed(**more: str) -> str:
    proof = S3Proof("LSKEY", "20260101", "us-east-1", more.pop("amz_date", "20260101T000000Z"), "ab", "cd").encode()
    keys = {"s3:signatureage": [more.pop("age", "1")], "aws:useragent": [more.pop("agent", "x")]}
    return S3Access(credential=more.pop("credential", proof), keys=keys, **more).encode()


def test_requests_of_one_kind_by_one_identity_share_a_lease() -> None:
    """Whatever their signature, age and agent. Everything that rights depend on tells them apart."""
    same = key_of("k", _signed(action="s3:GetObject"))
    assert key_of("k", _signed(action="s3:GetObject", amz_date="20260101T000001Z", age="9", agent="y")) == same
    others = [
        key_of("k2", _signed(action="s3:GetObject")),
        key_of("k", _signed(action="s3:GetObjectAttributes")),
        key_of("k", _signed(action="s3:GetObject", owner="ann")),
        key_of("k", _signed(action="s3:GetObject", credential="")),
        key_of("k", _signed(action="s3:GetObject", credential="LSKEY")),
        key_of("k", "LSKEY"),
    ]
    assert len({same, *others}) == len(others) + 1


@pytest.mark.parametrize(
    "item",
    [
        LookupItem("lsk_x", "b", "k", version="1"),
        LookupItem(_signed(action="s3:PutObject", source_action="s3:GetObject"), "b", "k"),
        LookupItem(_signed(action="s3:PutObject", source_owner="ann"), "b", "k"),
    ],
    ids=["a version", "a copy", "a copy with an expected owner"],
)
def test_some_look_ups_are_never_leased(item: LookupItem) -> None:
    assert lease_key(item) is None
