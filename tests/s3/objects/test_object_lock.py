"""Object lock through boto3: what is held cannot go by any door, and nothing frees it early."""

from __future__ import annotations

import hashlib
import itertools
import json
from base64 import b64encode
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from client_proxy.doors.s3.protocol.description import TimeFormat
from client_proxy.doors.s3.protocol.timestamps import write_time
from tests.fakes.clock import ManualClock
from tests.s3.calls import refused
from tests.s3.people import client_of, document, statement
from tests.s3.rig import S3Rig

_numbers = itertools.count(1)
DENIED = (403, "AccessDenied")
INVALID = (400, "InvalidRequest")
MALFORMED = (400, "MalformedXML")
DAYS_1 = {"ObjectLockEnabled": "Enabled", "Rule": {"DefaultRetention": {"Mode": "GOVERNANCE", "Days": 1}}}


def later(**spans: float) -> datetime:
    """So much from the moment at which the rig's clock stands."""
    return datetime.fromtimestamp(ManualClock().wall(), UTC) + timedelta(**spans)


@pytest.fixture
def locking(s3: Any) -> str:
    """A bucket made with object lock."""
    name = f"locking-{next(_numbers)}"
    s3.create_bucket(Bucket=name, ObjectLockEnabledForBucket=True)
    return name


@pytest.fixture
def put(s3: Any, locking: str) -> Callable[..., str]:
    """Puts the key `k` of that bucket; the version's id."""

    def work(**options: Any) -> str:
        return str(s3.put_object(Bucket=locking, Key="k", Body=b"x", **options)["VersionId"])

    return work


def retain(s3: Any, bucket: str, mode: str, until: datetime, **options: Any) -> Any:
    """Set the retention of the key `k`."""
    retention = {"Mode": mode, "RetainUntilDate": until}
    return s3.put_object_retention(Bucket=bucket, Key="k", Retention=retention, **options)


# ---------------------------------------------------------------- buckets


def test_a_bucket_made_with_object_lock_keeps_versions_for_good(s3: Any, locking: str) -> None:
    """It says that it is enabled, takes and changes a default, and cannot stop keeping versions."""
    assert s3.get_bucket_versioning(Bucket=locking)["Status"] == "Enabled"
    shown = s3.get_object_lock_configuration(Bucket=locking)["ObjectLockConfiguration"]
    assert shown == {"ObjectLockEnabled": "Enabled"}
    years = {"ObjectLockEnabled": "Enabled", "Rule": {"DefaultRetention": {"Mode": "COMPLIANCE", "Years": 1}}}
    for wanted in (DAYS_1, years):
        s3.put_object_lock_configuration(Bucket=locking, ObjectLockConfiguration=wanted)
        assert s3.get_object_lock_configuration(Bucket=locking)["ObjectLockConfiguration"] == wanted
    suspended = {"Status": "Suspended"}
    assert refused(s3.put_bucket_versioning, Bucket=locking, VersioningConfiguration=suspended) == (
        409,
        "InvalidBucketState",
    )


def test_object_lock_can_be_turned_on_where_versions_are_kept(s3: Any, make_bucket: Any) -> None:
    """Without versions it is refused; before, the bucket says that it has none."""
    bucket = make_bucket()
    assert refused(s3.get_object_lock_configuration, Bucket=bucket) == (404, "ObjectLockConfigurationNotFoundError")
    arguments = {"Bucket": bucket, "ObjectLockConfiguration": DAYS_1}
    assert refused(s3.put_object_lock_configuration, **arguments) == (409, "InvalidBucketState")
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    s3.put_object_lock_configuration(**arguments)
    assert s3.get_object_lock_configuration(Bucket=bucket)["ObjectLockConfiguration"] == DAYS_1


@pytest.mark.parametrize(
    ("enabled", "default", "expected"),
    [
        ("Enabled", {"Mode": "GOVERNANCE", "Days": 1, "Years": 1}, MALFORMED),
        ("Enabled", {"Mode": "GOVERNANCE"}, MALFORMED),
        ("Enabled", {"Days": 1}, MALFORMED),
        ("Enabled", {"Mode": "abc", "Days": 1}, MALFORMED),
        ("Enabled", {"Mode": "governance", "Days": 1}, MALFORMED),
        ("Disabled", {"Mode": "GOVERNANCE", "Days": 1}, MALFORMED),
        ("Enabled", {"Mode": "GOVERNANCE", "Days": 0}, (400, "InvalidRetentionPeriod")),
        ("Enabled", {"Mode": "GOVERNANCE", "Years": -1}, (400, "InvalidRetentionPeriod")),
        ("Enabled", {"Mode": "GOVERNANCE", "Days": 40_000}, (400, "InvalidArgument")),
    ],
)
def test_a_default_that_cannot_be_is_refused(
    s3: Any, locking: str, enabled: str, default: dict[str, Any], expected: tuple[int, str]
) -> None:
    """Both periods or none, unknown modes and states, and periods out of bounds."""
    wanted = {"ObjectLockEnabled": enabled, "Rule": {"DefaultRetention": default}}
    assert refused(s3.put_object_lock_configuration, Bucket=locking, ObjectLockConfiguration=wanted) == expected


def test_a_default_retention_holds_what_is_put_later(s3: Any, locking: str, put: Any) -> None:
    """What was there stays free; a new version is held, unless it says something of its own; a marker never is."""
    before = put()
    s3.put_object_lock_configuration(Bucket=locking, ObjectLockConfiguration=DAYS_1)
    assert "ObjectLockMode" not in s3.head_object(Bucket=locking, Key="k", VersionId=before)
    held = put()
    head = s3.head_object(Bucket=locking, Key="k", VersionId=held)
    assert head["ObjectLockMode"] == "GOVERNANCE"
    assert abs(head["ObjectLockRetainUntilDate"] - later(days=1)) < timedelta(minutes=5)
    own = later(days=9)
    put(ObjectLockMode="COMPLIANCE", ObjectLockRetainUntilDate=own)
    said = s3.get_object_retention(Bucket=locking, Key="k")["Retention"]
    assert said == {"Mode": "COMPLIANCE", "RetainUntilDate": own}
    assert refused(s3.delete_object, Bucket=locking, Key="k", VersionId=held) == DENIED
    s3.delete_object(Bucket=locking, Key="k", VersionId=before)
    marker = s3.delete_object(Bucket=locking, Key="k")
    assert marker["DeleteMarker"]
    s3.delete_object(Bucket=locking, Key="k", VersionId=marker["VersionId"])
    assert s3.head_object(Bucket=locking, Key="k")["ObjectLockMode"] == "COMPLIANCE"


# ---------------------------------------------------------------- retention


@pytest.mark.parametrize("mode", ["GOVERNANCE", "COMPLIANCE"])
def test_a_retained_version_cannot_be_deleted(s3: Any, locking: str, put: Any, mode: str) -> None:
    """Alone or among many; only governance mode is passed over by who owns the bucket and says so."""
    version = put()
    retain(s3, locking, mode, later(days=1), VersionId=version)
    assert refused(s3.delete_object, Bucket=locking, Key="k", VersionId=version) == DENIED
    wanted = {"Objects": [{"Key": "k", "VersionId": version}]}
    assert s3.delete_objects(Bucket=locking, Delete=wanted)["Errors"][0]["Code"] == "AccessDenied"
    many = s3.delete_objects(Bucket=locking, Delete=wanted, BypassGovernanceRetention=True)
    if mode == "GOVERNANCE":
        assert [one["VersionId"] for one in many["Deleted"]] == [version]
        assert refused(s3.head_object, Bucket=locking, Key="k")[0] == 404
    else:
        assert many["Errors"][0]["Code"] == "AccessDenied"
        assert s3.get_object(Bucket=locking, Key="k", VersionId=version)["Body"].read() == b"x"


def test_governance_can_be_changed_by_who_may_pass_over_it(s3: Any, locking: str, put: Any) -> None:
    """Longer always; shorter, away or into compliance only with the bypass."""
    put()
    retain(s3, locking, "GOVERNANCE", later(days=2))
    retain(s3, locking, "GOVERNANCE", later(days=3))
    assert refused(retain, s3=s3, bucket=locking, mode="GOVERNANCE", until=later(days=1)) == DENIED
    assert refused(retain, s3=s3, bucket=locking, mode="COMPLIANCE", until=later(days=4)) == DENIED
    retain(s3, locking, "GOVERNANCE", later(days=1), BypassGovernanceRetention=True)
    arguments: dict[str, Any] = {"Bucket": locking, "Key": "k", "Retention": {}}
    assert refused(s3.put_object_retention, **arguments) == DENIED
    s3.put_object_retention(**arguments, BypassGovernanceRetention=True)
    assert refused(s3.get_object_retention, Bucket=locking, Key="k") == (404, "NoSuchObjectLockConfiguration")


def test_compliance_only_grows(s3: Any, locking: str, put: Any) -> None:
    """No bypass makes it shorter or weaker; longer is fine."""
    put()
    until = later(days=2)
    retain(s3, locking, "COMPLIANCE", until)
    for mode, when in (("COMPLIANCE", later(days=1)), ("GOVERNANCE", later(days=9))):
        arguments = {"s3": s3, "bucket": locking, "mode": mode, "until": when, "BypassGovernanceRetention": True}
        assert refused(retain, **arguments) == DENIED
    assert s3.get_object_retention(Bucket=locking, Key="k")["Retention"]["RetainUntilDate"] == until
    retain(s3, locking, "COMPLIANCE", until + timedelta(days=1))


def test_others_cannot_pass_over_governance(rig: S3Rig, s3: Any, locking: str, put: Any) -> None:
    """Who may write a shared bucket but does not own it is refused with the bypass too."""
    version = put(ObjectLockMode="GOVERNANCE", ObjectLockRetainUntilDate=later(days=1))
    answer = rig.cluster.ask("PATCH", f"/buckets/{locking}", b'{"shared": true}')
    assert answer.status == 200, answer.body
    eve = client_of(rig, "eve")
    arguments = {"Bucket": locking, "Key": "k", "VersionId": version, "BypassGovernanceRetention": True}
    assert refused(eve.delete_object, **arguments) == DENIED


def test_no_other_door_removes_a_held_version(rig: S3Rig, s3: Any, locking: str, put: Any) -> None:
    """The REST API, and with it the command line and the menu, is refused by the same rule."""
    version = put(ObjectLockMode="GOVERNANCE", ObjectLockRetainUntilDate=later(days=1))
    answer = rig.cluster.ask("DELETE", f"/files/{locking}/k?version={version}")
    assert (answer.status, b"retained until" in answer.body) == (403, True)
    assert s3.get_object(Bucket=locking, Key="k", VersionId=version)["Body"].read() == b"x"


# ---------------------------------------------------------------- legal hold


def test_a_legal_hold_holds_until_it_is_lifted(s3: Any, locking: str, put: Any) -> None:
    """No bypass passes it over; the version says ON or OFF."""
    version = put(ObjectLockLegalHoldStatus="ON")
    assert s3.get_object(Bucket=locking, Key="k")["ObjectLockLegalHoldStatus"] == "ON"
    arguments = {"Bucket": locking, "Key": "k", "VersionId": version}
    assert refused(s3.delete_object, **arguments, BypassGovernanceRetention=True) == DENIED
    s3.put_object_legal_hold(Bucket=locking, Key="k", LegalHold={"Status": "OFF"})
    assert s3.get_object_legal_hold(Bucket=locking, Key="k")["LegalHold"] == {"Status": "OFF"}
    s3.delete_object(**arguments)


# ---------------------------------------------------------------- refusals


def test_what_can_never_be_held_is_refused(s3: Any, make_bucket: Any) -> None:
    """In a bucket without object lock every such call is an invalid request, and nothing is written."""
    bucket = make_bucket(versioning=True)
    s3.put_object(Bucket=bucket, Key="k", Body=b"x")
    assert refused(retain, s3=s3, bucket=bucket, mode="GOVERNANCE", until=later(days=1)) == INVALID
    assert refused(s3.get_object_retention, Bucket=bucket, Key="k") == INVALID
    assert refused(s3.put_object_legal_hold, Bucket=bucket, Key="k", LegalHold={"Status": "ON"}) == INVALID
    assert refused(s3.get_object_legal_hold, Bucket=bucket, Key="k") == INVALID
    assert refused(s3.put_object, Bucket=bucket, Key="k", Body=b"y", ObjectLockLegalHoldStatus="ON") == INVALID
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == b"x"


def test_holds_that_make_no_sense_are_refused(s3: Any, locking: str, put: Any) -> None:
    """Unknown words, halves, and times gone by."""
    put()
    assert refused(retain, s3=s3, bucket=locking, mode="abc", until=later(days=1)) == MALFORMED
    assert refused(retain, s3=s3, bucket=locking, mode="governance", until=later(days=1)) == MALFORMED
    assert refused(retain, s3=s3, bucket=locking, mode="GOVERNANCE", until=later(days=-1)) == (400, "InvalidArgument")
    half = {"Bucket": locking, "Key": "k", "Retention": {"Mode": "GOVERNANCE"}}
    assert refused(s3.put_object_retention, **half) == MALFORMED
    assert refused(s3.put_object_legal_hold, Bucket=locking, Key="k", LegalHold={"Status": "abc"}) == MALFORMED
    assert refused(s3.get_object_legal_hold, Bucket=locking, Key="k") == (404, "NoSuchObjectLockConfiguration")
    target = {"Bucket": locking, "Key": "k", "Body": b"x"}
    for options in (
        {"ObjectLockMode": "GOVERNANCE"},
        {"ObjectLockRetainUntilDate": later(days=1)},
        {"ObjectLockMode": "GOVERNANCE", "ObjectLockRetainUntilDate": later(days=-1)},
        {"ObjectLockMode": "abc", "ObjectLockRetainUntilDate": later(days=1)},
    ):
        assert refused(s3.put_object, **target, **options) == (400, "InvalidArgument")


def test_a_locked_put_needs_a_checksum(rig: S3Rig, locking: str) -> None:
    """Content-MD5 is one; neither it nor another is refused."""
    bare = rig.client(request_checksum_calculation="when_required")
    target = {"Bucket": locking, "Key": "k", "Body": b"x", "ObjectLockLegalHoldStatus": "ON"}
    assert refused(bare.put_object, **target) == INVALID
    bare.put_object(**target, ContentMD5=b64encode(hashlib.md5(b"x", usedforsecurity=False).digest()).decode())


@pytest.mark.parametrize("default", [True, False])
def test_parts_of_a_locked_object_need_a_checksum(rig: S3Rig, s3: Any, locking: str, default: bool) -> None:
    """By a default retention as by the upload's own; nothing is written without one."""
    if default:
        s3.put_object_lock_configuration(Bucket=locking, ObjectLockConfiguration=DAYS_1)
    bare = rig.client(request_checksum_calculation="when_required")
    md5 = b64encode(hashlib.md5(b"x", usedforsecurity=False).digest()).decode()
    own: dict[str, Any] = {} if default else {"ObjectLockLegalHoldStatus": "ON"}
    upload = bare.create_multipart_upload(Bucket=locking, Key="k", **own)["UploadId"]
    part = {"Bucket": locking, "Key": "k", "UploadId": upload, "PartNumber": 1, "Body": b"x"}
    assert refused(bare.upload_part, **part) == INVALID
    assert "Parts" not in bare.list_parts(Bucket=locking, Key="k", UploadId=upload)
    bare.upload_part(**part, ContentMD5=md5)
    s3.upload_part(**part)
    whole = {"Bucket": locking, "Key": "k", "Body": b"x"}
    if default:
        assert refused(bare.put_object, **whole) == INVALID
        assert "Versions" not in s3.list_object_versions(Bucket=locking)
    bare.put_object(**whole, ContentMD5=md5)
    source = {"Bucket": locking, "Key": "k"}
    bare.copy_object(Bucket=locking, Key="copy", CopySource=source)
    bare.upload_part_copy(Bucket=locking, Key="k", UploadId=upload, PartNumber=2, CopySource=source)


# ---------------------------------------------------------------- who may


def test_a_policy_can_let_others_hold_and_pass_over(rig: S3Rig, s3: Any, locking: str, put: Any) -> None:
    """Writing alone does not allow to say what holds a version; the bypass is an action of its own."""
    eve = client_of(rig, "eve")

    def allow(*actions: str) -> None:
        said = {"Effect": "Allow", "Principal": "*", "Action": actions, "Resource": f"arn:aws:s3:::{locking}/*"}
        policy = {"Version": "2012-10-17", "Statement": [said]}
        s3.put_bucket_policy(Bucket=locking, Policy=json.dumps(policy))

    allow("s3:PutObject", "s3:DeleteObjectVersion")
    target = {"Bucket": locking, "Key": "k", "Body": b"x"}
    lock = {"ObjectLockMode": "GOVERNANCE", "ObjectLockRetainUntilDate": later(days=1)}
    eve.put_object(**target)
    for more in (lock, {"ObjectLockLegalHoldStatus": "ON"}):
        assert refused(eve.put_object, **target, **more) == DENIED
    version = put(**lock)
    arguments = {"Bucket": locking, "Key": "k", "VersionId": version, "BypassGovernanceRetention": True}
    assert refused(eve.delete_object, **arguments) == DENIED
    allow("s3:PutObject", "s3:PutObjectRetention", "s3:DeleteObjectVersion", "s3:BypassGovernanceRetention")
    eve.put_object(**target, **lock)
    eve.delete_object(**arguments)
    assert refused(s3.head_object, Bucket=locking, Key="k", VersionId=version)[0] == 404


def test_a_policy_can_deny_the_bypass(s3: Any, locking: str, put: Any) -> None:
    """Also to the bucket's owner, and by every condition that a policy can have."""
    version = put(ObjectLockMode="GOVERNANCE", ObjectLockRetainUntilDate=later(days=1), Tagging="keep=yes")
    condition = {"StringEquals": {"s3:ExistingObjectTag/keep": "yes"}}
    said = statement("Deny", "*", "s3:BypassGovernanceRetention", f"{locking}/*", Condition=condition)
    s3.put_bucket_policy(Bucket=locking, Policy=document(said))
    arguments = {"Bucket": locking, "Key": "k", "VersionId": version, "BypassGovernanceRetention": True}
    assert refused(s3.delete_object, **arguments) == DENIED
    assert refused(s3.put_object_retention, **arguments, Retention={}) == DENIED
    s3.delete_object_tagging(Bucket=locking, Key="k")
    s3.delete_object(**arguments)


def test_who_reads_a_version_is_not_told_its_lock_unless_allowed(rig: S3Rig, s3: Any, locking: str, put: Any) -> None:
    """Retention and legal hold are each an action of its own to read, and only then in the answers to reads."""
    put(ObjectLockMode="GOVERNANCE", ObjectLockRetainUntilDate=later(days=1), ObjectLockLegalHoldStatus="ON")
    eve = client_of(rig, "eve")
    for more, told in (
        ([], []),
        (["s3:GetObjectRetention"], ["GOVERNANCE"]),
        (["s3:GetObjectLegalHold"], ["ON"]),
        (["s3:Get*"], ["GOVERNANCE", "ON"]),
    ):
        said = statement("Allow", "eve", ["s3:GetObject", *more], f"{locking}/*")
        s3.put_bucket_policy(Bucket=locking, Policy=document(said))
        for answer in (eve.head_object(Bucket=locking, Key="k"), eve.get_object(Bucket=locking, Key="k")):
            found = (answer.get("ObjectLockMode"), answer.get("ObjectLockLegalHoldStatus"))
            assert [one for one in found if one] == told
            assert ("ObjectLockRetainUntilDate" in answer) == ("GOVERNANCE" in told)


def test_a_multipart_upload_is_held_from_its_completion(s3: Any, locking: str) -> None:
    """What its beginning says of the lock and the tags is true of its version; else the bucket's default is."""
    s3.put_object_lock_configuration(Bucket=locking, ObjectLockConfiguration=DAYS_1)
    hold = {"ObjectLockLegalHoldStatus": "ON", "Tagging": "a=b"}
    own = {"ObjectLockMode": "COMPLIANCE", "ObjectLockRetainUntilDate": later(days=3)}
    for said, mode in ((hold, "GOVERNANCE"), (own, "COMPLIANCE")):
        id = s3.create_multipart_upload(Bucket=locking, Key="k", **said)["UploadId"]
        part = {"Bucket": locking, "Key": "k", "UploadId": id}
        etag = s3.upload_part(**part, PartNumber=1, Body=b"x")["ETag"]
        done = s3.complete_multipart_upload(**part, MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": etag}]})
        head = s3.head_object(Bucket=locking, Key="k")
        assert (head["ObjectLockMode"], head.get("TagCount")) == (mode, 1 if said is hold else None)
        arguments = {"Bucket": locking, "Key": "k", "VersionId": done["VersionId"], "BypassGovernanceRetention": True}
        assert refused(s3.delete_object, **arguments) == DENIED


@pytest.mark.parametrize("form", ["iso8601", "rfc822", "unixTimestamp"])
def test_a_bound_on_retentions_holds_however_the_date_is_written(
    rig: S3Rig, s3: Any, locking: str, form: TimeFormat
) -> None:
    """A policy's conditions see the time that is meant, in each of the forms in which headers may have it."""
    eve = client_of(rig, "eve")
    days = {"NumericGreaterThan": {"s3:object-lock-remaining-retention-days": "10"}}
    policy = document(
        statement("Allow", "eve", ["s3:PutObject", "s3:PutObjectRetention"], f"{locking}/*"),
        statement("Deny", "eve", ["s3:PutObject", "s3:PutObjectRetention"], f"{locking}/*", Condition=days),
    )
    s3.put_bucket_policy(Bucket=locking, Policy=policy)

    def put(days: int) -> Any:
        def write(request: Any, **_: Any) -> None:
            request.headers["x-amz-object-lock-retain-until-date"] = write_time(later(days=days).timestamp(), form)

        eve.meta.events.register_first("before-sign.s3.PutObject", write, unique_id="write")
        try:
            return eve.put_object(Bucket=locking, Key="k", Body=b"x", ObjectLockMode="GOVERNANCE")
        finally:
            eve.meta.events.unregister("before-sign.s3.PutObject", write, unique_id="write")

    put(days=5)
    assert refused(put, days=20) == DENIED
