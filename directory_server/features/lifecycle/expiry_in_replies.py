"""Expiry dates in replies: when a bucket's lifecycle removes a version or an upload, and by which rule.

The lifecycle job (`job`) goes by the same dates.
"""

from __future__ import annotations

import json
from functools import lru_cache

from directory_server.defaults import DAY_SECONDS
from directory_server.features.lifecycle.rules import (
    SETTING,
    LifecycleRule,
    Version,
    ask_tags,
    check_bucket_setting,
    first_abort,
    first_expiry,
    read,
)
from directory_server.files.hooks import Feature
from directory_server.metadata.statements import s3_settings
from directory_server.metadata.statements.buckets import Bucket
from directory_server.metadata.store import Reader
from lockstep_store.wire.errors import BadRequest
from lockstep_store.wire.messages.files import FileVersion, LifecycleDate
from lockstep_store.wire.messages.s3 import TAGS
from lockstep_store.wire.messages.uploads import UploadInfo

YEAR_1, YEAR_10_000 = -62_135_596_800, 253_402_300_800
"""Seconds since 1970 between which dates have four digits for the year."""


class LifecycleDates:
    """Fills in expiry dates. `day` is the length of a day in seconds. Thread-safe."""

    def __init__(self, day: float = DAY_SECONDS) -> None:
        self._day = day

    @property
    def feature(self) -> Feature:
        return Feature(
            setting=SETTING,
            on_lookup=self.on_lookup,
            on_upload=self.on_upload,
            check_bucket_setting=check_bucket_setting,
        )

    def on_lookup(self, reader: Reader, bucket: Bucket, version: FileVersion) -> None:
        """Fill in when the version expires; only a current version does."""
        if not version.current or version.delete_marker:
            return
        rules = _rules_of(reader, bucket)
        tags = tags_of(reader, version.version) if ask_tags(rules) else frozenset()
        asked = Version(version.path, version.version, version.size, version.created_at, False, tags)
        version.expires = _date(first_expiry(rules, asked, self._day))

    def on_upload(self, reader: Reader, bucket: Bucket, upload: UploadInfo) -> None:
        """Fill in when the upload is aborted if nobody completes it."""
        upload.aborted = _date(first_abort(_rules_of(reader, bucket), upload.path, upload.since_at, self._day))


def tags_of(reader: Reader, version: str) -> frozenset[tuple[str, str]]:
    """Return a version's tags."""
    text = s3_settings.short_version_values(reader, version).get(TAGS)
    return frozenset((tag["Key"], tag["Value"]) for tag in json.loads(text)["TagSet"]) if text else frozenset()


def _rules_of(reader: Reader, bucket: Bucket) -> tuple[LifecycleRule, ...]:
    setting = s3_settings.bucket_value(reader, bucket.name, SETTING)
    return () if setting is None else _rules(setting)


@lru_cache(maxsize=256)
def _rules(setting: str) -> tuple[LifecycleRule, ...]:
    """Parse a setting once; no rules when it is invalid, as in the job."""
    try:
        return tuple(read(setting))
    except BadRequest:
        return ()


def _date(found: tuple[float, LifecycleRule] | None) -> LifecycleDate | None:
    """Return the date; None also if it is out of range, because a rule may count up to 2**31 - 1 days."""
    if found is None or not YEAR_1 <= found[0] < YEAR_10_000:
        return None
    return LifecycleDate(found[0], found[1].id)
