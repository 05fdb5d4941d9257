"""The calls about locks. See `lockstep_store.client.api.calls`."""

from __future__ import annotations

from collections.abc import Iterator

from lockstep_store.client.api.caller import POLL_MARGIN_SECONDS, ApiCaller, segment
from lockstep_store.client.api.server_events import server_events
from lockstep_store.wire.codec import decode_problem, decoder
from lockstep_store.wire.errors import from_problem
from lockstep_store.wire.messages.locks import AcquireReply, LockInfo, LockPath, LocksReply


class LockCalls(ApiCaller):
    """Calls that acquire, renew, release and list locks."""

    def acquire(
        self,
        paths: list[LockPath],
        *,
        request_id: str,
        wait_seconds: float = 0.0,
        lease_seconds: float = 60.0,
        queue: bool = False,
        client: str = "",
    ) -> AcquireReply:
        """Ask for all of `paths` at once. Repeating it with the same `request_id` keeps the place in line."""
        message = {
            "paths": [{"bucket": path.bucket, "path": path.path} for path in paths],
            "wait_seconds": wait_seconds,
            "lease_seconds": lease_seconds,
            "queue": queue,
            "client": client,
            "request_id": request_id,
        }
        patience = wait_seconds + POLL_MARGIN_SECONDS
        return self._ask(AcquireReply, "POST", "/api/v1/locks", message=message, read_seconds=patience, repeatable=True)

    def renew(self, lock_id: str, lease_seconds: float) -> LockInfo:
        address = f"/api/v1/locks/{segment(lock_id)}"
        message = {"lease_seconds": lease_seconds}
        return self._ask(LockInfo, "PUT", address, message=message, read_seconds=POLL_MARGIN_SECONDS)

    def release(self, lock_id: str, *, break_lock: bool = False, reason: str = "") -> None:
        """Release a lock or give up a place in line; `break_lock` breaks it (administrators, bucket owners).

        The holder of a broken lock and the audit get the `reason`.
        """
        params = {"break": "true"} if break_lock else {}
        if reason:
            params["reason"] = reason
        self.transport.request("DELETE", f"/api/v1/locks/{segment(lock_id)}", params=params, repeatable=True)

    def locks(self) -> LocksReply:
        """Return all locks and all places in line, the oldest first."""
        found = page = self._ask(LocksReply, "GET", "/api/v1/locks")
        while page.next_after:
            page = self._ask(LocksReply, "GET", "/api/v1/locks", params={"after": page.next_after})
            found.locks += page.locks
            found.waiters += page.waiters
        found.next_after = ""
        return found

    def lock_events(self) -> Iterator[LocksReply]:
        """Yield all locks and places in line, now and whenever they have changed.

        Ends after an hour, or when the proxy stops. Raises what ended it otherwise, such as NotLoggedIn or Unavailable.
        `client.lock_watcher` follows without end.
        """
        for name, data in server_events(self.transport, "/api/v1/locks/events"):
            if name == "locks":
                yield decoder(LocksReply).decode(data)
            elif name == "end":
                raise from_problem(decode_problem(data, 503))
