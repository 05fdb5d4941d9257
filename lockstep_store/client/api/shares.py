"""The calls about share links. See `lockstep_store.client.api.calls`."""

from __future__ import annotations

from lockstep_store.client.api.caller import ApiCaller, segment
from lockstep_store.wire.messages.shares import (
    DEFAULT_SHARE_SECONDS,
    SHARE_ADDRESS,
    LinkRule,
    ShareLink,
    ShareMode,
    ShareRuleReply,
    SharesReply,
)
from lockstep_store.wire.names import FILES_BUCKET, check_bucket


class ShareCalls(ApiCaller):
    """Share links: what people without an account may read or upload."""

    def create_share(
        self,
        path: str,
        *,
        bucket: str = FILES_BUCKET,
        mode: ShareMode = "read",
        password: str = "",
        expires_in: float | None = DEFAULT_SHARE_SECONDS,
        max_uses: int | None = None,
        max_bytes: int | None = None,
        note: str = "",
    ) -> ShareLink:
        """Make a link to a file, or to a folder: a path that is empty or ends with a slash.

        `expires_in` is in seconds, by default 30 days; with None the link lasts until it is revoked. `max_uses` bounds
        downloads or uploaded files, `max_bytes` the size of each of these. `share_address` returns the link's address,
        whose secret only this reply has. Raises NotFound, and Forbidden without the right to what it would share.
        """
        given = {
            "password": password,
            "max_uses": max_uses,
            "max_bytes": max_bytes,
            "note": note,
        }
        message = {"bucket": check_bucket(bucket), "path": path, "mode": mode, "expires_in": expires_in}
        options = {name: value for name, value in given.items() if value}
        return self._ask(ShareLink, "POST", "/api/v1/shares", message={**message, **options})

    def share_address(self, share: ShareLink) -> str:
        """Return the address to send to people, of a link that `create_share` has just made."""
        if not share.token:
            raise ValueError("only the reply that makes a link has its address")
        return f"{self.transport.url.rstrip('/')}{SHARE_ADDRESS}{share.token}"

    def shares(self, bucket: str = "") -> list[ShareLink]:
        """Return your links; with `bucket` those into it, everybody's if you own it."""
        found: list[ShareLink] = []
        after: str | None = ""
        while after is not None:
            query = {"bucket": bucket, "cursor": after}
            given = {name: value for name, value in query.items() if value}
            page = self._ask(SharesReply, "GET", "/api/v1/shares", params=given)
            found += page.shares
            after = page.next_after
        return found

    def revoke_share(self, share_id: str) -> None:
        """End a link at once. Raises NotFound unless it is yours, or into a bucket of yours."""
        self.transport.request("DELETE", f"/api/v1/shares/{segment(share_id)}")

    def share_rule(self, bucket: str) -> LinkRule:
        """Return who may make links into a bucket: `off`, `owner`, `expiring` or `any`."""
        return self._ask(ShareRuleReply, "GET", f"/api/v1/share-rules/{check_bucket(bucket)}").links

    def set_share_rule(self, bucket: str, links: LinkRule) -> None:
        """Set who may make links into a bucket that you own; links that this does not allow stop working."""
        address = f"/api/v1/share-rules/{check_bucket(bucket)}"
        self._ask(ShareRuleReply, "PUT", address, message={"links": links}, repeatable=True)
