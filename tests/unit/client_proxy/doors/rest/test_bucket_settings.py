"""A setting of a bucket is JSON at the directory, and a value for its routes."""

from __future__ import annotations

import pytest

from lockstep_store.wire.messages.base import Nothing
from lockstep_store.wire.messages.s3 import (
    BUCKET_SETTING,
    PUT_BUCKET_SETTING,
    BucketSettingRequest,
    PutBucketSettingRequest,
    SettingReply,
)
from tests.fakes.rest_core import ACCESS
from tests.unit.rest_door import Door

POLICIES = "/api/v1/policies/photos"


@pytest.mark.parametrize(("stored", "policy"), [(None, None), ('{"Statement": []}', {"Statement": []})])
def test_a_setting_is_read(door: Door, stored: str | None, policy: object) -> None:
    """For the caller, who may have no right to it; a bucket without it has null."""
    door.directory.answers[BUCKET_SETTING.path] = SettingReply(stored)
    assert door.ask("GET", POLICIES).json == {"policy": policy}
    assert door.directory.calls == [(BUCKET_SETTING.path, BucketSettingRequest(ACCESS, "photos", "policy"))]


@pytest.mark.parametrize(("policy", "stored"), [(None, None), ({"Statement": []}, '{"Statement": []}')])
def test_a_setting_is_stored(door: Door, policy: object, stored: str | None) -> None:
    """Null removes it."""
    door.directory.answers[PUT_BUCKET_SETTING.path] = Nothing()
    assert door.post(POLICIES, {"policy": policy}, "PUT").json == {"policy": policy}
    put = PutBucketSettingRequest(ACCESS, "photos", "policy", stored)
    assert door.directory.calls == [(PUT_BUCKET_SETTING.path, put)]


def test_a_stranger_is_refused_before_the_body_is_read(door: Door) -> None:
    """So it does not learn what the body should have been."""
    for address in (POLICIES, "/api/v1/lifecycles/photos", "/api/v1/share-rules/photos"):
        assert door.post(address, {"wrong": 1}, "PUT", headers={"Authorization": ""}).status == 401
    assert door.directory.calls == []
