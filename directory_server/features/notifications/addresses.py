"""Parses and checks target addresses. Sends nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal
from urllib.parse import parse_qsl, unquote, urlsplit

import msgspec

from lockstep_store.wire.errors import BadRequest

MAX_SHORT_STRING = 255
"""The longest name in AMQP, in bytes."""
_PORTS = {"http": 80, "https": 443, "amqp": 5672, "amqps": 5671}
_EXAMPLES = "https://HOST/PATH or amqps://USER:PASSWORD@HOST/VHOST?exchange=NAME&routing_key=KEY"


class Destination(msgspec.Struct, frozen=True, omit_defaults=True):
    """Everything that delivery needs to know about a target; stored sealed."""

    url: str
    secret: str = ""
    token: str = ""
    ca_pem: str = ""

    def __repr__(self) -> str:
        return "Destination()"


@dataclass(frozen=True)
class WebhookAddress:
    tls: bool
    host: str
    port: int
    resource: str
    """Path and query, as in the request line."""

    kind: Literal["webhook"] = "webhook"

    @property
    def shown(self) -> str:
        return f"{'https' if self.tls else 'http'}://{_authority(self)}{self.resource}"

    @property
    def authority(self) -> str:
        """The Host header's value."""
        return _authority(self)


@dataclass(frozen=True)
class AmqpAddress:
    tls: bool
    host: str
    port: int
    virtual_host: str
    exchange: str
    routing_key: str
    user: str
    password: str

    kind: Literal["amqp"] = "amqp"

    def __repr__(self) -> str:
        return f"AmqpAddress({self.shown!r})"

    @property
    def shown(self) -> str:
        """The address without its password."""
        where = f"{'amqps' if self.tls else 'amqp'}://{self.user}@{_authority(self)}"
        return f"{where} vhost {self.virtual_host!r} exchange {self.exchange!r} routing key {self.routing_key!r}"


Address = WebhookAddress | AmqpAddress


def parse(destination: Destination) -> Address:
    """Parse an address. BadRequest, without any password, for one that cannot be used."""
    try:
        parts = urlsplit(destination.url)
        port = parts.port
    except ValueError as error:
        raise _bad("it cannot be parsed") from error
    if parts.scheme not in _PORTS:
        raise _bad("it must begin with https, http, amqps or amqp")
    if not parts.hostname or not destination.url.isascii() or not destination.url.isprintable() or port == 0:
        raise _bad("it needs a host, and only ASCII characters (write others as %XX)")
    try:
        parts.hostname.encode("idna")  # what a look-up of the name does first
    except UnicodeError as error:
        raise _bad("a label of its host name is empty or longer than 63 characters") from error
    if " " in destination.url or parts.fragment:
        raise _bad("it must not contain spaces or a fragment (#…)")
    tls = parts.scheme in ("https", "amqps")
    if destination.ca_pem and not tls:
        raise BadRequest("a CA file is only for https and amqps addresses: without TLS nothing is verified")
    port = port or _PORTS[parts.scheme]
    if parts.scheme in ("http", "https"):
        if parts.username is not None or parts.password is not None:
            raise _bad("a webhook's address must not contain a user; give a token instead")
        if not destination.token.isascii() or not destination.token.isprintable():
            raise BadRequest("a token is sent in a header, so it may contain only printable ASCII characters")
        resource = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        return WebhookAddress(tls, parts.hostname, port, resource)
    if destination.secret or destination.token:
        raise BadRequest(
            "secrets and tokens are only for webhooks; an AMQP broker's user and password go in its address"
        )
    exchange, routing_key = _where_to(parts.query)
    # As the URI specification of the best-known broker has it, except that no path means "/", too.
    virtual_host = unquote(parts.path[1:]) or "/"
    user, password = unquote(parts.username or "guest"), unquote(parts.password or "guest")
    for text in (virtual_host, exchange, routing_key, user):
        if len(text.encode("utf-8", "surrogateescape")) > MAX_SHORT_STRING:
            raise _bad(f"a name in it has more than {MAX_SHORT_STRING} bytes")
    return AmqpAddress(tls, parts.hostname, port, virtual_host, exchange, routing_key, user, password)


def _where_to(query: str) -> tuple[str, str]:
    pairs = parse_qsl(query, keep_blank_values=True)
    names = [name for name, _ in pairs]
    if set(names) - {"exchange", "routing_key"} or len(set(names)) < len(names):
        raise _bad("after the ? it may have only exchange and routing_key, once each")
    values = dict(pairs)
    exchange, routing_key = values.get("exchange", ""), values.get("routing_key", "")
    if not exchange and not routing_key:
        raise _bad("it needs an exchange, or a queue's name as its routing_key")
    return exchange, routing_key


def _authority(address: WebhookAddress | AmqpAddress) -> str:
    host = f"[{address.host}]" if ":" in address.host else address.host
    usual = _PORTS[("https" if address.tls else "http") if address.kind == "webhook" else "amqps"]
    return host if address.port == usual else f"{host}:{address.port}"


def _bad(why: str) -> BadRequest:
    return BadRequest(f"invalid target address: {why}; use {_EXAMPLES}")
