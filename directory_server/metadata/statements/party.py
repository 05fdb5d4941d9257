"""The party that holds a lock or waits for one."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Party:
    """A waiter or holder: a named client of an account, or a log-in session if the client has no name.

    The threads of one client are one party, so one of them may wait for another.
    """

    account: str
    client: str = ""
    session: str = ""

    @property
    def key(self) -> str:
        """Identifies the party: equal for rows of the same one."""
        return f"{self.account}\0{self.client}" if self.client else f"{self.account}\0\0{self.session}"

    def __str__(self) -> str:
        return f"{self.account} ({self.client})" if self.client else self.account
