"""Multipart uploads on real programs that are killed in the middle."""

from __future__ import annotations

import random
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import pytest
from botocore.exceptions import BotoCoreError, ClientError

from tests.cluster.cluster_harness import ClusterHarness
from tests.s3.command_clients import boto3_client
from tests.waiting import wait_until

pytestmark = pytest.mark.cluster

MIB = 1 << 20


def client(cluster: ClusterHarness, proxy: int) -> Any:
    """One that goes on while programs are killed."""
    return boto3_client(cluster, proxy, retries={"mode": "standard", "max_attempts": 8})


@pytest.mark.parametrize(
    "victim",
    [
        "file_server",
        pytest.param("client_proxy", marks=pytest.mark.soak),
        pytest.param("directory_server", marks=pytest.mark.soak),
    ],
)
def test_an_upload_survives_a_kill(cluster: ClusterHarness, seed: int, victim: Any) -> None:
    """A program is killed while parts are sent and again while the upload is completed: every part that was answered
    is in the object, which is made once, with exactly its bytes."""
    first, second = client(cluster, 1), client(cluster, 2)
    data = [random.Random(seed + n).randbytes(5 * MIB) for n in range(8)]
    id = first.create_multipart_upload(Bucket="files", Key="k")["UploadId"]
    started = threading.Event()

    def send(number: int) -> dict[str, Any]:
        body = data[number - 1]
        target = {"Bucket": "files", "Key": "k", "UploadId": id, "PartNumber": number, "Body": body}
        started.set()
        sender = second if victim == "client_proxy" else (first, second)[number % 2]
        return {"PartNumber": number, "ETag": _until_answered(lambda: sender.upload_part(**target))["ETag"]}

    with ThreadPoolExecutor(4) as pool:
        sending = [pool.submit(send, number) for number in range(1, 9)]
        started.wait()
        cluster.kill(victim)
        if victim == "directory_server":
            cluster.start(victim)
        parts = [one.result() for one in sending]
    if victim != "directory_server":
        cluster.start(victim)

    target = {"Bucket": "files", "Key": "k", "UploadId": id, "MultipartUpload": {"Parts": parts}}

    def complete_once() -> None:
        with suppress(ClientError, BotoCoreError):  # the answer may be lost with the program
            first.complete_multipart_upload(**target)

    completing = threading.Thread(target=complete_once)
    completing.start()
    cluster.kill(victim)
    if victim == "directory_server":
        cluster.start(victim)
    done = _until_answered(lambda: second.complete_multipart_upload(**target))
    if victim != "directory_server":
        cluster.start(victim)
    completing.join()
    again = _until_answered(lambda: second.complete_multipart_upload(**target))
    assert again["VersionId"] == done["VersionId"]
    versions = second.list_object_versions(Bucket="files", Prefix="k")["Versions"]
    assert [one["VersionId"] for one in versions] == [done["VersionId"]]
    assert second.get_object(Bucket="files", Key="k")["Body"].read() == b"".join(data)


def _until_answered(call: Any) -> Any:
    """What `call` gives once everybody is back: a 503 says that nothing is known to be done."""

    def attempt() -> Any:
        try:
            return call()
        except ClientError as error:
            assert error.response["ResponseMetadata"]["HTTPStatusCode"] == 503, error  # noqa: PT017
            return None

    return wait_until(attempt, 90.0, "an answer that is no 503")
