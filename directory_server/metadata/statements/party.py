"""Who holds a lock or waits for one, as its columns say."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Party:
    """A waiter or holder: one named client of an account, or one log-in session when the client has no name.

    The threads of one client are one party, so one of them may wait for another.
    """

    account: str
    client: str = ""
    session: str = ""

    @property
    def key(self) -> str:
        """Equal for everything that counts as the same party."""
        return f"{self.account}\0{self.client}" if self.client else f"{self.account}\0\0{self.session}"

    def __str__(self) -> str:
        return f"{self.account} ({self.client})" if self.client else self.account
