"""What answers tell of a bucket's lifecycle: when a version or an upload will go, and by which rule.

The dates are those that the job of `lifecycle` goes by. A bucket without a lifecycle costs nothing here.
"""

from __future__ import annotations

import json
from functools import lru_cache

from directory_server.features.lifecycle.rules import (
    DAY_SECONDS,
    Rule,
    Version,
    ask_tags,
    first_abort,
    first_expiry,
    read,
)
from directory_server.metadata.statements import s3_settings
from directory_server.metadata.store import Reader
from lockstep_store.wire.errors import BadRequest
from lockstep_store.wire.messages.files import FileVersion, LifecycleDate
from lockstep_store.wire.messages.s3 import TAGS
from lockstep_store.wire.messages.uploads import UploadInfo

YEAR_1, YEAR_10_000 = -62_135_596_800, 253_402_300_800
"""Seconds since 1970 between which dates have four digits for the year."""


class LifecycleDates:
    """`day` is the length of a day in seconds. Thread-safe."""

    def __init__(self, day: float = DAY_SECONDS) -> None:
        self._day = day

    def of_version(self, reader: Reader, setting: str | None, version: FileVersion) -> LifecycleDate | None:
        """When the version expires by its bucket's `setting`. None for one that is not current: it went already."""
        if setting is None or not version.current or version.delete_marker:
            return None
        rules = _rules(setting)
        tags = tags_of(reader, version.version) if ask_tags(rules) else frozenset()
        asked = Version(version.path, version.version, version.size, version.created_at, False, tags)
        return _date(first_expiry(rules, asked, self._day))

    def of_upload(self, setting: str | None, upload: UploadInfo) -> LifecycleDate | None:
        """When the upload is aborted if nobody completes it."""
        if setting is None:
            return None
        return _date(first_abort(_rules(setting), upload.path, upload.since_at, self._day))


def tags_of(reader: Reader, version: str) -> frozenset[tuple[str, str]]:
    """A version's tags."""
    text = s3_settings.short_version_values(reader, version).get(TAGS)
    return frozenset((tag["Key"], tag["Value"]) for tag in json.loads(text)["TagSet"]) if text else frozenset()


@lru_cache(maxsize=256)
def _rules(setting: str) -> tuple[Rule, ...]:
    """Parsed once for as long as nobody says anything else. None where the job cannot read them either."""
    try:
        return tuple(read(setting))
    except BadRequest:
        return ()


def _date(found: tuple[float, Rule] | None) -> LifecycleDate | None:
    """None too for a time that cannot be written as a date: days are counted up to 2**31 - 1."""
    if found is None or not YEAR_1 <= found[0] < YEAR_10_000:
        return None
    return LifecycleDate(found[0], found[1].id)
