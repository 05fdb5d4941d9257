from __future__ import annotations

import ipaddress
from types import SimpleNamespace
from typing import Any

import pytest

from client_proxy.rate_limits.client_address import ForwardedAddress
from lockstep_store.runtime.http.exchange import EXCHANGE


def shown(peer: str, header: str | None, *trusted: str) -> tuple[str, Any]:
    """The address that the inner application sees, and the client of its exchange."""
    exchange = SimpleNamespace(wait=SimpleNamespace(client=peer))
    environ: dict[str, Any] = {"REMOTE_ADDR": peer, EXCHANGE: exchange}
    if header is not None:
        environ["HTTP_X_FORWARDED_FOR"] = header
    seen: list[str] = []

    def inner(environ: dict[str, Any], _: Any) -> list[bytes]:
        seen.append(environ["REMOTE_ADDR"])
        return []

    ForwardedAddress(inner, [ipaddress.ip_network(each) for each in trusted])(environ, lambda *_: None)
    return seen[0], exchange.wait.client


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("203.0.113.9", "203.0.113.9"),
        ("198.51.100.1, 203.0.113.9", "203.0.113.9"),
        ("198.51.100.1, 203.0.113.9, 10.0.0.8", "203.0.113.9"),
        ("203.0.113.9:4711", "203.0.113.9"),
        ("[2001:db8::1]:4711", "2001:db8::1"),
        ("10.0.0.8", "10.0.0.8"),
        ("nonsense", "10.0.0.7"),
        ("nonsense, 203.0.113.9", "203.0.113.9"),
        ("203.0.113.9, nonsense", "10.0.0.7"),
        ("", "10.0.0.7"),
    ],
)
def test_a_trusted_proxys_last_foreign_address_is_the_clients(header: str, expected: str) -> None:
    """Addresses that the client itself put to the left count for nothing, and places are counted for the same one."""
    assert shown("10.0.0.7", header, "10.0.0.0/8") == (expected, expected)


def test_the_header_of_anybody_else_counts_for_nothing() -> None:
    """A client cannot choose its address, with or without trusted proxies elsewhere."""
    assert shown("203.0.113.9", "198.51.100.1", "10.0.0.0/8")[0] == "203.0.113.9"
    assert shown("203.0.113.9", "198.51.100.1")[0] == "203.0.113.9"
