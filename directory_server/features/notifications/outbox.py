"""Puts messages about changes beside the changes: one row for each target that a bucket's configuration names.

This runs at the end of every transaction, in it, so it costs one look at a set while no bucket has notifications, and
never a flush of its own. What was said of a change (`tx.tell`) is all that is needed: versions may be gone already.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from directory_server.access.decisions import standing
from directory_server.cluster.directory_clock import DirectoryClock
from directory_server.features.notifications import record
from directory_server.features.notifications.configuration import Configuration, read
from directory_server.files import buckets
from directory_server.files.object_changes import ObjectChange, cause_of
from directory_server.metadata.statements import notifications as rows
from directory_server.metadata.statements import s3_settings
from directory_server.metadata.store import MetadataStore, Reader, Tx
from directory_server.ports import People
from lockstep_store.runtime.tracing import log
from lockstep_store.wire.errors import BadRequest
from lockstep_store.wire.messages.files import Nothing
from lockstep_store.wire.messages.s3 import NOTIFICATION
from lockstep_store.wire.messages.targets import PutNotificationRequest


class Outbox:
    """Thread-safe. `wake` hears which targets have something new, once that is durable."""

    def __init__(
        self, store: MetadataStore, clock: DirectoryClock, people: People, wake: Callable[[str], None]
    ) -> None:
        self._store = store
        self._clock = clock
        self._people = people
        self._wake = wake
        self._configured: frozenset[str] | None = None
        """Buckets that have a configuration; None when that is to be looked up. Of the writer's thread alone."""
        store.first_in_each_transaction(self._look_up)
        store.last_in_each_transaction(self._write_down)

    def put_configuration(self, request: PutNotificationRequest) -> Nothing:
        """Durable on return, safe to repeat. Forbidden unless the caller owns the bucket or its policy lets them;
        BadRequest for a target that is not there."""
        person = self._people.identify(request.credential)
        wanted = () if request.value is None else read(request.value)

        def work(tx: Tx) -> Nothing:
            place = standing(tx, request.bucket, person, self._clock.wall())
            place.demand(place.asked("s3:PutBucketNotification"), owners_only=True)
            s3_settings.put_bucket_value(tx, request.bucket, NOTIFICATION, request.value if wanted else None)
            if request.validate:
                _check_targets(tx, wanted)
                body = record.trial_message(request.bucket, self._clock.wall(), cause_of(person).request_id)
                for name in dict.fromkeys(one.target for one in wanted):
                    self._queue(tx, name, body)
            tx.after_commit(self._forget)
            return Nothing()

        return self._store.write(work)

    def _forget(self) -> None:
        self._configured = None

    def _look_up(self, tx: Tx) -> None:
        # Before anything else in the transaction, so that nothing is taken for kept that may be undone.
        if self._configured is None:
            self._configured = frozenset(s3_settings.buckets_with(tx, NOTIFICATION))

    def _write_down(self, tx: Tx) -> None:
        if not self._configured:
            return
        for change in tx.told():
            if isinstance(change, ObjectChange) and change.bucket in self._configured:
                self._tell(tx, change)

    def _tell(self, tx: Tx, change: ObjectChange) -> None:
        # The set may name a bucket whose configuration, or which itself, is gone by now: the row decides.
        text = s3_settings.bucket_value(tx, change.bucket, NOTIFICATION)
        wanted = [one for one in _read(change.bucket, text) if one.wants(change.event, change.path)]
        if not wanted:
            return
        bucket = buckets.find(tx, change.bucket)
        first = 0
        for one in wanted:
            if rows.find_target(tx, one.target) is not None:
                id = self._queue(tx, one.target, record.message(change, bucket, one.id), first)
                first = first or id

    def _queue(self, tx: Tx, name: str, body: str, first: int = 0) -> int:
        tx.after_commit(partial(self._wake, name))
        return rows.queue(tx, name, body, queued_time=self._clock.now(), change=first)


def buckets_using(reader: Reader, name: str) -> list[str]:
    """The buckets whose changes are told to that target."""
    using = []
    for bucket in s3_settings.buckets_with(reader, NOTIFICATION):
        wanted = _read(bucket, s3_settings.bucket_value(reader, bucket, NOTIFICATION))
        if any(one.target == name for one in wanted):
            using.append(bucket)
    return using


def _read(bucket: str, text: str | None) -> tuple[Configuration, ...]:
    """None, and a line in the log, where the setting cannot be read: every write would fail otherwise."""
    try:
        return () if text is None else read(text)
    except BadRequest as error:
        log.error("the notifications of bucket %s are not sent: %s", bucket, error)
        return ()


def _check_targets(reader: Reader, wanted: tuple[Configuration, ...]) -> None:
    unknown = sorted({one.arn for one in wanted if rows.find_target(reader, one.target) is None})
    if unknown:
        raise BadRequest(
            f"Unable to validate the following destination configurations: {', '.join(unknown)}: an ARN's last part "
            "must be the name of a target, which an administrator makes (lockstep targets add)",
            s3_code="InvalidArgument",
        )
