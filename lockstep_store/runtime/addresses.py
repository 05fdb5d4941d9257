"""Network addresses of clients, and which of them count as one client."""

from __future__ import annotations

import ipaddress
from functools import lru_cache

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_IPV6_BITS = 64
"""One household or machine has at least so many addresses, so counting each by itself would limit nothing."""


@lru_cache(maxsize=4096)
def counted_as(address: str) -> str:
    """Return what a client at `address` is counted under: an IPv4 address, or the /64 of an IPv6 address.

    Text that is no address is returned as it is.
    """
    parsed = parse_address(address)
    if parsed is None:
        return address
    if isinstance(parsed, ipaddress.IPv6Address):
        return str(ipaddress.ip_network((parsed, _IPV6_BITS), strict=False))
    return str(parsed)


def parse_address(text: str) -> Address | None:
    """Return an address, without the port that some proxies report with it; None for other text.

    An IPv4 address that is written as IPv6 is returned as IPv4.
    """
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address
