"""The routes for analytics: what is stored, by bucket, account, age, type, day and folder."""

from __future__ import annotations

from functools import partial

from client_proxy.core.directory_calls import Directory
from client_proxy.doors.rest.operation import Answer, Content, Operation, Parameter, between
from client_proxy.doors.rest.reply import json_reply
from client_proxy.doors.rest.request import RestRequest
from client_proxy.doors.rest.schemas import BUCKET
from lockstep_store.runtime.http.api import RawReply
from lockstep_store.wire import errors
from lockstep_store.wire.messages.analytics import (
    FILE_TYPES,
    FOLDER_USAGE,
    GROWTH,
    MAX_DAYS,
    MAX_NAMED,
    STORAGE,
    FileTypesReply,
    FolderUsageReply,
    FolderUsageRequest,
    GrowthReply,
    GrowthRequest,
    StorageReply,
    StorageRequest,
)
from lockstep_store.wire.names import MAX_PATH_BYTES

_OF_BUCKET = Parameter("bucket", "query", "Only this bucket; for its owner and administrators.", BUCKET)
_operation = partial(
    Operation, method="GET", tag="Analytics", refusals=(errors.BadName, errors.Forbidden, errors.NotFound)
)
_WHOSE = "Covers your own buckets; for administrators, all. It is read from totals, however much is stored."


class AnalyticsRoutes:
    """The routes below /analytics."""

    def __init__(self, directory: Directory) -> None:
        self._directory = directory

    def operations(self) -> list[Operation]:
        return [
            _operation(
                id="storage_analytics",
                template="/analytics/storage",
                handler=self.storage,
                summary="Get what is stored, by bucket, account, tenant and age",
                description=(
                    f"{_WHOSE} `file_bytes` counts current files, `version_bytes` all versions. When administrators "
                    "ask about all buckets, `savings` is what deduplication and shared chunks save in the cluster."
                ),
                parameters=(_OF_BUCKET,),
                answers={200: Answer("The totals, the largest first.", Content(StorageReply))},
            ),
            _operation(
                id="file_type_analytics",
                template="/analytics/file-types",
                handler=self.file_types,
                summary="Get what is stored, by content type",
                description=_WHOSE,
                parameters=(_OF_BUCKET,),
                answers={200: Answer("The totals, the largest first.", Content(FileTypesReply))},
            ),
            _operation(
                id="growth_analytics",
                template="/analytics/growth",
                handler=self.growth,
                summary="Get what there was at the end of each day",
                description=f"{_WHOSE} Days are in UTC, the oldest first; the last one is today, as it is now.",
                parameters=(
                    _OF_BUCKET,
                    Parameter("days", "query", "How many days, today included (365).", between(1, MAX_DAYS)),
                ),
                answers={200: Answer("The totals, by day.", Content(GrowthReply))},
            ),
            _operation(
                id="folder_analytics",
                template="/analytics/folders/{bucket}",
                handler=self.folder,
                summary="Get what is in a folder, and in each folder in it",
                description="Counts current files. For people who may list the folder and see every size in it.",
                parameters=(
                    Parameter("path", "query", "The folder, such as `plans/`; without it, the whole bucket."),
                    Parameter("limit", "query", "At most so many folders (100).", between(1, MAX_NAMED)),
                ),
                answers={200: Answer("The folder, and the largest in it.", Content(FolderUsageReply))},
            ),
        ]

    def storage(self, request: RestRequest) -> RawReply:
        """GET /analytics/storage."""
        return json_reply(self._directory.call(STORAGE, StorageRequest(request.access(), request.bucket_argument())))

    def file_types(self, request: RestRequest) -> RawReply:
        """GET /analytics/file-types."""
        return json_reply(self._directory.call(FILE_TYPES, StorageRequest(request.access(), request.bucket_argument())))

    def growth(self, request: RestRequest) -> RawReply:
        """GET /analytics/growth."""
        wanted = GrowthRequest(
            request.access(), request.bucket_argument(), days=request.number_argument("days", 365, 1, MAX_DAYS)
        )
        return json_reply(self._directory.call(GROWTH, wanted))

    def folder(self, request: RestRequest) -> RawReply:
        """GET /analytics/folders/{bucket}."""
        path = request.argument("path", limit=MAX_PATH_BYTES)
        limit = request.number_argument("limit", 100, 1, MAX_NAMED)
        wanted = FolderUsageRequest(request.access(), request.bucket(), path, limit)
        return json_reply(self._directory.call(FOLDER_USAGE, wanted))
