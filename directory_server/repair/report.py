"""The repair report: what was repaired, what is left to do, and the names of lost files.

It walks over the versions for their names only when the planner knows of lost blobs. One call examines a bounded number
of versions and returns where to continue, so a page may be short or empty and still not be the last.
"""

from __future__ import annotations

from typing import Protocol

from directory_server.metadata.statements import files
from directory_server.metadata.store import MetadataStore, Reader, Row
from directory_server.repair.copy_rules import ServerStatuses, is_lost
from lockstep_store.wire.digest import Digest
from lockstep_store.wire.messages.cluster import LostFile, RepairInfo, RepairReport, RepairReportRequest

PAGE = 1000
MAX_LOOKED_AT = 50_000

Place = tuple[str, str, str]


class Planner(Protocol):
    """The part of the repair planner that reports use."""

    def info(self) -> RepairInfo: ...

    def finished(self) -> bool:
        """Whether every blob was examined, and nothing is left that can be done now."""
        ...

    def statuses(self) -> ServerStatuses: ...


class RepairReports:
    """Makes repair reports. Thread-safe."""

    def __init__(self, store: MetadataStore, planner: Planner) -> None:
        self._store = store
        self._planner = planner

    def report(self, request: RepairReportRequest) -> RepairReport:
        """Return one page of the report. The caller has checked that names from all buckets may be shown."""
        info = self._planner.info()
        finished = self._planner.finished()
        if not info.without_living_copy and not info.walking:
            return RepairReport(info, finished, [], None)
        lost, next_after = self._lost(request.after, request.limit)
        return RepairReport(info, finished, lost, next_after)

    def _lost(self, after: Place | None, limit: int) -> tuple[list[LostFile], Place | None]:
        statuses = self._planner.statuses()
        lost: list[LostFile] = []
        looked_at = 0
        while looked_at < MAX_LOOKED_AT:
            with self._store.read() as reader:
                page = _next_versions(reader, after)
                for row in page:
                    after = (row[0], row[1], row[2])
                    sound, damaged = files.split_holders(row[13])
                    if is_lost(sound, statuses):
                        lost.append(_describe(reader, row, sound, damaged, statuses))
                        if len(lost) == limit:
                            return lost, after
            looked_at += len(page)
            if len(page) < PAGE:
                return lost, None
        return lost, after


def _next_versions(reader: Reader, after: Place | None) -> list[Row]:
    """Return up to PAGE versions with their holders, by bucket and path, the newest of a path first."""
    if after is None:
        return reader.all(files.ALL_HELD, bucket="", path="", count=PAGE)
    bucket, path, version = after
    page = reader.all(files.OLDER_HELD, bucket=bucket, path=path, version=version, count=PAGE)
    if len(page) < PAGE:
        page += reader.all(files.ALL_HELD, bucket=bucket, path=path, count=PAGE - len(page))
    return page


def _describe(reader: Reader, row: Row, sound: list[str], damaged: list[str], statuses: ServerStatuses) -> LostFile:
    bucket, path, version = row[0], row[1], row[2]
    current = reader.one(files.CURRENT, bucket=bucket, path=path)
    good = last_good_version(reader, bucket, path, statuses)
    return LostFile(
        bucket=bucket,
        path=path,
        version=version,
        digest=Digest(row[3]),
        size=row[4],
        current=current is not None and current[2] == version,
        damaged=bool(damaged) and not sound,
        file_servers=[*sound, *damaged],
        last_good_version=good,
    )


def last_good_version(reader: Reader, bucket: str, path: str, statuses: ServerStatuses) -> str:
    """The newest version of a path that can still be read; empty when there is none."""
    for row in files.newest_held(reader, bucket, path):
        sound, _ = files.split_holders(row[13])
        if row[4] == 0 or not is_lost(sound, statuses):
            return str(row[2])
    return ""
