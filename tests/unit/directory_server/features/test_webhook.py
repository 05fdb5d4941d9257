"""Sending to a webhook on a real socket: what it gets, and everything that counts as not delivered."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from directory_server.features.notifications import webhook
from directory_server.features.notifications.addresses import Destination, WebhookAddress, parse
from directory_server.features.notifications.sending import NotDelivered, Outgoing
from directory_server.features.notifications.webhook import Webhook
from lockstep_store.runtime.tls.trusted_cas import tls_context
from lockstep_store.wire.errors import BadRequest
from tests.fakes.webhook_receiver import WebhookReceiver

MakeSender = Callable[..., Webhook]
MESSAGE = Outgoing("17", b'{"Records": []}')


@pytest.fixture(scope="module")
def certs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("receiver")


@pytest.fixture
def receiver(certs: Path) -> Iterator[WebhookReceiver]:
    made = WebhookReceiver(certs)
    yield made
    made.stop()


@pytest.fixture
def sender(receiver: WebhookReceiver) -> Iterator[MakeSender]:
    """Makes senders to the receiver; what they keep open is closed after the test."""
    made = []

    def make(*, trusted: bool = True, **more: str) -> Webhook:
        ca_pem = receiver.ca_file.read_text() if trusted else ""
        destination = Destination(receiver.url + "/hook?a=b", ca_pem=ca_pem, **more)
        address = parse(destination)
        assert isinstance(address, WebhookAddress)
        made.append(Webhook(destination, address, lambda: 1_800_000_000.9))
        return made[-1]

    yield make
    for one in made:
        one.rest()


def test_a_message_is_one_post_with_its_id(receiver: WebhookReceiver, sender: MakeSender) -> None:
    """As JSON, at the address with its query, with the token; unsigned without a secret."""
    sender(token="t0ken").send(MESSAGE)
    (got,) = receiver.taken
    assert (got.path, got.body) == ("/hook?a=b", MESSAGE.body)
    assert got.headers["Content-Type"] == "application/json"
    assert got.headers["Authorization"] == "Bearer t0ken"
    assert got.headers["Host"] == receiver.url.removeprefix("https://")
    assert got.headers["X-Lockstep-Message-Id"] == "17"
    assert "X-Lockstep-Signature" not in got.headers


def test_a_secret_signs_the_time_and_the_body(receiver: WebhookReceiver, sender: MakeSender) -> None:
    """HMAC-SHA256, which the receiver can make too."""
    sender(secret="gehe%im").send(MESSAGE)
    headers = receiver.taken[0].headers
    assert headers["X-Lockstep-Timestamp"] == "1800000000"
    expected = hmac.new(b"gehe%im", b"1800000000." + MESSAGE.body, hashlib.sha256).hexdigest()
    assert headers["X-Lockstep-Signature"] == f"v1={expected}"
    assert "Authorization" not in headers


@pytest.mark.parametrize("status", [302, 307, 400, 404, 429, 500, 503])
def test_only_the_2xx_family_takes_a_message(receiver: WebhookReceiver, sender: MakeSender, status: int) -> None:
    """A redirect is not followed."""
    hook = sender()
    receiver.status = status
    with pytest.raises(NotDelivered, match=str(status)) as refused:
        hook.send(MESSAGE)
    assert refused.value.permanent is (status in (302, 307, 400, 404)), "429 and 5xx may be taken later"
    assert receiver.asked == 1
    receiver.status = 200
    hook.send(MESSAGE)
    assert len(receiver.taken) == 1


def test_a_certificate_that_is_not_trusted_gets_nothing(receiver: WebhookReceiver, sender: MakeSender) -> None:
    """Without the receiver's authority nothing is sent; a CA file that is none is refused."""
    with pytest.raises(NotDelivered, match="not trusted") as refused:
        sender(trusted=False).send(MESSAGE)
    assert refused.value.permanent
    assert receiver.asked == 0
    with pytest.raises(BadRequest, match="PEM"):
        tls_context("no certificate")


def test_a_ca_file_may_say_in_any_language_whose_it_is(receiver: WebhookReceiver) -> None:
    """Bundles have remarks between their certificates; what has no certificate at all is refused."""
    pem = receiver.ca_file.read_text()
    before = len(tls_context("").get_ca_certs())
    assert len(tls_context(f"# Zertifizierungsstelle für alle\n{pem}").get_ca_certs()) == before + 1
    with pytest.raises(BadRequest, match="PEM"):
        tls_context("\u202e")


def test_a_connection_that_was_kept_for_too_long_is_made_anew(receiver: WebhookReceiver, sender: MakeSender) -> None:
    """Once; a receiver that always cuts does not have the message."""
    hook = sender()
    hook.send(MESSAGE)
    receiver.cuts = 1
    hook.send(MESSAGE)
    assert len(receiver.taken) == 2
    receiver.cuts = 2
    with pytest.raises(NotDelivered):
        hook.send(MESSAGE)
    receiver.cuts = 0
    hook.rest()
    hook.send(MESSAGE)


def test_one_that_does_not_answer_or_is_away_is_not_waited_for(
    receiver: WebhookReceiver, sender: MakeSender, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each attempt has an end."""
    monkeypatch.setattr(webhook, "ANSWER_SECONDS", 0.2)
    receiver.stalls = 10.0
    with pytest.raises(NotDelivered, match="within") as late:
        sender().send(MESSAGE)
    receiver.stop()
    with pytest.raises(NotDelivered, match="refused") as away:
        sender().send(MESSAGE)
    assert not late.value.permanent
    assert not away.value.permanent
