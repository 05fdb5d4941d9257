"""The notification targets that administrators define, with a delivering thread for each.

Only administrators define them, because a target makes the cluster send requests to any address.
"""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

from blake3 import blake3
from prometheus_client import Gauge

from directory_server.cluster.directory_clock import DirectoryClock
from directory_server.features.notifications.addresses import Address, AmqpAddress, Destination, parse
from directory_server.features.notifications.delivery import Delivery
from directory_server.features.notifications.outbox import buckets_using
from directory_server.features.notifications.record import trial_message
from directory_server.features.notifications.sending import NotDelivered, Outgoing, Sender
from directory_server.features.notifications.webhook import Webhook
from directory_server.metadata.sealed_rows import SealedRow
from directory_server.metadata.statements import notifications as rows
from directory_server.metadata.store import MetadataStore, Reader, Tx
from lockstep_store.runtime.jobs import BackgroundJob
from lockstep_store.runtime.storage.sealing import Sealer
from lockstep_store.runtime.tracing import log
from lockstep_store.wire.codec import decoder, encode
from lockstep_store.wire.digest import Digest
from lockstep_store.wire.errors import Conflict, LockstepError, NotFound, TargetUnusable, Unavailable
from lockstep_store.wire.messages.base import Nothing
from lockstep_store.wire.messages.targets import AddTargetRequest, RemovedTarget, TargetInfo, TargetsReply

MAX_TARGETS = 64
"""Each has a thread."""
WAITING = Gauge("lockstep_directory_notifications_waiting", "Messages waiting for delivery to a target", ["target"])
_HOLD_SECONDS = 0.5
_STOP_SECONDS = 5.0
"""For all threads together; a thread that still waits for its target ends with the program."""
_SEAL_CONTEXT = b"lockstep 2026 notification target"
_destinations = decoder(Destination)
MakeSender = Callable[[Destination, Address], Sender]


@dataclass(frozen=True)
class _Running:
    delivery: Delivery
    job: BackgroundJob


class _Unusable:
    """Replaces a target whose address is unreadable: its queued messages need a bound too."""

    def __init__(self, why: str) -> None:
        self._why = why

    def send(self, _: Outgoing) -> None:
        raise NotDelivered(self._why)

    def rest(self) -> None:
        """Do nothing, because there is no connection."""


class Targets:
    """Manages the targets and their threads. Thread-safe. Tests replace `make_sender`."""

    def __init__(
        self,
        store: MetadataStore,
        clock: DirectoryClock,
        sealer: Callable[[], Sealer],
        make_sender: MakeSender | None = None,
    ) -> None:
        self._store = store
        self._clock = clock
        self._sealer = sealer
        self._make_sender = make_sender or self._sender
        self._running: dict[str, _Running] = {}
        self._guard = threading.RLock()
        self._started = False
        self.may_deliver: Callable[[], bool] = lambda: True
        """False while the metadata may be older than what was delivered already."""
        self.reload()

    def reload(self) -> None:
        """Begin again with the targets in the metadata, which has gone on without this object."""
        with self._store.read() as reader:
            known = rows.targets(reader)
        with self._guard:
            for name in list(self._running):
                self._end(name)
            for row in known:
                try:
                    self._run(row.name, self._open(row))
                except LockstepError as error:
                    log.error("notifications: target %s cannot be used: %s; add it again", row.name, error)
                    self._deliver(row.name, _Unusable(str(error)))

    # ------------------------------------------------------------ what administrators ask

    def list(self) -> TargetsReply:
        with self._store.read() as reader:
            return TargetsReply([self._info(reader, row) for row in rows.targets(reader)])

    def add(self, request: AddTargetRequest) -> TargetInfo:
        """Add or replace a target, durably. Safe to repeat. BadRequest for an unusable address or CA file."""
        destination = Destination(request.url, request.secret, request.token, request.ca_pem)
        address = parse(destination)
        self._make_sender(destination, address)  # refuses a CA file that is none
        name = request.name

        def work(tx: Tx) -> None:
            known = rows.targets(tx)
            if len(known) >= MAX_TARGETS and all(row.name != name for row in known):
                raise Conflict(f"there are {MAX_TARGETS} targets already: remove one first")
            sealed = self._seal(name, destination)  # here, so that no rotation of the storage keys comes between
            rows.put_target(tx, rows.TargetRow(name, address.shown, sealed, self._clock.wall(), dropped=0))

        with self._guard:
            self._store.write(work)
            self._end(name)
            self._run(name, destination)
        return self._one(name)

    def sealed_rows(self, reader: Reader) -> Iterator[SealedRow]:
        """Return the sealed address of every target."""
        yield from map(_sealed_row, rows.targets(reader))

    def remove(self, name: str) -> RemovedTarget:
        """Remove a target. Conflict while a bucket's notifications go there."""

        def work(tx: Tx) -> int:
            self._find(tx, name)
            using = buckets_using(tx, name)
            if using:
                shown = ", ".join(using[:10]) + (" and others" if len(using) > 10 else "")
                raise Conflict(
                    f"target {name!r} is used by the notifications of bucket {shown}: change those first", buckets=using
                )
            return rows.drop_target(tx, name)

        with self._guard:
            dropped = self._store.write(work)
            self._end(name)
        return RemovedTarget(dropped)

    def test(self, name: str) -> Nothing:
        """Send a test message now, ahead of waiting ones.

        TargetUnusable or Unavailable, with the reason, when it is not taken.
        """
        with self._store.read() as reader:
            destination = self._open(self._find(reader, name))
        sender = self._make_sender(destination, parse(destination))
        try:
            body = trial_message("", self._clock.wall()).encode()
            sender.send(Outgoing(f"test-{secrets.token_hex(8)}", body))
        except NotDelivered as error:
            refusal = TargetUnusable if error.permanent else Unavailable
            raise refusal(f"target {name!r} did not accept the test message: {error}") from error
        finally:
            sender.rest()
        self.wake(name, at_once=True)
        return Nothing()

    # ------------------------------------------------------------ threads

    def start(self) -> None:
        """Start delivering."""
        with self._guard:
            self._started = True
            for running in self._running.values():
                running.job.start()

    def stop(self) -> None:
        """Stop the threads; messages under way are sent again after the next start."""
        with self._guard:
            for running in self._running.values():
                running.delivery.ending = True
                running.job.wake()
            until = time.monotonic() + _STOP_SECONDS
            for running in self._running.values():
                running.job.stop(max(0.0, until - time.monotonic()))

    def wake(self, name: str, *, at_once: bool = False) -> None:
        """Wake a target's delivery for a new message; `at_once` when the target answers again."""
        running = self._running.get(name)
        if running is not None:
            if at_once:
                running.delivery.try_now()
            running.job.wake()

    def step(self, name: str) -> float:
        """One step of a target's delivery, for tests."""
        return self._running[name].delivery.step()

    def _run(self, name: str, destination: Destination) -> None:
        self._deliver(name, self._make_sender(destination, parse(destination)))

    def _deliver(self, name: str, sender: Sender) -> None:
        delivery = Delivery(self._store, self._clock, name, sender)
        job = BackgroundJob(
            f"notifications to {name}", lambda: delivery.step() if self.may_deliver() else _HOLD_SECONDS
        )
        self._running[name] = _Running(delivery, job)
        WAITING.labels(name).set_function(partial(self._waiting, name))
        if self._started:
            job.start()

    def _end(self, name: str) -> None:
        running = self._running.pop(name, None)
        if running is not None:
            running.delivery.ending = True
            running.job.stop(0.0)  # it may be waiting for the target, and the caller must not wait
            WAITING.remove(name)

    # ------------------------------------------------------------ the rest

    def _sender(self, destination: Destination, address: Address) -> Sender:
        if isinstance(address, AmqpAddress):
            # Here, so that a directory without a broker starts without the broker's library.
            from directory_server.features.notifications.amqp import AmqpPublisher

            return AmqpPublisher(destination, address)
        return Webhook(destination, address, self._clock.wall)

    def _one(self, name: str) -> TargetInfo:
        with self._store.read() as reader:
            return self._info(reader, self._find(reader, name))

    def _info(self, reader: Reader, row: rows.TargetRow) -> TargetInfo:
        count, since = rows.waiting(reader, row.name)
        running = self._running.get(row.name)
        info = TargetInfo(
            name=row.name,
            kind="webhook" if row.shown_url.startswith("http") else "amqp",
            url=row.shown_url,
            created_at=row.created_at,
            waiting=count,
            oldest_seconds=max(0.0, self._clock.now() - since) if since is not None else 0.0,
            dropped=row.dropped,
        )
        try:
            destination = self._open(row)
        except LockstepError as error:
            info.problem = str(error)
            return info
        info.signed, info.has_token = bool(destination.secret), bool(destination.token)
        info.has_ca = bool(destination.ca_pem)
        if running is not None:
            info.delivered, info.problem = running.delivery.delivered, running.delivery.problem
        return info

    def _waiting(self, name: str) -> float:
        try:
            with self._store.read() as reader:
                return rows.waiting(reader, name)[0]
        except LockstepError:
            return float("nan")

    def _find(self, reader: Reader, name: str) -> rows.TargetRow:
        found = rows.find_target(reader, name)
        if found is None:
            raise NotFound(f"there is no notification target {name!r}; `lockstep targets list` shows them")
        return found

    def _seal(self, name: str, destination: Destination) -> bytes:
        return self._sealer().seal(_seal_name(name), encode(destination))

    def _open(self, row: rows.TargetRow) -> Destination:
        return _destinations.decode(self._sealer().open(_seal_name(row.name), row.sealed))


def _sealed_row(row: rows.TargetRow) -> SealedRow:
    return SealedRow(_seal_name(row.name), row.sealed, lambda tx, sealed: rows.reseal_target(tx, row, sealed))


def _seal_name(name: str) -> Digest:
    """Return the name that a seal is bound to. It equals no chunk's digest, because those are hashes of content."""
    return Digest(blake3(_SEAL_CONTEXT + b"\0" + name.encode()).digest())
