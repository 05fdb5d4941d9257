"""Tickets cannot be altered, outlive their time, or be made without the key."""

from __future__ import annotations

import base64

import pytest

from lockstep_store.wire.errors import TicketRefused
from lockstep_store.wire.messages.files import Holder
from lockstep_store.wire.messages.writes import WriteTicket
from lockstep_store.wire.tickets import TicketSigner, unchecked_write_id

KEY = bytes(range(32))
TICKET = WriteTicket(
    write_id="w" * 16,
    bucket="files",
    path="notes/é.txt",
    author="ada",
    fence=4,
    lock_number=4,
    release_lock=False,
    master=Holder("1", "https://a:1"),
    replicas=[Holder("2", "https://b:1")],
    spares=[],
    copies=2,
    expires=100.0,
)


def test_a_ticket_comes_back_as_it_was_signed() -> None:
    """What the directory signed is what a file server reads, up to the last moment of its life."""
    signer = TicketSigner(KEY)
    assert signer.verify(signer.sign(TICKET), 100.0) == TICKET


def test_an_expired_ticket_is_refused_by_directory_time() -> None:
    """After its time a ticket is worth nothing, and the refusal says so."""
    signer = TicketSigner(KEY)
    with pytest.raises(TicketRefused) as caught:
        signer.verify(signer.sign(TICKET), 100.001)
    assert caught.value.facts == {"expired": True}


def test_every_altered_character_is_refused() -> None:
    """Changing any single character of a ticket makes it invalid."""
    signer = TicketSigner(KEY)
    text = signer.sign(TICKET)
    for index, character in enumerate(text[:-1]):
        altered = text[:index] + ("A" if character != "A" else "B") + text[index + 1 :]
        with pytest.raises(TicketRefused):
            signer.verify(altered, 0.0)


@pytest.mark.parametrize("text", ["", ".", "a.b.c", "🦊", "AAAA", "AAAA.AAAA"])
def test_garbage_is_refused(text: str) -> None:
    """Anything that is not a ticket is refused as one."""
    with pytest.raises(TicketRefused):
        TicketSigner(KEY).verify(text, 0.0)


def test_another_key_signs_nothing_here() -> None:
    """A ticket of another cluster is refused."""
    with pytest.raises(TicketRefused):
        TicketSigner(KEY).verify(TicketSigner(bytes(32)).sign(TICKET), 0.0)


def test_the_key_stays_out_of_repr() -> None:
    """Printing a signer shows no secret."""
    assert KEY.hex() not in repr(TicketSigner(KEY))
    assert repr(KEY) not in repr(TicketSigner(KEY))


def test_a_signed_text_that_is_no_ticket_is_refused() -> None:
    """Such as one of a later version; and the write id is only looked for in what could be a ticket."""
    signer = TicketSigner(KEY)
    for body in (b"", b"{}", b"[1]", b"\xff", b'{"write_id": 1}'):
        text = f"{encoded(body)}.{encoded(signer._mac(body))}"
        with pytest.raises(TicketRefused, match="another version"):
            signer.verify(text, 0.0)
        with pytest.raises(TicketRefused, match="damaged"):
            unchecked_write_id(text)


def encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")
