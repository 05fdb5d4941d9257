"""Which addresses count as one client."""

from __future__ import annotations

import pytest

from lockstep_store.runtime.addresses import counted_as


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("203.0.113.9", "203.0.113.9"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2:ffff::1", "2001:db8:1:2::/64"),
        ("2001:db8:1:3::1", "2001:db8:1:3::/64"),
        ("::ffff:203.0.113.9", "203.0.113.9"),
        ("[2001:db8:1:2::1]:4711", "2001:db8:1:2::/64"),
        ("no address", "no address"),
        ("", ""),
    ],
)
def test_an_ipv6_address_counts_as_its_64_bit_network(address: str, expected: str) -> None:
    """An IPv6 network of 64 bits has one count, and so has an IPv4 address, however it is written."""
    assert counted_as(address) == expected
