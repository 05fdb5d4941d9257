"""Object lock: keeps versions from being removed, inside the transaction that would remove them.

A retention holds a version until its date, a legal hold until it is lifted; no door can remove it earlier. The bucket's
owner, administrators, and people whom its policy allows it may shorten or override a retention in governance mode when
they ask for that. One in compliance mode can only be extended, by anybody.

A retention ends at a date, so a wall clock decides, as for lifecycles. That clock is `Moment.calendar`: it follows the
wall clock back, but is never ahead of the time that has passed since the directory started. So setting the clock
forward frees nothing while the directory runs. At a start the directory trusts the machine's clock, because nothing
else knows how long it was down.
"""

from __future__ import annotations

import calendar as calendars
import time
from datetime import UTC, datetime
from typing import Annotated, Literal, TypeVar

import msgspec
from msgspec import Meta

from directory_server.files.hooks import Feature
from directory_server.files.moment import Moment
from directory_server.metadata.statements import s3_settings
from directory_server.metadata.statements.buckets import Bucket
from directory_server.metadata.store import Reader, Row
from directory_server.people.person import Person
from lockstep_store.wire.codec import Decoder, decoder, encode
from lockstep_store.wire.errors import BadRequest, Conflict, Forbidden
from lockstep_store.wire.messages.s3 import LEGAL_HOLD, OBJECT_LOCK, RETENTION

DAY_SECONDS = 86_400.0
UNTIL_HEADER = "x-amz-object-lock-retain-until-date"
Mode = Literal["GOVERNANCE", "COMPLIANCE"]
T = TypeVar("T")


class _Setting(msgspec.Struct, rename="pascal", omit_defaults=True):
    """Base of the settings' shapes: JSON with the names of S3's service description."""


class Retention(_Setting):
    """A version's retention. `retain_until_date` is in seconds since 1970."""

    mode: Mode
    retain_until_date: Annotated[float, Meta(ge=0, le=253_402_300_799)]


class LegalHold(_Setting):
    status: Literal["ON", "OFF"]


class DefaultRetention(_Setting):
    """A default retention, with exactly one of the periods."""

    mode: Mode
    days: Annotated[int, Meta(ge=1, le=36_500)] | None = None
    years: Annotated[int, Meta(ge=1, le=100)] | None = None


class ObjectLockRule(_Setting):
    default_retention: DefaultRetention


class ObjectLockConfiguration(_Setting):
    object_lock_enabled: Literal["Enabled"]
    rule: ObjectLockRule | None = None


_retentions = decoder(Retention)
_legal_holds = decoder(LegalHold)
_configurations = decoder(ObjectLockConfiguration)


# ---------------------------------------------------------------- buckets


def is_enabled(reader: Reader, bucket: Bucket) -> bool:
    """Whether versions in the bucket can be held."""
    return _configuration(reader, bucket) is not None


def check_versioning(reader: Reader, bucket: Bucket, wanted: str) -> None:
    """Raise Conflict when a bucket with object lock would stop keeping versions."""
    if wanted != "enabled" and is_enabled(reader, bucket):
        raise Conflict(
            f"bucket {bucket.name!r} has object lock, so versioning must stay enabled", bucket=bucket.name, state=True
        )


def check_bucket_setting(_: Reader, bucket: Bucket, person: Person, value: str | None, at: float) -> None:
    """Refuse to turn object lock off, or to turn it on for a bucket that keeps no versions."""
    if value is None:
        raise Conflict("object lock cannot be turned off again", bucket=bucket.name, state=True)
    configuration = _read(_configurations, value)
    default = configuration.rule.default_retention if configuration.rule else None
    if default is not None and (default.days is None) == (default.years is None):
        raise BadRequest("a default retention must have either days or years")
    if bucket.versioning != "enabled":
        raise Conflict(
            f"bucket {bucket.name!r} keeps no versions: enable versioning first", bucket=bucket.name, state=True
        )


def _configuration(reader: Reader, bucket: Bucket) -> ObjectLockConfiguration | None:
    if bucket.versioning != "enabled":
        return None
    text = s3_settings.bucket_value(reader, bucket.name, OBJECT_LOCK)
    return None if text is None else _read(_configurations, text)


# ---------------------------------------------------------------- versions to come


def check_new(reader: Reader, bucket: Bucket, settings: dict[str, str], at: float) -> None:
    """Refuse a new version's retention or legal hold: in a bucket without object lock, or with a date in the past."""
    if not is_enabled(reader, bucket):
        raise _not_enabled(bucket)
    if LEGAL_HOLD in settings:
        _read(_legal_holds, settings[LEGAL_HOLD])
    if RETENTION in settings:
        _check_future(_read(_retentions, settings[RETENTION]), at)


def check_unchecked(reader: Reader, bucket: Bucket) -> None:
    """Refuse content without a checksum where a default retention would hold it."""
    configuration = _configuration(reader, bucket)
    if configuration is not None and configuration.rule is not None:
        raise BadRequest(
            f"bucket {bucket.name!r} retains new versions by default, and damaged ones could not be removed: "
            "send a Content-MD5 or an x-amz-checksum- header"
        )


def settings_of_new(reader: Reader, bucket: Bucket, settings: dict[str, str], at: float) -> dict[str, str]:
    """Return a new version's settings, with the bucket's default retention unless it has its own."""
    configuration = _configuration(reader, bucket)
    if configuration is None:
        if settings.keys() & {RETENTION, LEGAL_HOLD}:
            raise _not_enabled(bucket)
        return settings
    if configuration.rule is None or RETENTION in settings:
        return settings
    default = configuration.rule.default_retention
    if default.years is not None:
        until = _years_later(at, default.years)
    else:
        until = at + (default.days or 0) * DAY_SECONDS
    return settings | {RETENTION: encode(Retention(default.mode, until)).decode()}


# ---------------------------------------------------------------- versions that are there


def check_removal(row: Row, settings: dict[str, str], moment: Moment, bypass: bool) -> None:
    """Raise Forbidden when these settings hold the version of that row; with `bypass` governance mode does not."""
    what = f"version {row[2]} of {row[1]!r}"
    hold = settings.get(LEGAL_HOLD)
    if hold is not None and _read(_legal_holds, hold).status == "ON":
        raise Forbidden(f"{what} is under a legal hold: lift the hold before deleting it", held="legal-hold")
    retention = _running(settings, moment)
    if retention is not None and not (bypass and retention.mode == "GOVERNANCE"):
        raise Forbidden(
            f"{what} is retained until {_shown(retention.retain_until_date)} ({retention.mode.lower()} mode)",
            held=retention.mode,
            until_at=retention.retain_until_date,
        )


def check_change(
    reader: Reader, bucket: Bucket, row: Row, name: str, value: str | None, moment: Moment, bypass: bool
) -> None:
    """Refuse a retention or legal hold that would free the version early, or that the bucket cannot have."""
    if not is_enabled(reader, bucket):
        raise _not_enabled(bucket)
    if name == LEGAL_HOLD:
        if value is not None:
            _read(_legal_holds, value)
        elif LEGAL_HOLD in s3_settings.short_version_values(reader, row[2]):
            raise BadRequest("a legal hold cannot be removed: set it to OFF")
        return
    wanted = None if value is None else _read(_retentions, value)
    if wanted is not None:
        _check_future(wanted, moment.at)
    running = _running(s3_settings.short_version_values(reader, row[2]), moment)
    if running is None or (
        wanted is not None and wanted.mode == running.mode and wanted.retain_until_date >= running.retain_until_date
    ):
        return
    if running.mode == "COMPLIANCE" or not bypass:
        raise Forbidden(
            f"version {row[2]} of {row[1]!r} is retained until {_shown(running.retain_until_date)} "
            f"({running.mode.lower()} mode): it can be extended, but not shortened or weakened",
            held=running.mode,
            until_at=running.retain_until_date,
        )


def _running(settings: dict[str, str], moment: Moment) -> Retention | None:
    """Return the retention that has not ended."""
    text = settings.get(RETENTION)
    retention = None if text is None else _read(_retentions, text)
    return retention if retention is not None and retention.retain_until_date > moment.calendar else None


def _check_future(retention: Retention, at: float) -> None:
    if retention.retain_until_date <= at:
        raise BadRequest(
            f"the date to retain until must be in the future: {_shown(retention.retain_until_date)} is past",
            argument=UNTIL_HEADER,
        )


def _not_enabled(bucket: Bucket) -> BadRequest:
    return BadRequest(f"bucket {bucket.name!r} has no object lock configuration: versions in it cannot be held")


def _read(decode: Decoder[T], text: str) -> T:
    try:
        return decode.decode(text)
    except msgspec.DecodeError as error:
        raise BadRequest(f"invalid object lock setting: {error}") from error


def _years_later(at: float, years: int) -> float:
    """Return the same day and time `years` later; the last of February for the 29th in a year without one."""
    then = datetime.fromtimestamp(at, UTC)
    year = min(then.year + years, 9999)
    day = min(then.day, calendars.monthrange(year, then.month)[1])
    return then.replace(year=year, day=day).timestamp()


def _shown(at: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(at))


FEATURE = Feature(
    setting=OBJECT_LOCK,
    version_settings=frozenset({RETENTION, LEGAL_HOLD}),
    before_begin=check_new,
    before_unchecked=check_unchecked,
    before_commit=settings_of_new,
    before_removal=check_removal,
    check_versioning=check_versioning,
    check_bucket_setting=check_bucket_setting,
    check_version_setting=check_change,
)
