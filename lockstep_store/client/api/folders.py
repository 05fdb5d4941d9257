"""The calls about folders. See `lockstep_store.client.api.calls`."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from lockstep_store.client.api.caller import ApiCaller, quoted, segment
from lockstep_store.wire.messages.folders import (
    MAX_FOLDER_CHANGES,
    MAX_PROBLEMS,
    FolderChange,
    FolderChangesReply,
    FolderReply,
)
from lockstep_store.wire.names import FILES_BUCKET, check_bucket, check_path

FIRST_PAUSE_SECONDS = 0.1
LONGEST_PAUSE_SECONDS = 2.0
OnFolderChange = Callable[[FolderChange], None]


def no_report(_: FolderChange) -> None:
    """Report nothing."""


class FolderCalls(ApiCaller):
    """Create, move and delete folders. A folder's path may end with a slash, or leave it out."""

    def create_folder(self, path: str, *, bucket: str = FILES_BUCKET, exist_ok: bool = False) -> FolderReply:
        """Create an empty folder, which stays when it is empty. AlreadyExists if it exists, unless `exist_ok`."""
        message = {"bucket": check_bucket(bucket), "path": check_path(path), "exist_ok": exist_ok}
        return self._ask(FolderReply, "POST", "/api/v1/folders", message=message)

    def move_folder(
        self,
        source: str,
        target: str,
        *,
        bucket: str = FILES_BUCKET,
        to_bucket: str | None = None,
        merge: bool = False,
        on_progress: OnFolderChange | None = no_report,
    ) -> FolderChange:
        """Rename or move a folder with everything in it.

        A large folder takes a while: the call waits for the end and calls `on_progress` with each state, unless
        `on_progress` is None. See `failed` in the result for the files that stay. AlreadyExists when there is something
        at `target`, unless `merge` is true.
        """
        message: dict[str, Any] = {
            "bucket": check_bucket(bucket),
            "path": check_path(source),
            "to_path": check_path(target),
            "merge": merge,
        }
        if to_bucket is not None:
            message["to_bucket"] = check_bucket(to_bucket)
        return self._followed(self._ask(FolderChange, "POST", "/api/v1/folders/move", message=message), on_progress)

    def delete_folder(
        self, path: str, *, bucket: str = FILES_BUCKET, on_progress: OnFolderChange | None = no_report
    ) -> FolderChange:
        """Delete a folder with everything in it. Waits as `move_folder` does."""
        address = f"/api/v1/folders/{check_bucket(bucket)}/{quoted(check_path(path))}"
        return self._followed(self._ask(FolderChange, "DELETE", address), on_progress)

    def folder_changes(self, limit: int = MAX_FOLDER_CHANGES) -> list[FolderChange]:
        """Return the newest moves and deletions of folders that this account made, without their problems."""
        address = "/api/v1/folder-changes"
        return self._ask(FolderChangesReply, "GET", address, params={"limit": str(limit)}).changes

    def folder_change(self, id: str, *, after: str = "", limit: int = MAX_PROBLEMS) -> FolderChange:
        """Return how far a change is, with its problems behind the path `after`; NotFound a week after its end."""
        params = {"limit": str(limit), **({"cursor": after} if after else {})}
        return self._ask(FolderChange, "GET", f"/api/v1/folder-changes/{segment(id)}", params=params)

    def retry_folder_change(self, id: str, *, on_progress: OnFolderChange | None = no_report) -> FolderChange:
        """Try again what a change could not do. Waits as `move_folder` does."""
        address = f"/api/v1/folder-changes/{segment(id)}/retry"
        return self._followed(self._ask(FolderChange, "POST", address, repeatable=True), on_progress)

    def stop_folder_change(self, id: str) -> FolderChange:
        """Stop a change; what is done stays done."""
        address = f"/api/v1/folder-changes/{segment(id)}/stop"
        return self._ask(FolderChange, "POST", address, repeatable=True)

    def _followed(self, change: FolderChange, on_progress: OnFolderChange | None) -> FolderChange:
        """Wait for the end of the change."""
        pause = FIRST_PAUSE_SECONDS
        while change.state == "running" and on_progress is not None:
            on_progress(change)
            time.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE_SECONDS)
            change = self.folder_change(change.id, limit=1)
        return change
