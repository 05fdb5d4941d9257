"""A target that keeps what it is sent, and can be switched to refuse."""

from __future__ import annotations

import json
from typing import Any

from directory_server.features.notifications.sending import NotDelivered, Outgoing


class KeepingTarget:
    """Stands in for a webhook or a broker; `refuse` is the reason for which it takes nothing."""

    def __init__(self) -> None:
        self.taken: list[tuple[str, Any]] = []
        self.attempts = 0
        self.refuse = ""
        self.takes = 1 << 30
        """How many more messages it takes before it refuses."""
        self.rests = 0

    def send(self, message: Outgoing) -> None:
        self.attempts += 1
        if self.refuse or self.takes <= 0:
            raise NotDelivered(self.refuse or "it has enough")
        self.takes -= 1
        self.taken.append((message.id, json.loads(message.body)))

    def rest(self) -> None:
        self.rests += 1

    def records(self) -> list[dict[str, Any]]:
        """The event records so far, without test messages; they are forgotten here."""
        found = [record for _, body in self.taken for record in body.get("Records", ())]
        self.taken.clear()
        return found
