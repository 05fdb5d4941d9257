"""The threads that deliver to targets: started, replaced and stopped without anybody waiting for a receiver."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from pika.exceptions import ChannelClosedByBroker, ConnectionClosedByBroker, ProbableAuthenticationError

from directory_server.features.notifications import amqp
from directory_server.features.notifications.addresses import Address, Destination
from directory_server.features.notifications.delivery import MAX_AGE_SECONDS
from directory_server.features.notifications.sending import NotDelivered, Outgoing, Sender, is_permanent
from directory_server.features.notifications.targets import MAX_TARGETS, Targets
from directory_server.metadata.statements import notifications as rows
from lockstep_store.runtime.jobs import BackgroundJob
from lockstep_store.runtime.storage.sealing import KeyRing, Sealer
from lockstep_store.wire.errors import BadRequest, Conflict, TargetUnusable, Unavailable
from lockstep_store.wire.messages.targets import AddTargetRequest
from tests.fakes.directory_rig import DirectoryRig
from tests.fakes.notification_target import KeepingTarget
from tests.waiting import wait_until


class HangingTarget:
    """Takes a message and does not answer until it is let go."""

    def __init__(self) -> None:
        self.asked = threading.Event()
        self.let_go = threading.Event()

    def send(self, message: Outgoing) -> None:
        self.asked.set()
        assert self.let_go.wait(60)

    def rest(self) -> None:
        """Do nothing, because there is no connection."""


class Rig:
    def __init__(self, folder: Path) -> None:
        self.directory = DirectoryRig(folder, servers=0)
        keys = folder / "storage-keys.json"
        sealer = Sealer(KeyRing.load_or_create(keys))
        self.hanging, self.keeping = HangingTarget(), KeepingTarget()
        self.targets = Targets(self.directory.store, self.directory.clock, lambda: sealer, self._make)

    def _make(self, destination: Destination, _: Address) -> Sender:
        return self.hanging if "hangs" in destination.url else self.keeping

    def add(self, name: str, url: str) -> None:
        self.targets.add(AddTargetRequest("unused", name, url))

    def queue(self, name: str) -> None:
        now = self.directory.clock.now()
        self.directory.store.write(lambda tx: rows.queue(tx, name, "{}", queued_time=now))
        self.targets.wake(name)


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    made = Rig(tmp_path)
    yield made
    made.hanging.let_go.set()
    made.targets.stop()
    made.directory.close()


def test_nobody_waits_for_a_target_that_hangs(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another target gets its messages, and the one that hangs can be given another address or be removed at once."""
    waited: list[float] = []
    stop = BackgroundJob.stop

    def note(job: BackgroundJob, timeout: float = 5.0) -> None:
        waited.append(timeout)
        stop(job, timeout)

    monkeypatch.setattr(BackgroundJob, "stop", note)
    rig.targets.start()
    rig.add("slow", "https://hangs.test/")
    rig.queue("slow")
    assert rig.hanging.asked.wait(60)
    rig.add("quick", "https://answers.test/")
    rig.queue("quick")
    wait_until(lambda: len(rig.keeping.taken) == 1, 60, "the other target's message")
    rig.add("slow", "https://answers.test/slow")
    wait_until(lambda: len(rig.keeping.taken) == 2, 60, "what waited, at the new address")
    wait_until(lambda: all(not one.waiting for one in rig.targets.list().targets), 60, "the note that it was taken")
    assert rig.targets.remove("slow").dropped == 0
    assert waited == [0.0, 0.0], "somebody waited for the target"


def test_what_waits_for_a_target_that_cannot_be_read_any_more_is_bounded_too(rig: Rig, tmp_path: Path) -> None:
    """Its address is under storage keys that are gone: it says so, and what waited for too long is given up."""
    rig.add("hook", "https://answers.test/")
    other = Sealer(KeyRing.load_or_create(tmp_path / "other-keys.json"))
    targets = Targets(rig.directory.store, rig.directory.clock, lambda: other)
    rig.queue("hook")
    rig.directory.time.advance(MAX_AGE_SECONDS + 1.0)
    targets.step("hook")
    rig.queue("hook")
    targets.step("hook")
    (target,) = targets.list().targets
    assert (target.waiting, target.dropped) == (1, 1)
    assert "storage key" in target.problem


def test_there_is_a_bound_to_their_number(rig: Rig) -> None:
    """Each is a thread; one that is there can still be changed."""
    for number in range(MAX_TARGETS):
        rig.add(f"target-{number}", "https://answers.test/")
    with pytest.raises(Conflict, match=str(MAX_TARGETS)):
        rig.add("one-more", "https://answers.test/")
    rig.add("target-0", "https://answers.test/elsewhere")
    assert rig.targets.list().targets[0].url == "https://answers.test/elsewhere"
    with pytest.raises(BadRequest):
        rig.add("target-0", "gopher://answers.test/")


@pytest.mark.parametrize("permanent", [True, False])
def test_a_target_that_can_never_be_reached_as_named_is_no_503(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, permanent: bool
) -> None:
    """A test message that fails for good has a status of its own, so that no client repeats it by itself."""

    def refuse(_: Outgoing) -> None:
        raise NotDelivered("its certificate is not trusted", permanent=permanent)

    rig.add("hook", "https://answers.test/")
    monkeypatch.setattr(rig.keeping, "send", refuse)
    with pytest.raises(TargetUnusable if permanent else Unavailable, match="not trusted") as refused:
        rig.targets.test("hook")
    assert (refused.value.status, refused.value.can_retry) == ((424, False) if permanent else (503, True))


def test_which_failures_to_connect_are_permanent() -> None:
    """An untrusted certificate, no TLS at that port, a name that does not exist, and what a broker refuses."""
    no_tls = ssl.SSLError(1, "wrong version number")
    no_tls.reason = "WRONG_VERSION_NUMBER"
    for error in (ssl.SSLCertVerificationError(1, "untrusted"), no_tls, socket.gaierror(socket.EAI_NONAME, "unknown")):
        assert is_permanent(error), error
    for error in (ssl.SSLEOFError(8, "cut"), socket.gaierror(socket.EAI_AGAIN, "later"), ConnectionRefusedError()):
        assert not is_permanent(error), error
    for code, permanent in ((403, True), (404, True), (530, True), (320, False), (506, False), (541, False)):
        assert amqp._not_delivered(ChannelClosedByBroker(code, "why")).permanent is permanent
        assert amqp._not_delivered(ConnectionClosedByBroker(code, "why")).permanent is permanent
    assert amqp._not_delivered(ProbableAuthenticationError("no")).permanent
    assert not amqp._not_delivered(TimeoutError()).permanent
