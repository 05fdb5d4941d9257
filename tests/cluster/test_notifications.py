"""Bucket notifications from a real cluster to a real HTTPS receiver, while either of them dies."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.cluster_command import lockstep
from tests.cluster.cluster_harness import ClusterHarness
from tests.cluster.people import Person
from tests.cluster.test_backup import json_of
from tests.fakes.webhook_receiver import WebhookReceiver
from tests.s3.protocol.test_real_clients import boto3_client
from tests.waiting import wait_until

WRITES = 40
SECONDS = 90.0
_numbers = itertools.count(1)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClusterHarness]:
    with ClusterHarness(tmp_path_factory.mktemp("told"), file_servers=2, proxies=1) as harness:
        yield harness


@pytest.fixture
def receiver(tmp_path: Path) -> Iterator[WebhookReceiver]:
    made = WebhookReceiver(tmp_path / "receiver")
    yield made
    made.stop()


def tell(cluster: ClusterHarness, receiver: WebhookReceiver) -> tuple[str, str]:
    """A new bucket whose changes are told to a new target, as people set it up: (bucket, target)."""
    name = f"told-{next(_numbers)}"
    place = [f"{receiver.url}/{name}", "--target-ca", receiver.ca_file, "--secret", "s3cret"]
    made = json_of(lockstep(cluster, "targets", "add", name, *place, "--json"))
    assert "s3cret" not in str(made)
    s3 = boto3_client(cluster)
    s3.create_bucket(Bucket=name)
    queue = {"QueueArn": f"arn:lockstep:sqs:us-east-1::{name}", "Events": ["s3:ObjectCreated:*", "s3:ObjectRemoved:*"]}
    s3.put_bucket_notification_configuration(Bucket=name, NotificationConfiguration={"QueueConfigurations": [queue]})
    s3.close()
    return name, name


def first_times(records: list[dict[str, Any]]) -> list[tuple[str, str]]:
    """Each event where it was told for the first time: (key, name)."""
    return list(dict.fromkeys((one["s3"]["object"]["key"], one["eventName"]) for one in records))


def state(cluster: ClusterHarness, target: str) -> dict[str, Any]:
    listed = json_of(lockstep(cluster, "targets", "list", "--json"))["targets"]
    return next(one for one in listed if one["name"] == target)


def test_every_change_is_told_in_order_although_the_directory_is_killed(
    cluster: ClusterHarness, receiver: WebhookReceiver
) -> None:
    """Killed twice in the middle of writing and delivering: each event at least once, none before its predecessor."""
    bucket, target = tell(cluster, receiver)
    keys = [f"file-{number:03d}" for number in range(WRITES)]

    def write() -> None:
        with Person(cluster) as person:
            for key in keys:
                person.put(key, key.encode(), bucket)

    writing = threading.Thread(target=write)
    writing.start()
    for part in (WRITES // 4, WRITES // 2):
        wait_until(lambda part=part: len(first_times(receiver.records())) >= part, SECONDS, "the first events")
        cluster.kill("directory_server")
        cluster.start("directory_server")
    writing.join(SECONDS)
    assert not writing.is_alive()
    wait_until(lambda: len(first_times(receiver.records())) >= WRITES, SECONDS, "all events")
    wait_until(lambda: state(cluster, target)["waiting"] == 0, SECONDS, "an empty queue")
    records = receiver.records()
    assert first_times(records) == [(key, "ObjectCreated:Put") for key in keys]
    sequencers = dict.fromkeys(one["s3"]["object"]["sequencer"] for one in records)
    assert list(sequencers) == sorted(sequencers)
    # A write whose answer was lost for longer than a proxy waits is asked for again, and may be made twice.
    with Person(cluster) as person:
        changes = person.ask("GET", "/changes", params={"cursor": "0", "bucket": bucket}).json()["changes"]
    writes = [change for change in changes if change["kind"] == "write"]
    assert len(sequencers) == len(writes) >= WRITES, "an event that is told again has its own number again"
    assert all("X-Lockstep-Signature" in one.headers for one in receiver.taken)


def test_a_target_that_is_down_gets_everything_when_it_is_back(
    cluster: ClusterHarness, receiver: WebhookReceiver, tmp_path: Path
) -> None:
    """Nothing waits for it meanwhile: writes go on, and so does another target; people see what is wrong."""
    other = WebhookReceiver(tmp_path / "other")
    try:
        bucket, target = tell(cluster, receiver)
        bucket_of_other, _ = tell(cluster, other)
        wait_until(lambda: receiver.taken, SECONDS, "the test message")
        receiver.stop()
        keys = [f"file-{number}" for number in range(5)]
        with Person(cluster) as person:
            for key in keys:
                person.put(key, b"content", bucket)
            person.put("told", b"content", bucket_of_other)
        wait_until(lambda: first_times(other.records()), SECONDS, "the other target's event")
        lagging = wait_until(lambda: (found := state(cluster, target))["problem"] and found, SECONDS, "a problem")
        assert (lagging["waiting"], lagging["dropped"]) == (5, 0)
        shown = lockstep(cluster, "status").stdout
        assert f"notification target {target} has 5 messages waiting" in shown, shown
        assert lockstep(cluster, "targets", "test", target).returncode == 7
        receiver.stalls = 6.0  # longer than other calls between programs may take
        receiver.start()
        # Asked again where the machine stands still besides, and makes it too long.
        wait_until(
            lambda: lockstep(cluster, "targets", "test", target).returncode == 0, SECONDS, "a message that is taken"
        )
        receiver.stalls = 0.0
        wait_until(lambda: len(first_times(receiver.records())) == 5, SECONDS, "what waited")
        assert first_times(receiver.records()) == [(key, "ObjectCreated:Put") for key in keys]
        refused = lockstep(cluster, "targets", "remove", target)
        assert (refused.returncode, bucket in refused.stderr) == (6, True)
    finally:
        other.stop()
