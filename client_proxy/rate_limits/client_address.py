"""Client addresses: which counts as whose, and what they are behind a trusted reverse proxy."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Sequence
from functools import lru_cache

from lockstep_store.runtime.http.admission import remote_address
from lockstep_store.runtime.http.api import Environ, StartResponse, Wsgi
from lockstep_store.runtime.http.exchange import EXCHANGE

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_IPV6_BITS = 64
"""One household or machine has at least so many addresses, so counting each by itself would limit nothing."""


@lru_cache(maxsize=4096)
def counted_as(address: str) -> str:
    """The address whose count a request of `address` is: an IPv4 address, or the /64 of an IPv6 address."""
    parsed = _parse(address)
    if parsed is None:
        return address
    if isinstance(parsed, ipaddress.IPv6Address):
        return str(ipaddress.ip_network((parsed, _IPV6_BITS), strict=False))
    return str(parsed)


class ForwardedAddress:
    """A WSGI application in front of another one: shows it the client's address that a trusted proxy reports.

    The client is the last address in `X-Forwarded-For` that is not of a trusted proxy itself. Addresses to its left
    were sent by the client, which can send what it likes. A request that does not come from a trusted proxy keeps its
    own address, and its header counts for nothing.
    """

    def __init__(self, inner: Wsgi, trusted: Sequence[Network]) -> None:
        self._inner = inner
        self._trusted = trusted

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        reported = environ.get("HTTP_X_FORWARDED_FOR", "")
        if reported and self._trusts(_parse(remote_address(environ))):
            client = self._client(reported)
            if client is not None:
                environ["REMOTE_ADDR"] = str(client)
                exchange = environ.get(EXCHANGE)
                if exchange is not None:  # places and bytes are counted for the same client
                    exchange.wait.client = str(client)
        return self._inner(environ, start_response)

    def _client(self, reported: str) -> Address | None:
        client: Address | None = None
        for text in reversed(reported.split(",")):
            address = _parse(text.strip())
            if address is None:
                break
            client = address
            if not self._trusts(address):
                break
        return client

    def _trusts(self, address: Address | None) -> bool:
        return address is not None and any(address in network for network in self._trusted)


def _parse(text: str) -> Address | None:
    """An address, possibly with a port as some proxies report it; an IPv4 address that is written as IPv6 is one."""
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address
