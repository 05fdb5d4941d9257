"""Notifications to a real AMQP broker: what it gets, and everything that counts as not delivered."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator

import pytest

from directory_server.features.notifications import amqp
from directory_server.features.notifications.addresses import AmqpAddress, Destination, parse
from directory_server.features.notifications.amqp import AmqpPublisher
from directory_server.features.notifications.sending import NotDelivered, Outgoing
from tests.cluster.amqp_broker import Broker
from tests.cluster.cluster_command import lockstep
from tests.cluster.cluster_harness import ClusterHarness
from tests.cluster.people import Person
from tests.cluster.test_backup import json_of
from tests.s3.protocol.test_real_clients import boto3_client
from tests.waiting import wait_until

MESSAGE = Outgoing("17", b'{"Records": []}')


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    made = Broker(tmp_path_factory.mktemp("broker"))
    try:
        made.start()
        yield made
    finally:
        made.stop()


def publisher(url: str, ca_pem: str = "") -> AmqpPublisher:
    destination = Destination(url, ca_pem=ca_pem)
    address = parse(destination)
    assert isinstance(address, AmqpAddress)
    return AmqpPublisher(destination, address)


def refused(sender: AmqpPublisher) -> str:
    """Why a message is not delivered."""
    with pytest.raises(NotDelivered) as error:
        sender.send(MESSAGE)
    sender.rest()
    return str(error.value)


def test_a_message_is_persistent_and_has_its_id(broker: Broker) -> None:
    """Over TLS with the broker's authority; a connection serves many messages."""
    with broker.channel() as channel:
        channel.exchange_declare("events", "topic", durable=True)
        channel.queue_declare("all", durable=True)
        channel.queue_bind("all", "events", "files.#")
        place = f"amqps://guest:guest@127.0.0.1:{broker.tls_port}/%2F?exchange=events&routing_key=files.a"
        sender = publisher(place, broker.ca_file.read_text())
        for _ in range(3):
            sender.send(MESSAGE)
        sender.rest()
        for _ in range(3):
            method, properties, body = channel.basic_get("all", auto_ack=True)
            assert method.routing_key == "files.a"
            assert body == MESSAGE.body
            assert (properties.message_id, properties.delivery_mode) == ("17", 2)
            assert properties.content_type == "application/json"
        assert channel.basic_get("all")[0] is None


def test_what_the_broker_would_lose_or_refuse_is_not_delivered(broker: Broker) -> None:
    """Without a queue, without an exchange, with a full queue, and for a user it does not know."""
    at = f"127.0.0.1:{broker.port}"
    with broker.channel() as channel:
        channel.exchange_declare("nowhere", "fanout")
        channel.queue_declare("full", arguments={"x-max-length": 1, "x-overflow": "reject-publish"})
        full = publisher(f"amqp://{at}?routing_key=full")
        full.send(MESSAGE)
        assert "did not accept the message" in refused(full)
    assert "no queue" in refused(publisher(f"amqp://{at}?exchange=nowhere&routing_key=a"))
    assert "no queue" in refused(publisher(f"amqp://{at}?routing_key=nobody"))
    assert "404" in refused(publisher(f"amqp://{at}?exchange=missing"))
    assert "password" in refused(publisher(f"amqp://guest:wrong@{at}?routing_key=full"))
    assert "virtual host" in refused(publisher(f"amqp://{at}/other?routing_key=full"))
    untrusted = publisher(f"amqps://127.0.0.1:{broker.tls_port}?routing_key=full")
    assert "not trusted" in refused(untrusted)


def test_one_that_does_not_answer_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever it is that listens there; and when nothing does, it says so."""
    monkeypatch.setattr(amqp, "ANSWER_SECONDS", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        assert "within" in refused(publisher(f"amqp://127.0.0.1:{port}?routing_key=a"))
    assert "refused" in refused(publisher(f"amqp://127.0.0.1:{port}?routing_key=a"))


def test_changes_reach_a_queue_also_when_the_broker_was_away(
    broker: Broker, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Set up as people do it; what happens while the broker is stopped is in the queue when it is back."""
    with broker.channel() as channel:
        channel.queue_declare("changes", durable=True)
    url = f"amqps://guest:guest@127.0.0.1:{broker.tls_port}/?routing_key=changes"
    with ClusterHarness(tmp_path_factory.mktemp("amqp"), file_servers=2, proxies=1) as cluster:
        added = lockstep(cluster, "targets", "add", "queue", url, "--target-ca", broker.ca_file, "--json")
        assert "guest:guest" not in json_of(added)["url"]
        s3 = boto3_client(cluster)
        s3.create_bucket(Bucket="told")
        queue = {"QueueArn": "arn:aws:sqs:us-east-1:1:queue", "Events": ["s3:ObjectCreated:*"]}
        s3.put_bucket_notification_configuration(
            Bucket="told", NotificationConfiguration={"QueueConfigurations": [queue]}
        )
        s3.close()
        with Person(cluster) as person:
            person.put("before", b"content", "told")
            wait_until(lambda: json_of(lockstep(cluster, "targets", "list", "--json"))["targets"][0]["delivered"] >= 2)
            broker.stop()
            person.put("meanwhile", b"content", "told")
        broker.start()
        seen: list[str] = []
        with broker.channel() as channel:

            def all_there() -> bool:
                method, properties, body = channel.basic_get("changes", auto_ack=True)
                if method is not None:
                    message = json.loads(body)
                    assert properties.message_id
                    seen.extend(one["s3"]["object"]["key"] for one in message.get("Records", ()))
                return seen[-1:] == ["meanwhile"]

            wait_until(all_there, 90.0, "the event of the time without a broker")
        assert list(dict.fromkeys(seen)) == ["before", "meanwhile"]
