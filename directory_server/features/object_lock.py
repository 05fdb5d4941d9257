"""Object lock: what holds a version back from deletion, judged inside the transaction that would delete it.

A version is held by a retention until its time, or by a legal hold until that is lifted; nothing that any door asks
for removes it before. A retention in governance mode may be shortened or passed over by the bucket's owner, by
administrators and by whom its policy lets, when they say so; one in compliance mode only ever grows, for everybody.

A retention ends at a date, so here a wall clock decides, as it does for lifecycles. That clock is `Moment.calendar`: it
follows the wall clock back, but never runs ahead of the time that has passed since the directory started. So putting
the clock forward frees nothing while the directory runs; at a start the machine's clock is believed, because nobody
else knows how long the directory was down.
"""

from __future__ import annotations

import calendar as calendars
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Literal, TypeVar

import msgspec
from msgspec import Meta

from directory_server.access.acl import is_private
from directory_server.metadata.statements import s3_settings
from directory_server.metadata.statements.access import ACL
from directory_server.metadata.store import Reader, Row
from lockstep_store.wire.codec import Decoder, decoder, encode
from lockstep_store.wire.errors import BadRequest, Conflict, Forbidden
from lockstep_store.wire.messages.s3 import LEGAL_HOLD, OBJECT_LOCK, RETENTION, TAGS

if TYPE_CHECKING:
    from directory_server.access.decisions import Standing
    from directory_server.files.buckets import Bucket
    from directory_server.files.versions import Moment

DAY_SECONDS = 86_400.0
_ACTIONS = {
    TAGS: "s3:PutObjectTagging",
    ACL: "s3:PutObjectAcl",
    RETENTION: "s3:PutObjectRetention",
    LEGAL_HOLD: "s3:PutObjectLegalHold",
}
"""What one must be allowed beside writing, to say that of a new version."""
_COMES_WITH_WRITING = frozenset({TAGS, ACL})
"""Who may write may say these, unless that is denied."""
_READ_ACTIONS = {RETENTION: "s3:GetObjectRetention", LEGAL_HOLD: "s3:GetObjectLegalHold"}
UNTIL_HEADER = "x-amz-object-lock-retain-until-date"
Mode = Literal["GOVERNANCE", "COMPLIANCE"]
T = TypeVar("T")


class _Setting(msgspec.Struct, rename="pascal", omit_defaults=True):
    """Base of the settings' shapes: JSON with the names of S3's service description."""


class Retention(_Setting):
    """`retain_until_date` is in seconds since 1970."""

    mode: Mode
    retain_until_date: Annotated[float, Meta(ge=0, le=253_402_300_799)]


class LegalHold(_Setting):
    status: Literal["ON", "OFF"]


class DefaultRetention(_Setting):
    """Exactly one of the periods."""

    mode: Mode
    days: Annotated[int, Meta(ge=1, le=36_500)] | None = None
    years: Annotated[int, Meta(ge=1, le=100)] | None = None


class Rule(_Setting):
    default_retention: DefaultRetention


class Configuration(_Setting):
    object_lock_enabled: Literal["Enabled"]
    rule: Rule | None = None


_retentions = decoder(Retention)
_legal_holds = decoder(LegalHold)
_configurations = decoder(Configuration)
ENABLED = encode(Configuration("Enabled")).decode()
"""The configuration of a bucket that was made with object lock and has no rule yet."""


# ---------------------------------------------------------------- buckets


def is_enabled(reader: Reader, bucket: Bucket) -> bool:
    """Whether versions in the bucket can be held."""
    return _configuration(reader, bucket) is not None


def check_versioning(reader: Reader, bucket: Bucket, wanted: str) -> None:
    """Conflict when a bucket with object lock would stop keeping versions."""
    if wanted != "enabled" and is_enabled(reader, bucket):
        raise Conflict(
            f"bucket {bucket.name!r} has object lock, so it keeps versions for good", bucket=bucket.name, state=True
        )


def check_bucket_setting(bucket: Bucket, name: str, value: str | None) -> None:
    """Refuse what may not become of a bucket's setting: a lock without versions, or no lock any more."""
    if name != OBJECT_LOCK:
        return
    if value is None:
        raise Conflict("object lock cannot be turned off again", bucket=bucket.name, state=True)
    configuration = _read(_configurations, value)
    default = configuration.rule.default_retention if configuration.rule else None
    if default is not None and (default.days is None) == (default.years is None):
        raise BadRequest("a default retention has either days or years")
    if bucket.versioning != "enabled":
        raise Conflict(
            f"bucket {bucket.name!r} keeps no versions: turn versioning on first", bucket=bucket.name, state=True
        )


def _configuration(reader: Reader, bucket: Bucket) -> Configuration | None:
    if bucket.versioning != "enabled":
        return None
    text = s3_settings.bucket_value(reader, bucket.name, OBJECT_LOCK)
    return None if text is None else _read(_configurations, text)


# ---------------------------------------------------------------- versions to come


def check_new(place: Standing, path: str, settings: dict[str, str], at: float) -> None:
    """Refuse early what a write says of its version: Forbidden for what the writer may not say, BadRequest where
    nothing can be held, or for a time gone by."""
    for name in settings.keys() & _ACTIONS.keys():
        if name == ACL and is_private(settings[ACL]):  # some clients send it with every write
            continue
        if name not in _COMES_WITH_WRITING or place.denied(_ACTIONS[name], path):
            place.demand(_ACTIONS[name], path)
    asked = settings.keys() & {RETENTION, LEGAL_HOLD}
    if not asked:
        return
    if not is_enabled(place.reader, place.bucket):
        raise _not_enabled(place.bucket)
    if LEGAL_HOLD in asked:
        _read(_legal_holds, settings[LEGAL_HOLD])
    if RETENTION in asked:
        _check_future(_read(_retentions, settings[RETENTION]), at)


def settings_of_new(reader: Reader, bucket: Bucket, settings: dict[str, str], at: float) -> dict[str, str]:
    """The settings of a version that becomes now: with the bucket's default retention unless it has its own."""
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


def check_removal(reader: Reader, row: Row, moment: Moment, *, bypass: bool = False) -> None:
    """Forbidden when the version of that row is held now; with `bypass` governance mode does not count."""
    settings = s3_settings.short_version_values(reader, row[2])
    if not settings:
        return
    what = f"version {row[2]} of {row[1]!r}"
    hold = settings.get(LEGAL_HOLD)
    if hold is not None and _read(_legal_holds, hold).status == "ON":
        raise Forbidden(f"{what} is under a legal hold: it can be deleted when that is lifted", held="legal-hold")
    retention = _running(settings, moment)
    if retention is not None and not (bypass and retention.mode == "GOVERNANCE"):
        raise Forbidden(
            f"{what} is retained until {_shown(retention.retain_until_date)} ({retention.mode.lower()} mode)",
            held=retention.mode,
            until_at=retention.retain_until_date,
        )


def is_held(reader: Reader, row: Row, moment: Moment) -> bool:
    """Whether the version of that row cannot be removed now."""
    try:
        check_removal(reader, row, moment)
    except Forbidden:
        return True
    return False


def check_change(
    reader: Reader, bucket: Bucket, row: Row, name: str, value: str | None, moment: Moment, *, bypass: bool = False
) -> None:
    """Refuse a change of a version's setting that would free it early, or that holds nothing."""
    if name not in (RETENTION, LEGAL_HOLD):
        return
    if not is_enabled(reader, bucket):
        raise _not_enabled(bucket)
    if name == LEGAL_HOLD:
        if value is not None:
            _read(_legal_holds, value)
        elif LEGAL_HOLD in s3_settings.short_version_values(reader, row[2]):
            raise BadRequest("a legal hold is lifted by setting it to OFF")
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
            f"({running.mode.lower()} mode): that can be made longer, not shorter or weaker",
            held=running.mode,
            until_at=running.retain_until_date,
        )


def shown(place: Standing, path: str, version: str | None, settings: dict[str, str]) -> dict[str, str]:
    """A version's settings for its reader, without what holds it unless they may be told that, too."""
    hidden = {
        name
        for name, action in _READ_ACTIONS.items()
        if name in settings and not place.may(action, path, version=version)
    }
    return {name: value for name, value in settings.items() if name not in hidden} if hidden else settings


def may_bypass(place: Standing, path: str, version: str | None) -> bool:
    """Whether governance mode may be passed over, when that is asked for: by owner, administrator, or policy. Sharing
    a bucket does not share this."""
    return place.may("s3:BypassGovernanceRetention", path, version=version, owners_only=True)


def _running(settings: dict[str, str], moment: Moment) -> Retention | None:
    """The retention that still holds."""
    text = settings.get(RETENTION)
    retention = None if text is None else _read(_retentions, text)
    return retention if retention is not None and retention.retain_until_date > moment.calendar else None


def _check_future(retention: Retention, at: float) -> None:
    if retention.retain_until_date <= at:
        raise BadRequest(
            f"the time to retain until must be to come; {_shown(retention.retain_until_date)} is over",
            argument=UNTIL_HEADER,
        )


def _not_enabled(bucket: Bucket) -> BadRequest:
    return BadRequest(f"bucket {bucket.name!r} has no object lock configuration: nothing can be held in it")


def _read(decode: Decoder[T], text: str) -> T:
    try:
        return decode.decode(text)
    except msgspec.DecodeError as error:
        raise BadRequest(f"this is no setting of an object lock: {error}") from error


def _years_later(at: float, years: int) -> float:
    """The same day and time of day `years` later; the last of February for the 29th where there is none."""
    then = datetime.fromtimestamp(at, UTC)
    year = min(then.year + years, 9999)
    day = min(then.day, calendars.monthrange(year, then.month)[1])
    return then.replace(year=year, day=day).timestamp()


def _shown(at: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(at))
