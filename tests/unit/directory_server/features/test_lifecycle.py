"""A lifecycle's rules: what is due when, as a table and against a naive reading of S3's own words."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from directory_server.defaults import DAY_SECONDS
from directory_server.features.lifecycle.rules import (
    LifecycleRule,
    Placed,
    Version,
    begun_before,
    common_prefix,
    due,
    end_of_days,
    first_abort,
    first_expiry,
    is_over,
    placed,
    read,
)
from lockstep_store.wire.errors import BadRequest

DAY = DAY_SECONDS
NOON = 20_000 * DAY + DAY / 2
MIDNIGHT = 20_001 * DAY
"""The one after that noon."""


def rules(*given_rules: dict[str, Any]) -> list[LifecycleRule]:
    """Rules in force, as they are read from a setting."""
    return read(json.dumps({"Rules": [{"Status": "Enabled", "Filter": {}, **rule} for rule in given_rules]}))


def newest(path: str = "logs/a", size: int = 10, at: float = NOON, **facts: Any) -> Placed:
    """The newest version of a path; the only one unless told otherwise."""
    alone = facts.pop("alone", True)
    return Placed(Version(path, "5", size, at, facts.pop("marker", False), **facts), 0, 0.0, alone)


def older(newer: int, since: float = NOON) -> Placed:
    """A noncurrent version that became one at `since`."""
    return Placed(Version("logs/a", "3", 10, since - DAY, False), newer, since, False)


DAYS_1 = {"Expiration": {"Days": 1}}
OLD_1 = {"NoncurrentVersionExpiration": {"NoncurrentDays": 1}}
OLD_1_BUT_2 = {"NoncurrentVersionExpiration": {"NoncurrentDays": 1, "NewerNoncurrentVersions": 2}}
MARKERS = {"Expiration": {"ExpiredObjectDeleteMarker": True}}
TAGGED = {"Filter": {"And": {"Prefix": "logs/", "Tags": [{"Key": "a", "Value": "1"}, {"Key": "b", "Value": "2"}]}}}
LATER = MIDNIGHT + DAY


@pytest.mark.parametrize(
    ("rule", "place", "at", "expected"),
    [
        (DAYS_1, newest(), LATER - 1, None),
        (DAYS_1, newest(), LATER, "expire"),
        (DAYS_1 | {"Status": "Disabled"}, newest(), LATER, None),
        (DAYS_1, newest(at=MIDNIGHT), LATER, "expire"),
        ({"Expiration": {"Date": MIDNIGHT}}, newest(), MIDNIGHT - 1, None),
        ({"Expiration": {"Date": MIDNIGHT}}, newest(at=MIDNIGHT + 5), MIDNIGHT + 5, "expire"),
        (DAYS_1, older(1), LATER, None),
        (OLD_1, newest(), LATER, None),
        (OLD_1, older(1), LATER - 1, None),
        (OLD_1, older(1), LATER, "noncurrent"),
        (OLD_1_BUT_2, older(2), LATER, None),
        (OLD_1_BUT_2, older(3), LATER, "noncurrent"),
        (MARKERS, newest(marker=True), NOON, "marker"),
        (MARKERS, newest(marker=True, alone=False), NOON, None),
        (MARKERS, newest(), NOON, None),
        (DAYS_1, newest(marker=True), LATER, "marker"),
        (DAYS_1, newest(marker=True), LATER - 1, None),
        (DAYS_1, newest(marker=True, alone=False), LATER, None),
        ({"Expiration": {"Date": 0}}, newest(marker=True), LATER, None),
        (DAYS_1 | {"Filter": {"Prefix": "logs/"}}, newest(), LATER, "expire"),
        (DAYS_1 | {"Filter": {"Prefix": "log2/"}}, newest(), LATER, None),
        (DAYS_1 | {"Filter": {"ObjectSizeGreaterThan": 10}}, newest(), LATER, None),
        (DAYS_1 | {"Filter": {"ObjectSizeGreaterThan": 9}}, newest(), LATER, "expire"),
        (DAYS_1 | {"Filter": {"ObjectSizeLessThan": 10}}, newest(), LATER, None),
        (DAYS_1 | {"Filter": {"ObjectSizeLessThan": 11}}, newest(), LATER, "expire"),
        (DAYS_1 | {"Filter": {"ObjectSizeLessThan": 11}}, newest(marker=True), LATER, None),
        (DAYS_1 | TAGGED, newest(tags=frozenset({("a", "1")})), LATER, None),
        (DAYS_1 | TAGGED, newest(tags=frozenset({("a", "1"), ("b", "2"), ("c", "3")})), LATER, "expire"),
    ],
)
def test_what_is_due(rule: dict[str, Any], place: Placed, at: float, expected: str | None) -> None:
    """One rule, one version, one moment."""
    assert due(rules(rule), place, at) == expected


def test_an_old_rule_has_its_prefix_outside() -> None:
    """A rule without a filter is about its own prefix."""
    text = json.dumps({"Rules": [{"Status": "Enabled", "Prefix": "logs/", **DAYS_1}]})
    assert due(read(text), newest(), LATER) == "expire"
    assert due(read(text), newest(path="other"), LATER) is None


def test_only_what_can_be_carried_out_is_kept() -> None:
    """A name that is not known here, such as a transition, is refused; other settings are nobody's business here."""
    rule = {"Status": "Enabled", "Filter": {}, "Transitions": [{"Days": 1, "StorageClass": "GLACIER"}]}
    for value in (json.dumps({"Rules": [rule]}), json.dumps({"Rules": []}), "no JSON"):
        with pytest.raises(BadRequest):
            read(value)


versions = st.builds(
    Version,
    path=st.sampled_from(["a/1", "a/2", "b"]),
    id=st.just(""),
    size=st.integers(0, 5),
    created_at=st.integers(0, 12).map(lambda half: NOON + half * DAY / 2),
    delete_marker=st.booleans(),
    tags=st.sets(st.sampled_from([("k", "1"), ("k", "2"), ("l", "1")])).map(frozenset),
)
rule_texts = st.fixed_dictionaries(
    {"Filter": st.fixed_dictionaries({"Prefix": st.sampled_from(["", "a/", "b"])})},
    optional={
        "Expiration": st.one_of(
            st.integers(1, 4).map(lambda days: {"Days": days}),
            st.integers(0, 6).map(lambda day: {"Date": MIDNIGHT + day * DAY}),
            st.booleans().map(lambda on: {"ExpiredObjectDeleteMarker": on}),
        ),
        "NoncurrentVersionExpiration": st.fixed_dictionaries(
            {"NoncurrentDays": st.integers(1, 4)}, optional={"NewerNoncurrentVersions": st.integers(1, 3)}
        ),
    },
)


def naive(rule: dict[str, Any], path: list[Version], index: int, at: float) -> str | None:
    """The same, said slowly: `path` has all versions of one path, the newest first."""

    def old(start: float, days: int) -> bool:
        moment, end = start + days * DAY, 0.0
        while end < moment:
            end += DAY if moment - end < 1000 * DAY else 1000 * DAY
        return end <= at

    version = path[index]
    if not version.path.startswith(rule["Filter"]["Prefix"]):
        return None
    if index > 0:
        limit = rule.get("NoncurrentVersionExpiration")
        kept = limit.get("NewerNoncurrentVersions", 0) if limit else 0
        fits = limit is not None and index - 1 >= kept and old(path[index - 1].created_at, limit["NoncurrentDays"])
        return "noncurrent" if fits else None
    limit = rule.get("Expiration", {})
    if version.delete_marker:
        wanted = limit.get("ExpiredObjectDeleteMarker") or ("Days" in limit and old(version.created_at, limit["Days"]))
        return "marker" if wanted and len(path) == 1 else None
    wanted = ("Days" in limit and old(version.created_at, limit["Days"])) or ("Date" in limit and limit["Date"] <= at)
    return "expire" if wanted else None


@given(st.lists(versions, max_size=12), rule_texts, st.integers(0, 20), st.integers(1, 12))
def test_pages_of_any_size_find_what_a_slow_reading_finds(
    some: list[Version], text: dict[str, Any], half: int, page: int
) -> None:
    """The walk's places, cut into pages anywhere, give what the whole history of every path gives; a marker at a
    page's end may be asked about in vain, which the transaction settles."""
    at = NOON + half * DAY / 2
    listing = sorted(some, key=lambda version: version.path)
    found: list[str | None] = []
    last: Placed | None = None
    for start in range(0, len(listing), page):
        for place in placed(listing[start : start + page], last):
            found.append(due(rules(text), place, at))
            last = place
    for index, version in enumerate(listing):
        path = [other for other in listing if other.path == version.path]
        place_in_path = index - next(i for i, other in enumerate(listing) if other.path == version.path)
        expected = naive(text, path, place_in_path, at)
        cut = (index + 1) % page == 0 and version.delete_marker and place_in_path == 0
        assert found[index] == expected or (cut and found[index] == "marker")


@given(st.floats(0, 4e9), st.integers(1, 5000), st.floats(0, 4e9), st.sampled_from([DAY, 10.0]))
def test_old_uploads_are_as_old_as_old_versions(start: float, days: int, at: float, day: float) -> None:
    """Both ways of counting days agree, but for what rounding does within a microsecond."""
    if abs((start + days * day) - at) > 1e-3 or day == DAY:
        assert (start < begun_before(days, at, day)) == is_over(start, days, at, day)


@given(st.lists(st.text("ab/", max_size=4), min_size=1, max_size=4))
def test_the_walk_is_no_narrower_than_its_rules(prefixes: list[str]) -> None:
    """What all rules begin with is the longest such beginning."""
    shared = common_prefix(rules(*({"Filter": {"Prefix": prefix}, **DAYS_1} for prefix in prefixes)))
    assert all(prefix.startswith(shared) for prefix in prefixes)
    longer = {prefix[: len(shared) + 1] for prefix in prefixes}
    assert len(longer) > 1 or longer == {shared}


@given(versions, st.lists(rule_texts, min_size=1, max_size=4), st.integers(0, 30))
def test_what_is_told_is_what_is_done(version: Version, texts: list[dict[str, Any]], half: int) -> None:
    """A current version is due from the very moment that is told of it, and never when none is told."""
    given_rules, at = rules(*texts), NOON + half * DAY / 2
    told = None if version.delete_marker else first_expiry(given_rules, version)
    what = due(given_rules, Placed(version, 0, 0.0, True), at)
    assert (what == "expire") == (told is not None and told[0] <= at)
    if told is not None:
        assert due([told[1]], Placed(version, 0, 0.0, True), told[0]) == "expire"
        assert due(given_rules, Placed(version, 0, 0.0, True), math.nextafter(told[0], 0.0)) is None


@given(st.floats(0, 4e9), st.lists(st.integers(1, 50), min_size=1, max_size=3), st.sampled_from([DAY, 10.0]))
def test_an_upload_goes_when_it_was_told(start: float, days: list[int], day: float) -> None:
    """Of several rules the earliest is told, and the upload is too old for the job from then on."""
    told = first_abort(
        rules(*({"AbortIncompleteMultipartUpload": {"DaysAfterInitiation": count}} for count in days)), "k", start, day
    )
    assert told is not None
    assert told[0] == end_of_days(start, min(days), day)
    assert is_over(start, min(days), told[0], day)
    assert not is_over(start, min(days), told[0] - 1, day)
