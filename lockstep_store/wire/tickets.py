"""Write tickets: the directory signs one so that file servers accept one particular write.

A ticket is ``base64url(json) "." base64url(mac)``, where the MAC is keyed BLAKE3-256. The directory generates the key
and gives it only to registered file servers: a proxy carries tickets, but can neither create nor alter one.
"""

from __future__ import annotations

import base64
import binascii
import hmac

from blake3 import blake3

from lockstep_store.wire.codec import decoder, encode
from lockstep_store.wire.errors import BadRequest, TicketRefused
from lockstep_store.wire.messages.base import Message
from lockstep_store.wire.messages.writes import WriteTicket

TICKET_KEY_BYTES = 32
_PREFIX = b"lockstep ticket v1\0"
_KEY_ID_PREFIX = b"lockstep ticket key id v1\0"
_decoder = decoder(WriteTicket)


class TicketSigner:
    """Signs and verifies tickets with one key of 32 bytes."""

    def __init__(self, key: bytes) -> None:
        if len(key) != TICKET_KEY_BYTES:
            raise ValueError(f"a ticket key must have {TICKET_KEY_BYTES} bytes")
        self._key = key

    @property
    def key_id(self) -> str:
        """Identifies this key without revealing it."""
        return blake3(_KEY_ID_PREFIX, key=self._key).hexdigest(8)

    def sign(self, ticket: WriteTicket) -> str:
        """Return the signed ticket as text for a header."""
        body = encode(ticket)
        return f"{_b64(body)}.{_b64(self._mac(body))}"

    def verify(self, text: str, directory_time: float) -> WriteTicket:
        """Return the ticket in `text`; TicketRefused when it is damaged, altered, or expired at `directory_time`."""
        try:
            encoded_body, encoded_mac = text.split(".")
            body, mac = _unb64(encoded_body), _unb64(encoded_mac)
        except (ValueError, binascii.Error):
            raise TicketRefused("the write ticket is damaged; begin the write again") from None
        if not hmac.compare_digest(mac, self._mac(body)):
            raise TicketRefused("the write ticket was altered, or another cluster signed it")
        try:
            ticket = _decoder.decode(body)
        except (ValueError, BadRequest):
            raise TicketRefused("the write ticket is from another version of Lockstep; begin the write again") from None
        if directory_time > ticket.expires:
            raise TicketRefused("the write ticket has expired; begin the write again", expired=True)
        return ticket

    def _mac(self, body: bytes) -> bytes:
        return blake3(_PREFIX + body, key=self._key).digest()

    def __repr__(self) -> str:
        return "TicketSigner(…)"


class _WriteIdOnly(Message):
    write_id: str


_write_id_decoder = decoder(_WriteIdOnly)


def unchecked_write_id(text: str) -> str:
    """Return the write id in a ticket that was already verified; TicketRefused when it has none."""
    try:
        return _write_id_decoder.decode(_unb64(text.partition(".")[0])).write_id
    except (ValueError, binascii.Error) as error:
        raise TicketRefused("the write ticket is damaged; begin the write again") from error


def _b64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def _unb64(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
