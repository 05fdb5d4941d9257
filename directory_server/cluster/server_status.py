"""The state of one file server, as the rules of copies use it."""

from __future__ import annotations

from dataclasses import dataclass

from lockstep_store.wire.messages.files import Holder


@dataclass(frozen=True)
class ServerStatus:
    """What repair may expect of a file server now."""

    id: str
    url: str
    zone: str = ""
    room_bytes: int = 0
    """Its space for chunks, used and free."""
    heard: bool = True
    """It is up, or has not been down for longer than the grace."""
    leaving: bool = False
    """It is draining: its copies are good, but do not count."""
    readable: bool = True
    """It is believed to answer now."""
    writable: bool = True
    """It takes new bytes now: up, healthy, not draining, with room."""
    solid: bool = True
    """Up and healthy."""
    inventoried: bool = True
    """It has named everything it holds since it registered: with an older disk it has less than is counted here."""

    @property
    def counts(self) -> bool:
        """Whether its copies count towards the promised number."""
        return self.heard and not self.leaving

    @property
    def reliable(self) -> bool:
        """Whether another copy may be dropped because this server has one."""
        return self.solid and self.inventoried and not self.leaving

    @property
    def holder(self) -> Holder:
        return Holder(self.id, self.url, self.readable)
