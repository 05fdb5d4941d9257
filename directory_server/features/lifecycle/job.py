"""The lifecycle job: walks over buckets in pages and removes due versions.

A page is read in a snapshot and only names candidates. The transaction that removes a version checks again, by the
rules, the versions, the locks and the object lock of that moment. Removals are ordinary changes in the journal; delete
markers have the author "lifecycle".

Ages are counted by `Moment.calendar`, so that setting the machine's clock forward removes nothing (see object_lock).
The place in the walk is kept in memory: after a restart the walk starts again, which costs only reads.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from prometheus_client import Counter

from directory_server.defaults import DAY_SECONDS
from directory_server.features.lifecycle.expiry_in_replies import tags_of
from directory_server.features.lifecycle.rules import (
    MAX_NEWER,
    SETTING,
    LifecycleRule,
    Placed,
    Version,
    What,
    ask_tags,
    begun_before,
    common_prefix,
    due,
    placed,
    read,
)
from directory_server.files.hooks import Hooks
from directory_server.files.moment import Moment, MomentClock
from directory_server.files.object_changes import BY_LIFECYCLE, LIFECYCLE
from directory_server.files.versions import Versions
from directory_server.metadata.statements import buckets, files, locks, s3_settings
from directory_server.metadata.statements.buckets import Bucket
from directory_server.metadata.store import MetadataStore, Reader, Row, Tx
from lockstep_store.runtime.tracing import log
from lockstep_store.wire.errors import BadRequest, Forbidden
from lockstep_store.wire.messages.locks import LockPath

PAGE = 500
MAX_REMOVALS = 100
"""In one step, and so in one transaction."""
PAUSE_SECONDS = 0.2
MAX_ROUND_PAUSE_SECONDS = 3600.0
REMOVED = Counter("lockstep_directory_lifecycle_removed", "Versions and uploads that lifecycles removed", ["what"])


class UploadAborter(Protocol):
    """Aborts old multipart uploads of buckets."""

    def abort_older_than(
        self,
        bucket: str,
        before_at: float,
        applies: Callable[[str], bool],
        *,
        still: Callable[[Reader], bool],
        most: int,
    ) -> int:
        """Abort at most `most` uploads begun before `before_at`, for paths that `applies` accepts; return how many."""
        ...


@dataclass(frozen=True)
class _Walk:
    """A walk over one bucket: its setting when the walk started, and the last place that was looked at."""

    bucket: str
    setting: str
    rules: list[LifecycleRule]
    last: Placed | None = None


class Lifecycle:
    """Applies lifecycles, on one thread. `day` is the length of a day in seconds; `new_id` makes write ids."""

    def __init__(
        self,
        store: MetadataStore,
        clock: MomentClock,
        uploads: UploadAborter,
        hooks: Hooks,
        day: float = DAY_SECONDS,
        new_id: Callable[[], str] = secrets.token_hex,
    ) -> None:
        self._store = store
        self._clock = clock
        self._uploads = uploads
        self._hooks = hooks
        self._versions = Versions(hooks)
        self._day = day
        self._new_id = new_id
        self._walk: _Walk | None = None
        self._done = ""
        """Buckets up to this name are done in this round."""

    def step(self) -> float:
        """Handle one page of one bucket, for a BackgroundJob; return the seconds until the next step."""
        if self._walk is None:
            self._walk = self._next()
            if self._walk is None:
                self._done = ""
                return min(MAX_ROUND_PAUSE_SECONDS, self._day / 24)
        walk = self._walk
        # Set again only after all went well: a bucket that cannot be read must not stop the others.
        self._done, self._walk = walk.bucket, None
        aborted = self._abort_uploads(walk) if walk.last is None else 0
        self._walk = walk if aborted >= MAX_REMOVALS else self._look(walk)
        return PAUSE_SECONDS

    def _next(self) -> _Walk | None:
        """Return the next bucket of this round that has rules."""
        with self._store.read() as reader:
            for name in s3_settings.buckets_with(reader, SETTING):
                text = s3_settings.bucket_value(reader, name, SETTING) if name > self._done else None
                if text is not None and (rules := _read(name, text)):
                    return _Walk(name, text, rules)
        return None

    # ------------------------------------------------------------ versions

    def _look(self, walk: _Walk) -> _Walk | None:
        """Handle one page; return where to continue, or None at the end of the bucket."""
        prefix = common_prefix(walk.rules)
        with_tags = ask_tags(walk.rules)
        with self._store.read() as reader:
            rows = _page(reader, walk, prefix)
            page = [_version(reader, row, with_tags=with_tags) for row in rows]
        at = self._clock.calendar()
        chosen: list[Placed] = []
        last = walk.last
        for place in placed([version for version in page if version.path.startswith(prefix)], walk.last):
            if due(walk.rules, place, at, self._day) is not None:
                chosen.append(place)
            last = place
            if len(chosen) == MAX_REMOVALS:
                break
        if chosen:
            removed = self._store.write(lambda tx: self._carry_out(tx, walk, chosen))
            for what in removed:
                REMOVED.labels(what).inc()
        at_end = len(rows) < PAGE or not rows[-1][1].startswith(prefix)
        if at_end and len(chosen) < MAX_REMOVALS:
            return None
        return _Walk(walk.bucket, walk.setting, walk.rules, last)

    def _carry_out(self, tx: Tx, walk: _Walk, chosen: list[Placed]) -> list[What]:
        """Remove the versions that are still due, inside the transaction."""
        bucket = buckets.find(tx, walk.bucket)
        if bucket is None:
            return []
        if s3_settings.bucket_value(tx, walk.bucket, SETTING) != walk.setting:
            return []
        moment = Moment.of(self._clock)
        return [what for place in chosen if (what := self._remove(tx, walk, bucket, place.version, moment)) is not None]

    def _remove(self, tx: Tx, walk: _Walk, bucket: Bucket, seen: Version, moment: Moment) -> What | None:
        row = files.find_version(tx, bucket.name, seen.path, seen.id)
        if row is None or locks.lock_on(tx, LockPath(bucket.name, seen.path)) is not None:
            return None
        what = due(walk.rules, _place_of(tx, row), moment.calendar, self._day)
        if what is None:
            return None
        try:
            # Where versions are kept, an expiry only adds a marker; everything else removes content.
            if what != "expire" or bucket.versioning != "enabled":
                self._hooks.before_removal(tx, row, moment)
        except Forbidden:
            return None
        if what == "expire":
            write_id = f"{LIFECYCLE}-{self._new_id()}"
            self._versions.delete(tx, bucket, seen.path, LIFECYCLE, write_id, moment, cause=BY_LIFECYCLE)
        else:
            self._versions.remove(tx, bucket, row, moment, cause=BY_LIFECYCLE)
        return what

    # ------------------------------------------------------------ uploads

    def _abort_uploads(self, walk: _Walk) -> int:
        aborted = 0
        for rule in walk.rules:
            limit = rule.abort_incomplete_multipart_upload
            if limit is None:
                continue
            before = begun_before(limit.days_after_initiation, self._clock.calendar(), self._day)
            aborted += self._uploads.abort_older_than(
                walk.bucket,
                before,
                partial(_begins_with, prefix=rule.condition().prefix),
                still=lambda tx: s3_settings.bucket_value(tx, walk.bucket, SETTING) == walk.setting,
                most=MAX_REMOVALS - aborted,
            )
            if aborted == MAX_REMOVALS:
                break
        REMOVED.labels("upload").inc(aborted)
        return aborted


def _read(bucket: str, text: str) -> list[LifecycleRule]:
    """Return the enabled rules; none, and a line in the log, for a setting that cannot be read."""
    try:
        return read(text)
    except BadRequest as error:
        log.error("the lifecycle of bucket %s is not applied: %s", bucket, error)
        return []


def _begins_with(path: str, prefix: str) -> bool:
    return path.startswith(prefix)


def _page(reader: Reader, walk: _Walk, prefix: str) -> list[Row]:
    """Return the versions after the last place, first the rest of its path."""
    if walk.last is None:
        return reader.all(files.VERSIONS_FROM, bucket=walk.bucket, path=prefix, count=PAGE)
    path, id = walk.last.version.path, walk.last.version.id
    rows = reader.all(files.VERSIONS_OLDER, bucket=walk.bucket, path=path, version=id, count=PAGE)
    if len(rows) < PAGE:
        rows += reader.all(files.VERSIONS_AFTER, bucket=walk.bucket, path=path, count=PAGE - len(rows))
    return rows


def _version(reader: Reader, row: Row, *, with_tags: bool = True) -> Version:
    tags = tags_of(reader, row[2]) if with_tags else frozenset()
    return Version(row[1], row[2], row[4], row[8], bool(row[12]), tags)


def _place_of(reader: Reader, row: Row) -> Placed:
    """Return a version's place among the others, as this transaction sees it."""
    at = {"bucket": row[0], "path": row[1]}
    newer = reader.all(files.VERSIONS_NEWER, **at, version=row[2], count=MAX_NEWER)
    older = reader.all(files.VERSIONS_OLDER, **at, version=row[2], count=1)
    since = newer[0][8] if newer else 0.0
    return Placed(_version(reader, row), len(newer), since, not newer and not older)
