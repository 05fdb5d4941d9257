"""The calls about access to files and folders. See `lockstep_store.client.api.calls`."""

from __future__ import annotations

from collections.abc import Mapping

from lockstep_store.client.api.caller import ApiCaller
from lockstep_store.wire.messages.access import AccessLevel, AccessReply, SharedWithMe, SharedWithMeReply
from lockstep_store.wire.names import FILES_BUCKET, check_bucket


class AccessCalls(ApiCaller):
    """Who may do what with a file or folder, and why. A folder's path is empty or ends with a slash.

    `group:NAME` in place of an account is a group.
    """

    def access(self, path: str = "", *, bucket: str = FILES_BUCKET, account: str = "") -> AccessReply:
        """Return who may read, write and manage; all of them for owners and managers, else only yourself."""
        given = {name: value for name, value in (("path", path), ("account", account)) if value}
        return self._ask(AccessReply, "GET", f"/api/v1/access/{check_bucket(bucket)}", params=given)

    def set_access(
        self,
        path: str,
        grants: Mapping[str, AccessLevel],
        *,
        bucket: str = FILES_BUCKET,
        public: bool = False,
    ) -> AccessReply:
        """Replace the grants of a path: levels by account, and whether everybody may read it."""
        listed = [{"account": name, "level": level} for name, level in grants.items()]
        message = {"path": path, "grants": listed, "public": public}
        return self._ask(AccessReply, "PUT", f"/api/v1/access/{check_bucket(bucket)}", message=message, repeatable=True)

    def change_access(
        self,
        path: str,
        grants: Mapping[str, AccessLevel | None],
        *,
        bucket: str = FILES_BUCKET,
        public: bool | None = None,
    ) -> AccessReply:
        """Change some grants of a path; None removes one, and the others stay."""
        message: dict[str, object] = {
            "path": path,
            "grants": [{"account": name, "level": level} for name, level in grants.items()],
        }
        if public is not None:
            message["public"] = public
        return self._ask(
            AccessReply, "PATCH", f"/api/v1/access/{check_bucket(bucket)}", message=message, repeatable=True
        )

    def shared_with_me(self) -> list[SharedWithMe]:
        """Return the files and folders in other people's buckets that a grant names you for."""
        return self._ask(SharedWithMeReply, "GET", "/api/v1/shared-with-me").items
