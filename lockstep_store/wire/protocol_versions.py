"""The version of the protocol between programs, and which versions work together.

A release that changes messages so that an older program cannot work with it raises PROTOCOL, and also OLDEST when it no
longer serves that program. Members with a default value need neither: older programs leave them out and ignore them.
Programs exchange both numbers when a file server registers and with each heartbeat of a proxy. Releases from before the
exchange send none and speak version 1.
"""

from __future__ import annotations

PROTOCOL = 1
"""What this release speaks."""
OLDEST = 1
"""The oldest version that it still works with."""
FIRST = 1
"""What a program speaks that says nothing."""


def why_not(their_name: str, protocol: int, oldest: int, own_name: str) -> str:
    """Return why a program that speaks `protocol`, and works with `oldest` and later, cannot work with this one, and
    what to do; empty if they work together."""
    if protocol < OLDEST:
        return (
            f"{their_name} speaks version {protocol} of the protocol, but {own_name} works with versions {OLDEST} to "
            f"{PROTOCOL}: upgrade {their_name}"
        )
    if oldest > PROTOCOL:
        return (
            f"{their_name} works with version {oldest} of the protocol or later, but {own_name} speaks version "
            f"{PROTOCOL}: upgrade {own_name}"
        )
    return ""
