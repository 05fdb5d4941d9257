"""Queues a change's messages in its own transaction, one for each configured target.

So it never costs a flush of its own, and a message describes the change although its version may be gone when the
message is delivered.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from directory_server.access.decisions import standing
from directory_server.features.notifications import record
from directory_server.features.notifications.configuration import NotificationRule, read
from directory_server.files.hooks import Feature
from directory_server.files.moment import MomentClock
from directory_server.files.object_changes import ObjectChange, cause_of
from directory_server.metadata.statements import notifications as rows
from directory_server.metadata.statements import s3_settings
from directory_server.metadata.statements.buckets import Bucket
from directory_server.metadata.store import MetadataStore, Reader, Tx
from directory_server.people.person import People
from lockstep_store.runtime.tracing import log
from lockstep_store.wire.errors import BadRequest
from lockstep_store.wire.messages.base import Nothing
from lockstep_store.wire.messages.s3 import NOTIFICATION
from lockstep_store.wire.messages.targets import PutNotificationRequest


class Outbox:
    """Queues messages. `wake` is called with each target that has a new, durable message. Thread-safe."""

    def __init__(self, store: MetadataStore, clock: MomentClock, people: People, wake: Callable[[str], None]) -> None:
        self._store = store
        self._clock = clock
        self._people = people
        self._wake = wake

    @property
    def feature(self) -> Feature:
        return Feature(setting=NOTIFICATION, after_change=self.after_change)

    def put_configuration(self, request: PutNotificationRequest) -> Nothing:
        """Store a bucket's notification configuration. Durable on return, safe to repeat.

        Forbidden unless the caller owns the bucket or its policy allows it; BadRequest for an unknown target.
        """
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
            return Nothing()

        return self._store.write(work)

    def after_change(self, tx: Tx, bucket: Bucket, change: ObjectChange) -> None:
        """Queue the change for every target whose configuration asks for it."""
        text = s3_settings.bucket_value(tx, bucket.name, NOTIFICATION)
        first = 0
        for one in _read(bucket.name, text):
            if one.wants(change.event, change.path) and rows.find_target(tx, one.target) is not None:
                id = self._queue(tx, one.target, record.message(change, bucket, one.id), first)
                first = first or id

    def _queue(self, tx: Tx, name: str, body: str, first: int = 0) -> int:
        tx.after_commit(partial(self._wake, name))
        return rows.queue(tx, name, body, queued_time=self._clock.now(), change=first)


def buckets_using(reader: Reader, name: str) -> list[str]:
    """Return the buckets whose changes go to that target."""
    using = []
    for bucket in s3_settings.buckets_with(reader, NOTIFICATION):
        wanted = _read(bucket, s3_settings.bucket_value(reader, bucket, NOTIFICATION))
        if any(one.target == name for one in wanted):
            using.append(bucket)
    return using


def _read(bucket: str, text: str | None) -> tuple[NotificationRule, ...]:
    """Return the configurations. A bad setting is logged and gives none, or every write would fail."""
    try:
        return () if text is None else read(text)
    except BadRequest as error:
        log.error("the notifications of bucket %s are not sent: %s", bucket, error)
        return ()


def _check_targets(reader: Reader, wanted: tuple[NotificationRule, ...]) -> None:
    unknown = sorted({one.arn for one in wanted if rows.find_target(reader, one.target) is None})
    if unknown:
        raise BadRequest(
            f"Unable to validate the following destination configurations: {', '.join(unknown)}: an ARN's last part "
            "must be the name of a target, which an administrator makes (lockstep targets add)",
            s3_code="InvalidArgument",
        )
