"""Refuses programs of releases that cannot work with this directory."""

from __future__ import annotations

from typing import Protocol

from lockstep_store.wire import protocol_versions
from lockstep_store.wire.errors import Conflict


class Versioned(Protocol):
    """A message with the versions of the protocol that its sender works with."""

    protocol: int
    oldest_protocol: int
    version: str


def refuse_other_protocols(name: str, request: Versioned) -> None:
    """Raise Conflict, with the fact `incompatible`, if the program and this directory cannot work together."""
    named = f"{name} ({request.version or 'of an unknown version'})"
    why = protocol_versions.why_not(named, request.protocol, request.oldest_protocol, "this directory server")
    if why:
        raise Conflict(why, incompatible=True)
