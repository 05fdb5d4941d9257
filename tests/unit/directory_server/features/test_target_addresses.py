"""Addresses of notification targets: what they mean, and what is refused without showing a password."""

from __future__ import annotations

import pytest

from directory_server.features.notifications.addresses import AmqpAddress, Destination, WebhookAddress, parse
from lockstep_store.wire.errors import BadRequest


def parsed(url: str, **more: str) -> WebhookAddress | AmqpAddress:
    return parse(Destination(url, **more))


def test_a_webhook_has_a_host_a_port_and_a_resource() -> None:
    """The port of its scheme unless it is said; the query belongs to what is asked for."""
    assert parsed("https://hooks.test/a/b?c=d") == WebhookAddress(True, "hooks.test", 443, "/a/b?c=d")
    assert parsed("http://[::1]:8080") == WebhookAddress(False, "::1", 8080, "/")
    assert parsed("https://hooks.test/a").shown == "https://hooks.test/a"
    assert parsed("http://[::1]:8080").shown == "http://[::1]:8080/"


def test_a_broker_has_a_virtual_host_an_exchange_a_key_and_a_user() -> None:
    """Percent signs are read; what is left out is what brokers take for it."""
    address = parsed("amqps://us%65r:p%40ss@mq.test/v%2Fh?exchange=events&routing_key=a.b")
    assert address == AmqpAddress(True, "mq.test", 5671, "v/h", "events", "a.b", "user", "p@ss")
    plain = parsed("amqp://mq.test:5673?routing_key=queue")
    assert plain == AmqpAddress(False, "mq.test", 5673, "/", "", "queue", "guest", "guest")
    assert "p@ss" not in address.shown + repr(address)
    assert "mq.test" in address.shown


@pytest.mark.parametrize(
    "url",
    [
        "ftp://host/",
        "hooks.test/a",
        "https://",
        "https://host:0/",
        "https://host:99999/",
        "https://user:password@host/",
        "https://host/a b",
        "https://host/\nHost: other",
        "https://host/#part",
        "https://höst/",
        "https://[::1/",
        "https://hooks..test/",
        f"https://{'a' * 64}.test/",
        "amqp://user:password@host/",
        "amqp://user:password@host/?exchange=a&exchange=b",
        "amqp://user:password@host/?exchange=a&heartbeat=0",
        f"amqp://user:password@host/?exchange={'a' * 256}",
    ],
)
def test_an_address_that_cannot_be_used_is_refused(url: str) -> None:
    """With what is wrong, and never with the password."""
    with pytest.raises(BadRequest) as refused:
        parsed(url)
    assert "password" not in str(refused.value).replace("PASSWORD", "").replace("the password", "")


@pytest.mark.parametrize("token", ["secret-token\n", "secret-token\r\nHost: other", "secret-t€ken"])
def test_a_token_that_no_header_can_have_is_refused(token: str) -> None:
    """When it is named, without showing it: each message would fail otherwise, and nobody could tell why."""
    with pytest.raises(BadRequest, match="token") as refused:
        parsed("https://hooks.test/", token=token)
    assert "secret" not in str(refused.value)


def test_what_belongs_to_the_other_kind_is_refused() -> None:
    """Secrets and tokens are for webhooks, authorities for TLS."""
    for more in ({"secret": "s"}, {"token": "t"}):
        with pytest.raises(BadRequest, match="webhooks"):
            parsed("amqp://host/?routing_key=q", **more)
    with pytest.raises(BadRequest, match="TLS"):
        parsed("http://host/", ca_pem="x")
