"""The calls about the trash. See `lockstep_store.client.api.calls`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from lockstep_store.client.api.answers import Lockable, number_of
from lockstep_store.client.api.caller import ApiCaller
from lockstep_store.wire.messages.files import FileVersion
from lockstep_store.wire.messages.trash import EmptyTrashReply, TrashEntry, TrashReply, TrashTotals
from lockstep_store.wire.names import FILES_BUCKET, check_bucket, check_path


class TrashCalls(ApiCaller):
    """Look at deleted files, restore them, remove them for good. Of buckets that keep versions."""

    def trash_page(self, prefix: str = "", *, bucket: str = FILES_BUCKET, cursor: str = "") -> TrashReply:
        """Return one page of deleted files, the last deleted first, and the `days` that the bucket keeps them."""
        params = {key: value for key, value in (("prefix", prefix), ("cursor", cursor)) if value}
        return self._ask(TrashReply, "GET", _address(bucket), params=params)

    def trash(self, prefix: str = "", *, bucket: str = FILES_BUCKET) -> Iterator[TrashEntry]:
        """Yield every deleted file whose path begins with `prefix`, the last deleted first."""
        cursor: str | None = ""
        while cursor is not None:
            page = self.trash_page(prefix, bucket=bucket, cursor=cursor)
            yield from page.entries
            cursor = page.next_after

    def trash_totals(self, *, bucket: str = FILES_BUCKET) -> TrashTotals:
        """Return how many files, versions and bytes are in the trash."""
        return self._ask(TrashTotals, "GET", f"{_address(bucket)}/totals")

    def restore_deleted(
        self, path: str, marker: str, *, to: str = "", bucket: str = FILES_BUCKET, lock: Lockable = None
    ) -> FileVersion:
        """Restore a deleted file, or copy its last version to the name `to`. AlreadyExists if that name is taken."""
        message: dict[str, Any] = {"path": check_path(path), "marker": marker}
        if to:
            message["to_path"] = check_path(to)
        if lock is not None:
            message["lock_number"] = number_of(lock)
        return self._ask(FileVersion, "POST", f"{_address(bucket)}/restore", message=message)

    def remove_deleted(self, path: str, marker: str, *, bucket: str = FILES_BUCKET) -> EmptyTrashReply:
        """Remove one deleted file for good, with all of its versions."""
        message = {"path": check_path(path), "marker": marker}
        return self._ask(EmptyTrashReply, "POST", f"{_address(bucket)}/empty", message=message, repeatable=True)

    def empty_trash(self, prefix: str = "", *, bucket: str = FILES_BUCKET) -> EmptyTrashReply:
        """Remove every deleted file whose path begins with `prefix` for good; `kept` names what is held."""
        whole = EmptyTrashReply(0, 0)
        message = {"prefix": prefix, "after": ""}
        while True:
            page = self._ask(EmptyTrashReply, "POST", f"{_address(bucket)}/empty", message=message, repeatable=True)
            whole.removed += page.removed
            whole.bytes += page.bytes
            whole.kept += page.kept
            if page.next_after is None:
                return whole
            message["after"] = page.next_after

    def set_trash_days(self, days: int | None, *, bucket: str = FILES_BUCKET) -> None:
        """Set how many days the bucket keeps deleted files; None: until they are removed by hand."""
        self.transport.request("PUT", _address(bucket), message={"days": days})


def _address(bucket: str) -> str:
    return f"/api/v1/trash/{check_bucket(bucket)}"
