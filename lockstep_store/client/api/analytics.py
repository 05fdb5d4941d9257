"""The calls about what is stored. See `lockstep_store.client.api.calls`."""

from __future__ import annotations

from lockstep_store.client.api.caller import ApiCaller
from lockstep_store.wire.messages.analytics import FileTypesReply, FolderUsageReply, GrowthReply, StorageReply
from lockstep_store.wire.names import FILES_BUCKET, check_bucket


class AnalyticsCalls(ApiCaller):
    """Totals of one's own buckets; for administrators, of all. Sizes are bytes."""

    def storage_analytics(self, bucket: str = "") -> StorageReply:
        """Return what is stored, by bucket, account, tenant and month; in all buckets, or in one."""
        return self._ask(StorageReply, "GET", "/api/v1/analytics/storage", params=_given(bucket=bucket))

    def file_type_analytics(self, bucket: str = "") -> FileTypesReply:
        """Return what is stored, by content type, the largest first."""
        return self._ask(FileTypesReply, "GET", "/api/v1/analytics/file-types", params=_given(bucket=bucket))

    def growth_analytics(self, bucket: str = "", *, days: int = 365) -> GrowthReply:
        """Return what there was at the end of each of the last `days` days (UTC), the oldest first."""
        params = _given(bucket=bucket, days=str(days))
        return self._ask(GrowthReply, "GET", "/api/v1/analytics/growth", params=params)

    def folder_analytics(self, path: str = "", *, bucket: str = FILES_BUCKET, limit: int = 100) -> FolderUsageReply:
        """Return what is in the folder `path` (`plans/`, or empty for the bucket), and in the largest folders in it."""
        address = f"/api/v1/analytics/folders/{check_bucket(bucket)}"
        return self._ask(FolderUsageReply, "GET", address, params=_given(path=path, limit=str(limit)))


def _given(**params: str) -> dict[str, str]:
    return {name: value for name, value in params.items() if value}
