"""Hooks: the points at which features take part in writes and reads.

`files` knows no feature. Each registers a `Feature` when the directory starts, and is called only where it applies: for
buckets with its setting, for versions with one of its version settings, and for requests that name it. A bucket's row
comes with the names of its settings, so a write to a bucket without features calls none.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeGuard

from directory_server.access.decisions import Standing
from directory_server.access.version_settings import demand_settings
from directory_server.files import past_writes
from directory_server.files.moment import Moment
from directory_server.files.new_version import NewVersion
from directory_server.files.object_changes import ObjectChange
from directory_server.metadata.statements import s3_settings
from directory_server.metadata.statements.buckets import Bucket
from directory_server.metadata.store import Reader, Row, Tx
from directory_server.people.person import Person
from lockstep_store.wire.digest import Digest
from lockstep_store.wire.errors import BadRequest, Forbidden, to_problem
from lockstep_store.wire.messages.files import DataKey, FileVersion
from lockstep_store.wire.messages.uploads import UploadInfo
from lockstep_store.wire.messages.writes import BeginItem, UploadStep

Settings = dict[str, str]


@dataclass(frozen=True)
class Feature:
    """What a feature does at each point; None where it does nothing. Each runs in the caller's snapshot or transaction.

    `at` is wall time. A hook refuses by raising; the change is then undone.
    """

    setting: str
    """The bucket setting that turns the feature on."""
    version_settings: frozenset[str] = frozenset()
    """The version settings it owns. A write with one of them calls the feature in any bucket, so that it can refuse."""
    credential_prefix: str = ""
    """The prefix of the credentials of the feature's own writes."""

    writer: Callable[[Reader, BeginItem], Person] | None = None
    """Returns the person for whom such a write is made."""
    before_begin: Callable[[Reader, Bucket, Settings, float], None] | None = None
    """Refuses, before any byte is sent, version settings that the commit would refuse."""
    before_unchecked: Callable[[Reader, Bucket], None] | None = None
    """Refuses, before any byte is sent, content whose client sent no checksum."""
    before_commit: Callable[[Reader, Bucket, Settings, float], Settings] | None = None
    """Returns the settings that a new version gets."""
    before_removal: Callable[[Row, Settings, Moment, bool], None] | None = None
    """Refuses to remove a version with these settings; the flag is set when the caller may override governance mode."""
    after_change: Callable[[Tx, Bucket, ObjectChange], None] | None = None
    """Acts on a change, in its transaction."""
    on_lookup: Callable[[Reader, Bucket, FileVersion], None] | None = None
    """Completes the reply about a version, after a lookup or a write."""
    on_upload: Callable[[Reader, Bucket, UploadInfo], None] | None = None
    """Completes the reply about a multipart upload."""
    check_versioning: Callable[[Reader, Bucket, str], None] | None = None
    """Refuses a change of the bucket's versioning."""
    check_bucket_setting: Callable[[Reader, Bucket, Person, str | None, float], None] | None = None
    """Refuses a value for the feature's bucket setting; None removes it."""
    check_version_setting: Callable[[Reader, Bucket, Row, str, str | None, Moment, bool], None] | None = None
    """Refuses a value for one of the feature's version settings."""


@dataclass(frozen=True)
class PartContent:
    """The content that a write stored for a part of an upload."""

    digest: Digest
    size: int
    write_id: str
    metadata: dict[str, str]


class UploadSteps(Protocol):
    """What a write that is a step of a multipart upload does, inside its own transaction."""

    def keys(self, place: Standing, step: UploadStep, path: str) -> Mapping[str, list[str]]:
        """Return the condition keys of the request that began the upload."""
        ...

    def check(self, reader: Reader, step: UploadStep, bucket: str, path: str) -> None:
        """Raise NotFound unless the upload is under way for this bucket and path."""
        ...

    def done_before(
        self, reader: Reader, step: UploadStep, write_id: str, bucket: str, path: str
    ) -> FileVersion | None:
        """Return what an earlier attempt of this write made: a version, or a part in the shape of one."""
        ...

    def preferred_servers(self, reader: Reader, step: UploadStep) -> list[str]:
        """The servers that hold the upload's other parts."""
        ...

    def put_part(
        self, tx: Tx, step: UploadStep, bucket: str, path: str, content: PartContent, moment: Moment
    ) -> FileVersion: ...

    def take(self, tx: Tx, step: UploadStep, bucket: str, new: NewVersion, metadata: Settings) -> NewVersion:
        """End the upload and return `new` with everything the upload was begun with."""
        ...


def no_data_key(_: Mapping[str, str]) -> DataKey:
    """Return the reply of a directory without named keys."""
    return DataKey(problem=to_problem(BadRequest("this directory has no named keys")))


def is_part(step: UploadStep | None) -> TypeGuard[UploadStep]:
    """Whether a write stores a part of an upload, and so makes no version."""
    return step is not None and step.part > 0


class Hooks:
    """Every registered feature. Immutable, so thread-safe. `data_key` unwraps the data key of a version's metadata."""

    def __init__(
        self,
        features: Sequence[Feature] = (),
        uploads: UploadSteps | None = None,
        data_key: Callable[[Mapping[str, str]], DataKey] = no_data_key,
    ) -> None:
        self._features = tuple(features)
        self._by_setting = {feature.setting: feature for feature in features}
        self._by_version_setting = {name: feature for feature in features for name in feature.version_settings}
        self._writers = [(feature.credential_prefix, feature.writer) for feature in features if feature.writer]
        self._uploads = uploads
        self.data_key = data_key

    # ------------------------------------------------------------ a write

    def writer(self, reader: Reader, item: BeginItem) -> Person | None:
        """Return the person for whom a feature writes; None for any other write."""
        for prefix, writer in self._writers:
            if item.credential.startswith(prefix):
                return writer(reader, item)
        return None

    def before_begin(self, place: Standing, path: str, settings: Settings, at: float) -> None:
        """Check the settings that a write sends for its version: who may set them, and whether the bucket has them."""
        if not settings:
            return
        demand_settings(place, path, settings)
        for feature in self._owners(settings):
            if feature.before_begin is not None:
                feature.before_begin(place.reader, place.bucket, settings, at)

    def before_unchecked(self, place: Standing) -> None:
        """Raise BadRequest when the bucket takes only content with a checksum."""
        for feature in self._of(place.bucket):
            if feature.before_unchecked is not None:
                feature.before_unchecked(place.reader, place.bucket)

    def before_commit(self, reader: Reader, bucket: Bucket, settings: Settings, at: float) -> Settings:
        """Return the settings of a version that is made now."""
        if not settings and not bucket.settings:
            return settings
        for feature in dict.fromkeys((*self._of(bucket), *self._owners(settings))):
            if feature.before_commit is not None:
                settings = feature.before_commit(reader, bucket, settings, at)
        return settings

    def before_removal(self, reader: Reader, row: Row, moment: Moment, *, bypass: bool = False) -> None:
        """Raise Forbidden when a feature holds the version of that row."""
        settings = s3_settings.short_version_values(reader, row[2])
        for feature in self._owners(settings):
            if feature.before_removal is not None:
                feature.before_removal(row, settings, moment, bypass)

    def is_held(self, reader: Reader, row: Row, moment: Moment) -> bool:
        """Whether a feature holds the version of that row, so that it cannot be removed now."""
        try:
            self.before_removal(reader, row, moment)
        except Forbidden:
            return True
        return False

    def after_change(self, tx: Tx, bucket: Bucket, change: ObjectChange) -> None:
        for feature in self._of(bucket):
            if feature.after_change is not None:
                feature.after_change(tx, bucket, change)

    # ------------------------------------------------------------ replies

    def on_lookup(self, reader: Reader, bucket: Bucket, version: FileVersion) -> None:
        for feature in self._of(bucket):
            if feature.on_lookup is not None:
                feature.on_lookup(reader, bucket, version)

    def on_upload(self, reader: Reader, bucket: Bucket, upload: UploadInfo) -> None:
        for feature in self._of(bucket):
            if feature.on_upload is not None:
                feature.on_upload(reader, bucket, upload)

    # ------------------------------------------------------------ settings

    def check_versioning(self, reader: Reader, bucket: Bucket, wanted: str) -> None:
        for feature in self._of(bucket):
            if feature.check_versioning is not None:
                feature.check_versioning(reader, bucket, wanted)

    def check_bucket_setting(
        self, reader: Reader, bucket: Bucket, person: Person, name: str, value: str | None, at: float
    ) -> None:
        feature = self._by_setting.get(name)
        if feature is not None and feature.check_bucket_setting is not None:
            feature.check_bucket_setting(reader, bucket, person, value, at)

    def check_version_setting(
        self, reader: Reader, bucket: Bucket, row: Row, name: str, value: str | None, moment: Moment, *, bypass: bool
    ) -> None:
        feature = self._by_version_setting.get(name)
        if feature is not None and feature.check_version_setting is not None:
            feature.check_version_setting(reader, bucket, row, name, value, moment, bypass)

    # ------------------------------------------------------------ uploads

    @property
    def uploads(self) -> UploadSteps:
        if self._uploads is None:
            raise BadRequest("this directory has no multipart uploads")
        return self._uploads

    def upload_keys(self, place: Standing, step: UploadStep | None, path: str) -> Mapping[str, list[str]]:
        """Condition keys that the request which began an upload adds to each of its steps."""
        return {} if step is None else self.uploads.keys(place, step, path)

    def done_before(
        self, reader: Reader, step: UploadStep | None, write_id: str, bucket: str, path: str
    ) -> FileVersion | None:
        """Return what an earlier attempt of this write made."""
        if step is None:
            return past_writes.written_before(reader, write_id, bucket, path)
        return self.uploads.done_before(reader, step, write_id, bucket, path)

    def _of(self, bucket: Bucket) -> Sequence[Feature]:
        if not bucket.settings:
            return ()
        return [feature for feature in self._features if feature.setting in bucket.settings]

    def _owners(self, settings: Settings) -> Sequence[Feature]:
        if not settings:
            return ()
        found = (self._by_version_setting.get(name) for name in settings)
        return list(dict.fromkeys(feature for feature in found if feature is not None))
