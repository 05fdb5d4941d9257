"""A notification target in memory, with a switch to refuse."""

from __future__ import annotations

import json
from typing import Any

from directory_server.features.notifications.sending import NotDelivered, Outgoing


class KeepingTarget:
    """Replaces a webhook or a broker; with a reason in `refuse` it takes nothing."""

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
        """Return and forget the event records so far, without test messages."""
        found = [record for _, body in self.taken for record in body.get("Records", ())]
        self.taken.clear()
        return found
