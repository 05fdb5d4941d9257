"""Hooks: which features a write, a version or a setting calls, and which it does not."""

from __future__ import annotations

from typing import Any, cast

import pytest

from directory_server.files.hooks import Feature, Hooks
from directory_server.files.moment import Moment
from directory_server.metadata.statements.buckets import Bucket
from directory_server.metadata.store import Reader, Tx
from directory_server.people.person import Person
from lockstep_store.wire.errors import BadRequest, Conflict

PLAIN = Bucket("plain", "ann", "enabled", False, 0.0)
BOTH = PLAIN._replace(settings=frozenset({"first", "second", "cors"}))
MOMENT = Moment(0.0, 0.0)
NO_READER = cast(Tx, None)
"""No hook below reads anything."""


class Recorder:
    """A feature that notes each call of its hooks."""

    def __init__(self, setting: str, *version_settings: str) -> None:
        self.calls: list[str] = []
        self.feature = Feature(
            setting=setting,
            version_settings=frozenset(version_settings),
            before_commit=self._before_commit,
            after_change=lambda *_: self.calls.append("after_change"),
            on_lookup=lambda *_: self.calls.append("on_lookup"),
            check_bucket_setting=lambda *_: self.calls.append("check_bucket_setting"),
            check_version_setting=lambda *_: self.calls.append("check_version_setting"),
        )

    def _before_commit(self, reader: Reader, bucket: Bucket, settings: dict[str, str], at: float) -> dict[str, str]:
        self.calls.append("before_commit")
        return settings | {self.feature.setting: "added"}


@pytest.fixture
def first() -> Recorder:
    return Recorder("first", "retention")


@pytest.fixture
def second() -> Recorder:
    return Recorder("second")


@pytest.fixture
def hooks(first: Recorder, second: Recorder) -> Hooks:
    return Hooks([first.feature, second.feature])


def write(hooks: Hooks, bucket: Bucket, settings: dict[str, str]) -> dict[str, str]:
    """Every hook of a write and of a lookup after it; the new version's settings."""
    made = hooks.before_commit(NO_READER, bucket, settings, 0.0)
    hooks.after_change(NO_READER, bucket, cast(Any, None))
    hooks.on_lookup(NO_READER, bucket, cast(Any, None))
    return made


def test_a_bucket_without_settings_calls_nothing(hooks: Hooks, first: Recorder, second: Recorder) -> None:
    """And a version's settings that no feature owns, such as tags, change nothing about that."""
    assert write(hooks, PLAIN, {"tags": "x"}) == {"tags": "x"}
    assert first.calls == second.calls == []


def test_a_bucket_calls_the_features_it_has(hooks: Hooks, first: Recorder, second: Recorder) -> None:
    """Each in turn sees the settings that the one before returned."""
    assert write(hooks, BOTH, {}) == {"first": "added", "second": "added"}
    assert first.calls == second.calls == ["before_commit", "after_change", "on_lookup"]


def test_a_version_setting_calls_its_owner_in_any_bucket(hooks: Hooks, first: Recorder, second: Recorder) -> None:
    """So that a retention is refused, not stored and ignored, where it cannot hold anything."""
    write(hooks, PLAIN, {"retention": "x"})
    assert (first.calls, second.calls) == (["before_commit"], [])


def test_a_feature_is_called_once_for_two_reasons(hooks: Hooks, first: Recorder) -> None:
    """The bucket has it and the version brings its setting."""
    hooks.before_commit(NO_READER, BOTH, {"retention": "x"}, 0.0)
    assert first.calls == ["before_commit"]


def test_a_setting_is_checked_by_its_owner_alone(hooks: Hooks, first: Recorder, second: Recorder) -> None:
    """A setting without an owner is anybody's to put."""
    ann = Person("ann", False, "")
    hooks.check_bucket_setting(NO_READER, PLAIN, ann, "second", "x", 0.0)
    hooks.check_bucket_setting(NO_READER, PLAIN, ann, "cors", "not JSON", 0.0)
    hooks.check_version_setting(NO_READER, PLAIN, (), "retention", "x", MOMENT, bypass=False)
    hooks.check_version_setting(NO_READER, PLAIN, (), "tags", "x", MOMENT, bypass=False)
    assert (first.calls, second.calls) == (["check_version_setting"], ["check_bucket_setting"])


def test_a_refusal_of_a_hook_is_the_writes(first: Recorder) -> None:
    """Later features are not asked, and nothing hides the error."""

    def refuse(*_: object) -> dict[str, str]:
        raise Conflict("no")

    hooks = Hooks([Feature(setting="second", before_commit=refuse), first.feature])
    with pytest.raises(Conflict, match="no"):
        hooks.before_commit(NO_READER, BOTH, {}, 0.0)
    assert first.calls == []


def test_without_uploads_a_step_of_one_is_refused() -> None:
    """Not taken for a plain write."""
    with pytest.raises(BadRequest, match="no multipart uploads"):
        _ = Hooks().uploads
