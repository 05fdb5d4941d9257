"""Access logs: what was asked of a bucket is read back from the files that its log became."""

from __future__ import annotations

import calendar
import re
import time
from collections.abc import Callable, Iterable
from typing import Any

import pytest
from botocore.exceptions import ClientError

from client_proxy.core.requests import Read, Write
from client_proxy.doors.s3.events import access_log as module
from client_proxy.doors.s3.events.access_log import DROPPED, AccessLog
from lockstep_store.wire.errors import Forbidden, LockstepError, PeerUnreachable
from lockstep_store.wire.messages.files import CommittedReply, Preconditions
from lockstep_store.wire.messages.s3 import ACCESS_LOG_PREFIX
from tests.s3.calls import read, refused
from tests.s3.people import client_of
from tests.s3.rig import ENDPOINT, S3Rig

FIELD = re.compile(r'"[^"]*"|\[[^\]]*\]|\S+')
FIELDS = (
    "owner bucket time ip requester id operation key uri status error sent size total turn referer agent version host "
    "signature cipher auth header tls point acl"
)
NAMES = FIELDS.split()
LONG = 60.0
"""Seconds that writing a log is given on a busy machine; a program that stops gives it fewer."""


def lines(s3: Any, target: str, prefix: str = "log/") -> list[dict[str, str]]:
    """Every line of the log files below a prefix, by the names of its fields."""
    found = []
    for one in s3.list_objects_v2(Bucket=target, Prefix=prefix).get("Contents", []):
        assert re.fullmatch(re.escape(prefix) + r"\d{4}(-\d\d){5}-[0-9A-F]{16}", one["Key"])
        content = s3.get_object(Bucket=target, Key=one["Key"])["Body"].read().decode()
        assert content.endswith("\n")
        for text in content.splitlines():
            fields = FIELD.findall(text)
            assert len(fields) == len(NAMES), text
            found.append(dict(zip(NAMES, fields, strict=True)))
    return found


def turn_on(rig: S3Rig, s3: Any, bucket: str, target: str, prefix: str = "log/") -> None:
    """A moment after the bucket was made, whose first requests may have been to an earlier one."""
    rig.cluster.pass_time(1.0)
    enabled = {"LoggingEnabled": {"TargetBucket": target, "TargetPrefix": prefix}}
    s3.put_bucket_logging(Bucket=bucket, BucketLoggingStatus=enabled)


def test_every_request_becomes_a_line_of_the_format(s3: Any, rig: S3Rig, make_bucket: Callable[..., str]) -> None:
    """Who, what, with which outcome, size and proof, for reads, writes, refusals and requests of nobody."""
    bucket, target = make_bucket(), make_bucket()
    turn_on(rig, s3, bucket, target)
    s3.put_object(Bucket=bucket, Key='a "b" ü.txt', Body=b"twelve bytes")
    s3.get_object(Bucket=bucket, Key='a "b" ü.txt', Range="bytes=2-5")["Body"].read()
    with pytest.raises(ClientError):
        s3.get_object(Bucket=bucket, Key="missing")
    s3.list_objects_v2(Bucket=bucket)
    rig.ask("GET", f"{ENDPOINT}/{bucket}/x", {"User-Agent": 'sly" 200\r\nforged', "Referer": "https://a.test/"})
    signer = rig.client(signature_version="s3v4")
    presigned = signer.generate_presigned_url("get_object", Params={"Bucket": bucket, "Key": 'a "b" ü.txt'})
    assert rig.ask("GET", presigned, {})[0] == 200
    rig.access_log.flush(LONG)
    told = {(line["operation"], line["status"], line["auth"]): line for line in lines(s3, target)}
    put = told["REST.PUT.OBJECT", "200", "AuthHeader"]
    assert (put["owner"], put["bucket"], put["requester"]) == ("admin", bucket, "admin")
    assert put["key"] == "a%20%22b%22%20%C3%BC.txt"
    assert (put["size"], put["error"], put["ip"], put["signature"]) == ("12", "-", "127.0.0.1", "SigV4")
    assert re.fullmatch(r"\[\d\d/[A-Z][a-z]{2}/\d{4}:\d\d:\d\d:\d\d \+0000\]", put["time"])
    assert put["uri"].startswith(f'"PUT /{bucket}/a%20%22b%22%20%C3%BC.txt')
    assert put["host"] == "client_proxy-1"
    part = told["REST.GET.OBJECT", "206", "AuthHeader"]
    assert (part["sent"], part["size"]) == ("4", "12")
    assert told["REST.GET.OBJECT", "404", "AuthHeader"]["error"] == "NoSuchKey"
    assert told["REST.GET.BUCKET", "200", "AuthHeader"]["key"] == "-"
    assert told["REST.PUT.LOGGING_STATUS", "200", "AuthHeader"]["bucket"] == bucket
    nobody = told["REST.GET.OBJECT", "403", "-"]
    assert (nobody["requester"], nobody["error"], nobody["signature"]) == ("-", "AccessDenied", "-")
    assert (nobody["agent"], nobody["referer"]) == ('"sly%22 200%0D%0Aforged"', '"https://a.test/"')
    again = told["REST.GET.OBJECT", "200", "QueryString"]
    assert "X-Amz-Signature=-" in again["uri"]
    assert int(again["total"]) >= int(again["turn"]) >= 0


def test_what_requests_say_of_themselves_forges_no_line(s3: Any, rig: S3Rig, make_bucket: Callable[..., str]) -> None:
    """A size that is no number is none, and a signature stays out however its name is written."""
    bucket, target = make_bucket(), make_bucket()
    turn_on(rig, s3, bucket, target)

    def say_a_size(params: Any, **_: Any) -> None:
        params["headers"]["x-amz-decoded-content-length"] = "1 2 3"

    signer = rig.client(signature_version="s3v4", request_checksum_calculation="when_required")
    signer.meta.events.register("before-call.s3.PutObject", say_a_size)
    signer.put_object(Bucket=bucket, Key="k", Body=b"content")
    presigned = signer.generate_presigned_url("get_object", Params={"Bucket": bucket, "Key": "k"})
    signature = presigned.partition("X-Amz-Signature=")[2]
    assert rig.ask("GET", presigned.replace("X-Amz-Signature", "X%2dAmz%2DSignature"), {})[0] == 200
    rig.access_log.flush(LONG)
    told = {line["operation"]: line for line in lines(s3, target)}
    assert told["REST.PUT.OBJECT"]["size"] == "-"
    assert told["REST.GET.OBJECT"]["status"] == "200"
    assert signature not in told["REST.GET.OBJECT"]["uri"]


def test_a_bucket_without_a_log_has_none(
    s3: Any, rig: S3Rig, make_bucket: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is written for it, and nothing is kept; switched off, a log ends."""
    bucket, target = make_bucket(), make_bucket()
    log = rig.access_log
    monkeypatch.setattr(log, "_keep_seconds", 3600.0)
    assert "LoggingEnabled" not in s3.get_bucket_logging(Bucket=bucket)
    s3.put_object(Bucket=bucket, Key="a", Body=b"1")
    log.step()
    assert not log.wants(bucket)
    turn_on(rig, s3, bucket, target)
    assert s3.get_bucket_logging(Bucket=bucket)["LoggingEnabled"]["TargetBucket"] == target
    s3.get_object(Bucket=bucket, Key="a")
    log.flush(LONG)
    told = [line["operation"] for line in lines(s3, target)]
    assert "REST.GET.OBJECT" in told
    assert "REST.PUT.OBJECT" not in told
    s3.put_bucket_logging(Bucket=bucket, BucketLoggingStatus={})
    s3.get_object(Bucket=bucket, Key="a")
    log.flush(LONG)
    assert [line["operation"] for line in lines(s3, target)] == told
    assert "LoggingEnabled" not in s3.get_bucket_logging(Bucket=bucket)


def test_a_log_goes_only_to_a_bucket_of_the_same_owner(s3: Any, rig: S3Rig, make_bucket: Callable[..., str]) -> None:
    """A missing target, another's, and a prefix that makes bad names are refused; so are grants."""
    eve = client_of(rig, "eve")
    bucket, target = make_bucket(), make_bucket()
    eve.create_bucket(Bucket="eves-own")
    wrong = (400, "InvalidTargetBucketForLogging")

    def asked(client: Any, source: str, **enabled: Any) -> tuple[int, str]:
        status = {"LoggingEnabled": {"TargetPrefix": "log/", **enabled}}
        return refused(client.put_bucket_logging, Bucket=source, BucketLoggingStatus=status)

    assert asked(s3, bucket, TargetBucket="no-such-bucket") == wrong
    assert asked(s3, bucket, TargetBucket="eves-own") == wrong
    assert asked(eve, "eves-own", TargetBucket=target) == wrong
    assert asked(eve, bucket, TargetBucket="eves-own") == (403, "AccessDenied")
    assert asked(s3, bucket, TargetBucket=target, TargetPrefix="/../") == (400, "InvalidArgument")
    grant = {"Grantee": {"Type": "CanonicalUser", "ID": "eve"}, "Permission": "READ"}
    assert asked(s3, bucket, TargetBucket=target, TargetGrants=[grant]) == (501, "NotImplemented")
    both = {"PartitionedPrefix": {"PartitionDateSource": "EventTime"}, "SimplePrefix": {}}
    assert asked(s3, bucket, TargetBucket=target, TargetObjectKeyFormat=both) == (400, "MalformedXML")
    unknown = {"PartitionedPrefix": {"PartitionDateSource": "FullMoon"}}
    assert asked(s3, bucket, TargetBucket=target, TargetObjectKeyFormat=unknown) == (400, "MalformedXML")
    assert "LoggingEnabled" not in s3.get_bucket_logging(Bucket=bucket)


def test_writing_a_log_is_good_for_nothing_else(s3: Any, rig: S3Rig, make_bucket: Callable[..., str]) -> None:
    """What a proxy brings for it makes new files below the prefix in the target, and nobody else can bring it."""
    bucket, target = make_bucket(), make_bucket()
    turn_on(rig, s3, bucket, target)
    credential = ACCESS_LOG_PREFIX + bucket
    files = rig.cluster.proxies["1"].files
    new = Preconditions(if_none_match=["*"])

    def write(credential: str, bucket: str, path: str, preconditions: Preconditions) -> None:
        files.write(Write(credential, bucket, path, size=1, preconditions=preconditions), iter([b"x"]))

    write(credential, target, "log/1", new)
    for asked in (
        (credential, target, "elsewhere", new),
        (credential, bucket, "log/1", new),
        (credential, target, "log/2", Preconditions()),
        (ACCESS_LOG_PREFIX + target, target, "log/2", new),
    ):
        with pytest.raises(Forbidden):
            write(*asked)
    with pytest.raises(LockstepError):
        files.open(Read(credential, target, "log/1"))
    answer = rig.cluster.ask_with({"Authorization": f"Bearer {credential}"}, "PUT", f"/files/{target}/log/3", b"x")
    assert answer.status == 401


class _Broken:
    """A file store that cannot be reached for the first writes."""

    def __init__(self, files: Any, failures: list[Exception]) -> None:
        self._files = files
        self._failures = failures
        self.asked: list[str] = []

    def write(self, request: Write, blocks: Iterable[bytes]) -> CommittedReply:
        self.asked.append(request.path)
        if self._failures:
            raise self._failures.pop()
        return self._files.write(request, blocks)


def small_log(rig: S3Rig, files: Any, **options: Any) -> AccessLog:
    """A log in the place of the rig's."""
    log = AccessLog(files, rig.directory, time.time, rig.cluster.clock.monotonic, **options)
    rig.s3.access_log = log
    return log


@pytest.fixture
def own_log(rig: S3Rig) -> Any:
    """Puts the rig's log back after a test that had its own."""
    yield
    rig.s3.access_log = rig.access_log


@pytest.mark.usefixtures("own_log")
@pytest.mark.parametrize("source", ["EventTime", "DeliveryTime", None])
def test_files_are_sorted_into_folders(
    s3: Any, rig: S3Rig, make_bucket: Callable[..., str], source: str | None
) -> None:
    """By owner, region, bucket and the day of the requests or of the delivery; no file has lines of two days."""
    bucket, target = make_bucket(), make_bucket()
    folders: dict[str, Any] = {"PartitionedPrefix": {"PartitionDateSource": source} if source else {}}
    enabled = {"TargetBucket": target, "TargetPrefix": "log/", "TargetObjectKeyFormat": folders}
    s3.put_bucket_logging(Bucket=bucket, BucketLoggingStatus={"LoggingEnabled": enabled})
    assert s3.get_bucket_logging(Bucket=bucket)["LoggingEnabled"] == enabled
    now = [calendar.timegm((2026, 1, 31, 23, 0, 0))]  # hours from midnight: what the requests take is subtracted
    rig.s3.access_log = log = AccessLog(
        rig.cluster.proxies["1"].files, rig.directory, lambda: float(now[0]), rig.cluster.clock.monotonic
    )
    rig.cluster.pass_time(1.0)
    for _ in range(2):
        s3.list_objects_v2(Bucket=bucket)
        now[0] += 2 * 3600
    log.flush(LONG)
    keys = [one["Key"] for one in s3.list_objects_v2(Bucket=target)["Contents"]]
    days = ["2026-01-31", "2026-02-01"] if source == "EventTime" else ["2026-02-01"] * 2
    moment = "00-00-00" if source == "EventTime" else "03-00-00"
    starts = [f"log/admin/us-east-1/{bucket}/{day.replace('-', '/')}/{day}-{moment}-" for day in days]
    assert [key[:-16] for key in keys] == starts
    for key in keys:
        assert len(read(s3, target, key).splitlines()) == 1


@pytest.mark.usefixtures("own_log")
def test_no_room_drops_lines_and_counts_them(s3: Any, rig: S3Rig, make_bucket: Callable[..., str]) -> None:
    """The requests are answered as ever; what fits is written, the rest is in the metric."""
    bucket, target = make_bucket(), make_bucket()
    turn_on(rig, s3, bucket, target)
    log = small_log(rig, rig.cluster.proxies["1"].files, max_bucket_bytes=2000)
    before = DROPPED._value.get()
    for number in range(20):
        s3.put_object(Bucket=bucket, Key=f"file-{number}", Body=b"x")
    dropped = DROPPED._value.get() - before
    assert 0 < dropped < 20
    log.flush(LONG)
    assert len(lines(s3, target)) == 20 - dropped
    s3.put_object(Bucket=bucket, Key="again", Body=b"x")
    log.flush(LONG)
    assert len(lines(s3, target)) == 21 - dropped


@pytest.mark.usefixtures("own_log")
def test_a_log_that_cannot_be_written_waits(s3: Any, rig: S3Rig, make_bucket: Callable[..., str]) -> None:
    """It is written when it is due and can be, once and under the name of the first attempt."""
    bucket, target = make_bucket(), make_bucket()
    turn_on(rig, s3, bucket, target)
    files = _Broken(rig.cluster.proxies["1"].files, [PeerUnreachable("gone", url="x")])
    log = small_log(rig, files, delivery_seconds=3600.0)
    s3.put_object(Bucket=bucket, Key="a", Body=b"x")
    assert log.step() == module.STEP_SECONDS
    assert files.asked == []
    log.flush(LONG)
    assert lines(s3, target) == []
    log.step()
    assert len(files.asked) == 2
    assert len(set(files.asked)) == 1
    assert [line["key"] for line in lines(s3, target)] == ["a"]


@pytest.mark.usefixtures("own_log")
def test_a_log_that_is_refused_is_counted_as_lost(s3: Any, rig: S3Rig, make_bucket: Callable[..., str]) -> None:
    """A policy that forbids the target bucket ends the waiting: memory is not held for what can never be written."""
    bucket, target = make_bucket(), make_bucket()
    turn_on(rig, s3, bucket, target)
    log = small_log(rig, rig.cluster.proxies["1"].files)
    before = DROPPED._value.get()
    s3.put_object(Bucket=bucket, Key="a", Body=b"x")
    s3.delete_bucket(Bucket=target)
    log.flush(LONG)
    assert DROPPED._value.get() - before == 1
    assert log._held == 0
