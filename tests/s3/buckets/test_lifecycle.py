"""Lifecycles through boto3: what is kept of them, and that they are carried out, with days of ten seconds."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from directory_server.features.lifecycle import job as lifecycle_job
from directory_server.maintenance.fsck import check_metadata
from tests.s3.calls import refused
from tests.s3.people import client_of
from tests.s3.rig import S3Rig

DAY = 10.0
MALFORMED = (400, "MalformedXML")
ARGUMENT = (400, "InvalidArgument")
REQUEST = (400, "InvalidRequest")
TAG = {"Key": "k", "Value": "v"}
_numbers = itertools.count(1)


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Rig]:
    """A cluster whose days last `DAY` seconds."""
    certs = tmp_path_factory.getbasetemp() / "s3-certs"
    rig = S3Rig(tmp_path_factory.mktemp("lifecycle"), certs, lifecycle_day_seconds=DAY)
    yield rig
    rig.close()


@pytest.fixture
def name(s3: Any) -> str:
    """A bucket that keeps versions, with a name of its own."""
    made = f"living-{next(_numbers)}"
    s3.create_bucket(Bucket=made, ObjectLockEnabledForBucket=True)
    return made


def live(s3: Any, bucket: str, *rules: dict[str, Any]) -> None:
    """Give the bucket these rules; in force and about everything unless they say otherwise."""
    whole = [{"Status": "Enabled", "Filter": {"Prefix": ""}, **rule} for rule in rules]
    s3.put_bucket_lifecycle_configuration(Bucket=bucket, LifecycleConfiguration={"Rules": whole})


def days_pass(rig: S3Rig, days: float = 1.0) -> None:
    """Time passes, and then the lifecycle of every bucket is carried out once."""
    rig.cluster.pass_time(days * DAY)
    one_round(rig)


def one_round(rig: S3Rig) -> None:
    """The steps from the first bucket to the last."""
    for _ in range(500):
        if rig.cluster.directory.lifecycle.step() > lifecycle_job.PAUSE_SECONDS:
            return
    raise AssertionError("the round does not end")


def keys(s3: Any, bucket: str) -> list[str]:
    return [one["Key"] for one in s3.list_objects_v2(Bucket=bucket).get("Contents", [])]


def history(s3: Any, bucket: str) -> tuple[list[str], list[str]]:
    """The ids of versions and of delete markers, the newest of each path first."""
    told = s3.list_object_versions(Bucket=bucket)
    return (
        [one["VersionId"] for one in told.get("Versions", [])],
        [one["VersionId"] for one in told.get("DeleteMarkers", [])],
    )


# ---------------------------------------------------------------- what is kept


def test_a_configuration_comes_back_until_it_is_deleted(s3: Any, bucket: str) -> None:
    """Rules come back as they were put; one without an ID has one."""
    rules: list[dict[str, Any]] = [
        {"ID": "a", "Status": "Enabled", "Filter": {"Prefix": "x/"}, "Expiration": {"Days": 3}},
        {"ID": "b", "Status": "Disabled", "Prefix": "", "Expiration": {"Date": datetime(2030, 1, 1, tzinfo=UTC)}},
        {
            "ID": "c",
            "Status": "Enabled",
            "Filter": {"And": {"Prefix": "y/", "Tags": [TAG], "ObjectSizeGreaterThan": 5}},
            "NoncurrentVersionExpiration": {"NoncurrentDays": 2, "NewerNoncurrentVersions": 4},
        },
        {"Status": "Enabled", "Filter": {}, "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 7}},
    ]
    s3.put_bucket_lifecycle_configuration(Bucket=bucket, LifecycleConfiguration={"Rules": rules})
    told = s3.get_bucket_lifecycle_configuration(Bucket=bucket)["Rules"]
    assert told[3].pop("ID")
    assert told == rules
    size = "TransitionDefaultMinimumObjectSize"
    assert s3.get_bucket_lifecycle_configuration(Bucket=bucket)[size] == "all_storage_classes_128K"
    configuration = {"Bucket": bucket, "LifecycleConfiguration": {"Rules": rules}}
    said = s3.put_bucket_lifecycle_configuration(**configuration, **{size: "varies_by_storage_class"})
    assert said[size] == "varies_by_storage_class"
    assert s3.get_bucket_lifecycle_configuration(Bucket=bucket)[size] == "varies_by_storage_class"
    assert refused(s3.put_bucket_lifecycle_configuration, **configuration, **{size: "any"}) == ARGUMENT
    s3.delete_bucket_lifecycle(Bucket=bucket)
    assert refused(s3.get_bucket_lifecycle_configuration, Bucket=bucket) == (404, "NoSuchLifecycleConfiguration")


DAYS = {"Status": "Enabled", "Filter": {}, "Expiration": {"Days": 1}}


@pytest.mark.parametrize(
    ("rules", "expected"),
    [
        ([], MALFORMED),
        ([DAYS] * 1001, MALFORMED),
        ([DAYS | {"ID": "x" * 256}], ARGUMENT),
        ([DAYS | {"ID": "x"}, DAYS | {"ID": "x"}], ARGUMENT),
        ([DAYS | {"Status": "enabled"}], MALFORMED),
        ([DAYS | {"Prefix": ""}], MALFORMED),
        ([{"Status": "Enabled", "Expiration": {"Days": 1}}], MALFORMED),
        ([{"Status": "Enabled", "Filter": {}}], REQUEST),
        ([DAYS | {"Filter": {"Prefix": "a", "Tag": TAG}}], MALFORMED),
        ([DAYS | {"Filter": {"And": {"Prefix": "a"}}}], MALFORMED),
        ([DAYS | {"Filter": {"Tag": TAG, "And": {"Prefix": "a", "Tags": [TAG]}}}], MALFORMED),
        ([DAYS | {"Filter": {"And": {"Prefix": "a", "Tags": [TAG, TAG]}}}], REQUEST),
        ([DAYS | {"Filter": {"Tag": {"Key": "aws:x", "Value": ""}}}], (400, "InvalidTag")),
        ([DAYS | {"Filter": {"And": {"ObjectSizeGreaterThan": 5, "ObjectSizeLessThan": 5}}}], REQUEST),
        ([DAYS | {"Filter": {"ObjectSizeGreaterThan": -1}}], ARGUMENT),
        ([DAYS | {"Expiration": {"Days": 0}}], ARGUMENT),
        ([DAYS | {"Expiration": {"Days": 1, "ExpiredObjectDeleteMarker": True}}], MALFORMED),
        ([DAYS | {"Expiration": {}}], MALFORMED),
        ([DAYS | {"Expiration": {"Date": datetime(2030, 1, 1, 1, tzinfo=UTC)}}], ARGUMENT),
        ([DAYS | {"Filter": {"Tag": TAG}, "Expiration": {"ExpiredObjectDeleteMarker": True}}], REQUEST),
        ([DAYS | {"NoncurrentVersionExpiration": {"NoncurrentDays": 0}}], ARGUMENT),
        ([DAYS | {"NoncurrentVersionExpiration": {"NewerNoncurrentVersions": 1}}], MALFORMED),
        ([DAYS | {"NoncurrentVersionExpiration": {"NoncurrentDays": 1, "NewerNoncurrentVersions": 101}}], ARGUMENT),
        ([DAYS | {"AbortIncompleteMultipartUpload": {}}], MALFORMED),
        ([DAYS | {"AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 0}}], ARGUMENT),
        ([DAYS | {"Filter": {"Tag": TAG}, "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 1}}], REQUEST),
        ([DAYS | {"Transitions": [{"Days": 1, "StorageClass": "GLACIER"}]}], (501, "NotImplemented")),
    ],
)
def test_what_s3_would_not_keep_is_refused(
    s3: Any, bucket: str, rules: list[dict[str, Any]], expected: tuple[int, str]
) -> None:
    """Each with S3's own code, and nothing is kept of it."""
    put = s3.put_bucket_lifecycle_configuration
    assert refused(put, Bucket=bucket, LifecycleConfiguration={"Rules": rules}) == expected
    assert refused(s3.get_bucket_lifecycle_configuration, Bucket=bucket)[0] == 404


def test_only_the_owner_says_what_goes(rig: S3Rig, s3: Any, bucket: str) -> None:
    """Somebody else can neither put nor delete a bucket's rules."""
    live(s3, bucket, {"ID": "mine", "Expiration": {"Days": 1}})
    eve = client_of(rig, "eve")
    whole = {"Rules": [DAYS]}
    denied = (403, "AccessDenied")
    assert refused(eve.put_bucket_lifecycle_configuration, Bucket=bucket, LifecycleConfiguration=whole) == denied
    assert refused(eve.delete_bucket_lifecycle, Bucket=bucket) == denied
    assert s3.get_bucket_lifecycle_configuration(Bucket=bucket)["Rules"][0]["ID"] == "mine"


# ---------------------------------------------------------------- what is carried out


def test_files_expire_when_their_days_are_over(rig: S3Rig, s3: Any, bucket: str) -> None:
    """Only those that the filter means, not before their time, and for good where no versions are kept."""
    for key in ("logs/old", "logs/kept", "other"):
        s3.put_object(Bucket=bucket, Key=key, Body=b"x", Tagging="a=1" if key == "logs/old" else "")
    s3.put_object(Bucket=bucket, Key="large", Body=b"x" * 100)
    tagged = {"And": {"Prefix": "logs/", "Tags": [{"Key": "a", "Value": "1"}]}}
    live(
        s3,
        bucket,
        {"ID": "1", "Filter": tagged, "Expiration": {"Days": 2}},
        {"ID": "2", "Filter": {"ObjectSizeGreaterThan": 99}, "Expiration": {"Days": 1}},
    )
    days_pass(rig, 0.9)
    assert keys(s3, bucket) == ["large", "logs/kept", "logs/old", "other"]
    days_pass(rig, 0.2)
    assert keys(s3, bucket) == ["logs/kept", "logs/old", "other"]
    days_pass(rig)
    assert keys(s3, bucket) == ["logs/kept", "other"]
    assert history(s3, bucket)[1] == []


def test_versions_go_by_their_own_rule(rig: S3Rig, s3: Any, name: str) -> None:
    """An expired file has a delete marker on top; of the old ones the newest stays; then the lone marker goes."""
    ids = [s3.put_object(Bucket=name, Key="k", Body=b"%d" % number)["VersionId"] for number in range(4)]
    live(s3, name, {"ID": "1", "Expiration": {"Days": 1}})
    days_pass(rig)
    versions, markers = history(s3, name)
    assert (versions, len(markers)) == (ids[::-1], 1)
    assert keys(s3, name) == []
    keep_one = {"NoncurrentDays": 1, "NewerNoncurrentVersions": 1}
    live(s3, name, {"ID": "1", "NoncurrentVersionExpiration": keep_one})
    one_round(rig)
    assert ids[3] in history(s3, name)[0]
    days_pass(rig)
    assert history(s3, name) == ([ids[3]], markers)
    live(s3, name, {"ID": "1", "Expiration": {"ExpiredObjectDeleteMarker": True}})
    one_round(rig)
    assert history(s3, name) == ([ids[3]], markers)
    s3.delete_object(Bucket=name, Key="k", VersionId=ids[3])
    one_round(rig)
    assert history(s3, name) == ([], [])


def test_a_date_is_for_everything_behind_it(rig: S3Rig, s3: Any, bucket: str) -> None:
    """A date that is over expires files, one to come does not, and a clock put forward does not make it come."""
    s3.put_object(Bucket=bucket, Key="k", Body=b"x")
    now = datetime.fromtimestamp(rig.cluster.clock.wall(), UTC)
    coming = (now + timedelta(days=1)).replace(hour=0, minute=0, second=0, microsecond=0)
    live(s3, bucket, {"Expiration": {"Date": coming}})
    rig.cluster.clock.step_wall(3 * 86_400)
    one_round(rig)
    rig.cluster.clock.step_wall(-3 * 86_400)
    assert keys(s3, bucket) == ["k"]
    live(s3, bucket, {"Expiration": {"Date": coming - timedelta(days=1)}})
    one_round(rig)
    assert keys(s3, bucket) == []


def test_what_is_held_stays(rig: S3Rig, s3: Any, name: str) -> None:
    """Neither a retained version nor one under a legal hold goes; when the hold is lifted it does."""
    until = datetime.fromtimestamp(rig.cluster.clock.wall() + 100 * DAY, UTC)
    held = s3.put_object(Bucket=name, Key="k", Body=b"1", ObjectLockLegalHoldStatus="ON")["VersionId"]
    retained = s3.put_object(
        Bucket=name, Key="k", Body=b"2", ObjectLockMode="GOVERNANCE", ObjectLockRetainUntilDate=until
    )["VersionId"]
    free = s3.put_object(Bucket=name, Key="k", Body=b"3")["VersionId"]
    top = s3.put_object(Bucket=name, Key="k", Body=b"4")["VersionId"]
    live(s3, name, {"NoncurrentVersionExpiration": {"NoncurrentDays": 1}})
    days_pass(rig)
    assert history(s3, name)[0] == [top, retained, held]
    assert free not in history(s3, name)[0]
    s3.put_object_legal_hold(Bucket=name, Key="k", VersionId=held, LegalHold={"Status": "OFF"})
    days_pass(rig)
    assert history(s3, name)[0] == [top, retained]


def test_a_locked_file_waits(rig: S3Rig, s3: Any, bucket: str) -> None:
    """What somebody holds locked is left alone until the lock has ended."""
    s3.put_object(Bucket=bucket, Key="k", Body=b"x")
    live(s3, bucket, {"Expiration": {"Days": 1}})
    rig.cluster.pass_time(DAY)
    taken = rig.cluster.ask("POST", "/locks", b'{"paths": [{"bucket": "%s", "path": "k"}]}' % bucket.encode())
    assert taken.status in (200, 201), taken.body
    one_round(rig)
    assert keys(s3, bucket) == ["k"]
    rig.cluster.pass_time(3600.0)
    one_round(rig)
    assert keys(s3, bucket) == []


def test_unfinished_uploads_are_aborted(rig: S3Rig, s3: Any, bucket: str) -> None:
    """Those below the prefix, when they are old enough; the metadata is consistent afterwards."""
    for key in ("a/1", "b/1"):
        upload = s3.create_multipart_upload(Bucket=bucket, Key=key)["UploadId"]
        s3.upload_part(Bucket=bucket, Key=key, UploadId=upload, PartNumber=1, Body=b"part")
    live(s3, bucket, {"Filter": {"Prefix": "a/"}, "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 2}})
    days_pass(rig)
    assert len(s3.list_multipart_uploads(Bucket=bucket)["Uploads"]) == 2
    days_pass(rig, 1.1)
    assert [one["Key"] for one in s3.list_multipart_uploads(Bucket=bucket)["Uploads"]] == ["b/1"]
    assert check_metadata(rig.cluster.directory.store)[1] == []


def test_small_steps_come_to_the_same_end(rig: S3Rig, s3: Any, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pages of three versions and two removals at a time leave what one large step would; none of it is left over."""
    monkeypatch.setattr(lifecycle_job, "PAGE", 3)
    monkeypatch.setattr(lifecycle_job, "MAX_REMOVALS", 2)
    kept = []
    for key in ("a", "b", "c"):
        ids = [s3.put_object(Bucket=name, Key=key, Body=b"%d" % number)["VersionId"] for number in range(7)]
        kept += [ids[-1], ids[-2]]
    live(s3, name, {"NoncurrentVersionExpiration": {"NoncurrentDays": 1, "NewerNoncurrentVersions": 1}})
    days_pass(rig)
    assert history(s3, name)[0] == kept


def test_a_changed_mind_counts(rig: S3Rig, s3: Any, bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rules that are taken back, or a file that is written again, between looking and removing, save the file."""
    for key in ("again", "other"):
        s3.put_object(Bucket=bucket, Key=key, Body=b"x")
    live(s3, bucket, {"Expiration": {"Days": 1}})
    rig.cluster.pass_time(DAY)
    directory = rig.cluster.directory
    write = directory.store.write

    def after(change: Any) -> Any:
        def work(job: Any) -> Any:
            monkeypatch.setattr(directory.store, "write", write)
            change()
            return write(job)

        return work

    put_again = after(lambda: s3.put_object(Bucket=bucket, Key="again", Body=b"new"))
    monkeypatch.setattr(directory.store, "write", put_again)
    one_round(rig)
    assert keys(s3, bucket) == ["again"]
    rig.cluster.pass_time(DAY)
    monkeypatch.setattr(directory.store, "write", after(lambda: s3.delete_bucket_lifecycle(Bucket=bucket)))
    one_round(rig)
    assert keys(s3, bucket) == ["again"]


def test_an_expiry_is_a_change_like_any_other(rig: S3Rig, s3: Any, name: str) -> None:
    """It stands in the journal, and the marker names who made it."""
    s3.put_object(Bucket=name, Key="k", Body=b"x")
    live(s3, name, {"Expiration": {"Days": 1}})
    days_pass(rig)
    answer = rig.cluster.ask("GET", f"/files/{name}/k")
    assert answer.status == 404
    assert b"deleted by lifecycle" in answer.body
    changes = rig.cluster.ask("GET", f"/changes?bucket={name}&cursor=0").json["changes"]
    assert [change["kind"] for change in changes] == ["write", "delete"]
