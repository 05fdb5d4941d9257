"""The client's address behind a trusted reverse proxy."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from lockstep_store.runtime.addresses import Address, Network, parse_address
from lockstep_store.runtime.http.admission import remote_address
from lockstep_store.runtime.http.api import Environ, StartResponse, Wsgi
from lockstep_store.runtime.http.exchange import EXCHANGE


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
        if reported and self._trusts(parse_address(remote_address(environ))):
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
            address = parse_address(text.strip())
            if address is None:
                break
            client = address
            if not self._trusts(address):
                break
        return client

    def _trusts(self, address: Address | None) -> bool:
        return address is not None and any(address in network for network in self._trusted)
