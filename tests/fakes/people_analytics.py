"""Analytics of the cluster in memory: of current versions, counted when asked."""

from __future__ import annotations

from lockstep_store.wire.messages import analytics as am
from lockstep_store.wire.messages.files import FileVersion


class AnalyticsCore:
    """One account, type and month has everything."""

    history: dict[tuple[str, str], list[FileVersion]]

    def _who(self, credential: str, what: str) -> str:
        raise NotImplementedError

    def _analytics_storage(self, request: am.StorageRequest) -> am.StorageReply:
        who = self._who(request.credential, "analytics")
        total = self._amount(request.bucket)
        amounts = (total.files, total.file_bytes, total.versions, total.version_bytes)
        names = sorted({bucket for bucket, _ in self.history})
        by_bucket = [am.NamedAmount(name, *_values(self._amount(name))) for name in names]
        savings = None if request.bucket else am.Savings(total.version_bytes, 1, 2, 2, total.version_bytes - 1, 0)
        return am.StorageReply(
            total,
            by_bucket,
            [am.NamedAmount(who, *amounts)],
            [],
            [am.NamedAmount("2026-03", *amounts)],
            savings,
        )

    def _analytics_file_types(self, request: am.StorageRequest) -> am.FileTypesReply:
        self._who(request.credential, "analytics")
        return am.FileTypesReply([am.NamedAmount("text/plain", *_values(self._amount(request.bucket)))])

    def _analytics_growth(self, request: am.GrowthRequest) -> am.GrowthReply:
        self._who(request.credential, "analytics")
        return am.GrowthReply([am.NamedAmount("2026-03-09", *_values(self._amount(request.bucket)))])

    def _analytics_folders(self, request: am.FolderUsageRequest) -> am.FolderUsageReply:
        self._who(request.credential, "analytics")
        found: dict[str, list[int]] = {}
        sizes = []
        for file in self._current(request.bucket):
            if file.path.startswith(request.path):
                sizes.append(file.size)
                name, slash, _ = file.path[len(request.path) :].partition("/")
                if slash:
                    found.setdefault(f"{request.path}{name}/", []).append(file.size)
        folders = [am.FolderUsage(path, len(inside), sum(inside)) for path, inside in found.items()]
        folders.sort(key=lambda one: -one.bytes)
        return am.FolderUsageReply(request.path, len(sizes), sum(sizes), folders[: request.limit])

    def _current(self, bucket: str) -> list[FileVersion]:
        last = [versions[-1] for place, versions in self.history.items() if versions and bucket in ("", place[0])]
        return [one for one in last if not one.delete_marker]

    def _amount(self, bucket: str) -> am.Amount:
        current = self._current(bucket)
        size = sum(one.size for one in current)
        return am.Amount(len(current), size, len(current), size)


def _values(amount: am.Amount) -> tuple[int, int, int, int]:
    return amount.files, amount.file_bytes, amount.versions, amount.version_bytes
