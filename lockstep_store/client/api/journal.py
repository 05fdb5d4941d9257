"""The call about the journal. See `lockstep_store.client.api.calls`. `client.watcher` follows it without end."""

from __future__ import annotations

from lockstep_store.client.api.caller import POLL_MARGIN_SECONDS, ApiCaller
from lockstep_store.wire.messages.base import MAX_LISTING
from lockstep_store.wire.messages.journal import ChangesReply
from lockstep_store.wire.names import check_bucket


class JournalCalls(ApiCaller):
    """Lists changes."""

    def changes(
        self,
        cursor: int | None = None,
        bucket: str | None = None,
        *,
        limit: int = MAX_LISTING,
        wait_seconds: int = 0,
    ) -> ChangesReply:
        """Return the changes after `cursor` (None: from now on), of one bucket or of all that you may use.

        Waits up to `wait_seconds` (at most 30) for the first. Continue with the reply's cursor, even after an empty
        reply.
        """
        given = {"limit": str(limit)}
        if cursor is not None:
            given["cursor"] = str(cursor)
        if bucket is not None:
            given["bucket"] = check_bucket(bucket)
        if wait_seconds:
            given["wait"] = str(wait_seconds)
        patience = wait_seconds + POLL_MARGIN_SECONDS
        return self._ask(ChangesReply, "GET", "/api/v1/changes", params=given, read_seconds=patience)
