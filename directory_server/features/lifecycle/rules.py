"""A bucket's lifecycle rules: which versions are due for removal, and when. Pure.

A rule that this server could not carry out in full is rejected: the shapes below know no other names. If several rules
match a version, the earliest decides.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Annotated, Literal

import msgspec
from msgspec import Meta, field

from directory_server.defaults import DAY_SECONDS
from directory_server.metadata.statements.buckets import Bucket
from directory_server.metadata.store import Reader
from directory_server.people.person import Person
from lockstep_store.wire.codec import decoder
from lockstep_store.wire.errors import BadRequest

SETTING = "lifecycle"
"""The bucket's setting with its rules, by the names of S3's service description."""
MAX_NEWER = 101
"""The counting limit: no rule keeps more than a hundred noncurrent versions."""
What = Literal["expire", "noncurrent", "marker"]
"""What happens to a version: a current one stops being current, a noncurrent one or a lone delete marker is removed."""
_Count = Annotated[int, Meta(ge=1, le=2**31 - 1)]


class _Shape(msgspec.Struct, rename="pascal", forbid_unknown_fields=True, omit_defaults=True):
    """Base of the setting's shapes."""


class Tag(_Shape):
    key: str
    value: str


class And(_Shape):
    prefix: str = ""
    tags: list[Tag] = []
    object_size_greater_than: int | None = None
    object_size_less_than: int | None = None


class LifecycleFilter(_Shape):
    prefix: str = ""
    tag: Tag | None = None
    object_size_greater_than: int | None = None
    object_size_less_than: int | None = None
    and_: And | None = field(name="And", default=None)


class Expiration(_Shape):
    """When a version expires: exactly one of the fields. `date` is in seconds since 1970."""

    days: _Count | None = None
    date: float | None = None
    expired_object_delete_marker: bool | None = None


class NoncurrentVersionExpiration(_Shape):
    noncurrent_days: _Count
    newer_noncurrent_versions: Annotated[int, Meta(ge=1, le=MAX_NEWER - 1)] = 0


class AbortIncompleteMultipartUpload(_Shape):
    days_after_initiation: _Count


class LifecycleRule(_Shape):
    status: Literal["Enabled", "Disabled"]
    id: str = field(name="ID", default="")
    prefix: str = ""
    filter: LifecycleFilter | None = None
    expiration: Expiration | None = None
    noncurrent_version_expiration: NoncurrentVersionExpiration | None = None
    abort_incomplete_multipart_upload: AbortIncompleteMultipartUpload | None = None

    def condition(self) -> And:
        """The rule's conditions in one form, whichever way it states them."""
        if self.filter is None:
            return And(self.prefix)
        if self.filter.and_ is not None:
            return self.filter.and_
        tags = [] if self.filter.tag is None else [self.filter.tag]
        f = self.filter
        return And(f.prefix, tags, f.object_size_greater_than, f.object_size_less_than)


class LifecycleConfiguration(_Shape):
    rules: Annotated[list[LifecycleRule], Meta(min_length=1, max_length=1000)]
    transition_default_minimum_object_size: str = ""
    """Ignored, because no rule has transitions."""


_configurations = decoder(LifecycleConfiguration)


def check_bucket_setting(_: Reader, bucket: Bucket, person: Person, value: str | None, at: float) -> None:
    """Raise BadRequest for a lifecycle that the job could not carry out in full."""
    if value is not None:
        read(value)


def read(text: str) -> list[LifecycleRule]:
    """Return a setting's enabled rules. BadRequest when it is not a lifecycle."""
    try:
        return [rule for rule in _configurations.decode(text).rules if rule.status == "Enabled"]
    except msgspec.DecodeError as error:
        raise BadRequest(f"invalid lifecycle configuration: {error}") from error


def common_prefix(rules: Iterable[LifecycleRule]) -> str:
    """Return the longest prefix that all rules' paths share."""
    prefixes = [rule.condition().prefix for rule in rules]
    shared = 0
    for signs in zip(*prefixes, strict=False):
        if len(set(signs)) > 1:
            break
        shared += 1
    return prefixes[0][:shared] if prefixes else ""


def ask_tags(rules: Iterable[LifecycleRule]) -> bool:
    """Whether any rule depends on tags."""
    return any(rule.condition().tags for rule in rules)


# ---------------------------------------------------------------- versions and their places


@dataclass(frozen=True)
class Version:
    """A version as the rules see it."""

    path: str
    id: str
    size: int
    created_at: float
    delete_marker: bool
    tags: frozenset[tuple[str, str]] = frozenset()


@dataclass(frozen=True)
class Placed:
    """A version among those of its path. `newer` counts at most MAX_NEWER; `since` is when the next newer one took
    its place; `alone`: there is no older one either, or that is not known yet."""

    version: Version
    newer: int
    since: float
    alone: bool


def placed(page: Iterable[Version], before: Placed | None = None) -> Iterator[Placed]:
    """The places of versions in the order of paths, the newest of each first. `before` is the place just before the
    page, where an earlier page ended."""
    versions = list(page)
    for index, version in enumerate(versions):
        following = versions[index + 1] if index + 1 < len(versions) else None
        if before is not None and before.version.path == version.path:
            before = Placed(version, min(before.newer + 1, MAX_NEWER), before.version.created_at, False)
        else:
            before = Placed(version, 0, 0.0, following is None or following.path != version.path)
        yield before


# ---------------------------------------------------------------- what is due


def due(rules: Iterable[LifecycleRule], place: Placed, at: float, day: float = DAY_SECONDS) -> What | None:
    """Return what happens to the version at `at` (seconds since 1970); None when it stays."""
    for rule in rules:
        what = _due(rule, place, at, day)
        if what is not None:
            return what
    return None


def _due(rule: LifecycleRule, place: Placed, at: float, day: float) -> What | None:
    version = place.version
    if not _fits(rule.condition(), version):
        return None
    if place.newer:
        old = rule.noncurrent_version_expiration
        if old is None or place.newer <= old.newer_noncurrent_versions:
            return None
        return "noncurrent" if is_over(place.since, old.noncurrent_days, at, day) else None
    limit = rule.expiration
    if limit is None:
        return None
    if version.delete_marker:
        over = limit.days is not None and is_over(version.created_at, limit.days, at, day)
        return "marker" if place.alone and (over or limit.expired_object_delete_marker) else None
    end = _expires_at(limit, version, day)
    return "expire" if end is not None and end <= at else None


def _expires_at(limit: Expiration, version: Version, day: float) -> float | None:
    return limit.date if limit.days is None else end_of_days(version.created_at, limit.days, day)


def first_expiry(
    rules: Iterable[LifecycleRule], version: Version, day: float = DAY_SECONDS
) -> tuple[float, LifecycleRule] | None:
    """Return when a current version expires (seconds since 1970) and by which rule; None if no rule matches.

    The job removes it then or in its next round.
    """
    ends = []
    for rule in rules:
        if rule.expiration is not None and _fits(rule.condition(), version):
            end = _expires_at(rule.expiration, version, day)
            if end is not None:
                ends.append((end, rule))
    return min(ends, key=lambda found: found[0], default=None)


def first_abort(
    rules: Iterable[LifecycleRule], path: str, since: float, day: float = DAY_SECONDS
) -> tuple[float, LifecycleRule] | None:
    """Return when an upload to `path`, begun at `since`, is aborted, and by which rule; None if no rule does."""
    ends = [
        (end_of_days(since, limit.days_after_initiation, day), rule)
        for rule in rules
        if (limit := rule.abort_incomplete_multipart_upload) is not None and path.startswith(rule.condition().prefix)
    ]
    return min(ends, key=lambda found: found[0], default=None)


def _fits(wanted: And, version: Version) -> bool:
    """Whether the filter matches. Filters of tags or sizes match no delete marker, which has neither."""
    larger, smaller = wanted.object_size_greater_than, wanted.object_size_less_than
    if not version.path.startswith(wanted.prefix):
        return False
    if version.delete_marker:
        return not wanted.tags and larger is None and smaller is None
    return (
        (larger is None or version.size > larger)
        and (smaller is None or version.size < smaller)
        and all((tag.key, tag.value) in version.tags for tag in wanted.tags)
    )


def end_of_days(start: float, days: int, day: float = DAY_SECONDS) -> float:
    """When `days` days after `start` are over: at the midnight (UTC) that follows, as in S3. Days of another length,
    which are for tests, end when they end."""
    end = start + days * day
    return math.ceil(end / day) * day if day == DAY_SECONDS else end


def is_over(start: float, days: int, at: float, day: float = DAY_SECONDS) -> bool:
    """Whether `days` days after `start` are over, as `end_of_days` counts."""
    return at >= end_of_days(start, days, day)


def begun_before(days: int, at: float, day: float = DAY_SECONDS) -> float:
    """Return the moment before which anything that began is `days` days old at `at`, as `is_over` counts."""
    midnight = math.floor(at / day) * day if day == DAY_SECONDS else at
    return math.nextafter(midnight - days * day, math.inf)
