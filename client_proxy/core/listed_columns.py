"""Pages of listings as columns, whether or not the directory is of a version that knows them.

It also replies without columns where it decides about each version.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lockstep_store.wire.messages.files import FileVersion, ListedFiles, ListedVersions, ListPage, VersionsPage


def columns_of_files(page: ListPage) -> ListedFiles:
    """Return the files of a page, with their owners if it was asked for them."""
    return page.columns if page.columns is not None else ListedFiles(**_columns(page.files))


def columns_of_versions(page: VersionsPage) -> ListedVersions:
    """Return the versions and delete markers of a page."""
    if page.columns is not None:
        return page.columns
    versions = page.versions
    first = versions[0] if versions else None
    return ListedVersions(
        **_columns(versions),
        ids=["null" if one.null_version else one.version for one in versions],
        delete_markers=[one.delete_marker for one in versions],
        continued=first.path if first is not None and not first.current else "",
    )


def _columns(versions: Sequence[FileVersion]) -> dict[str, Any]:
    whole = [int(one.created_at // 1) for one in versions]
    return {
        "paths": [one.path for one in versions],
        "sizes": [one.size for one in versions],
        "created_at": whole,
        "milliseconds": [int((one.created_at - second) * 1000) for one, second in zip(versions, whole, strict=True)],
        "metadata": [one.metadata for one in versions],
        "digests": [one.digest.hex() for one in versions],
        "owners": [one.owner or one.author for one in versions],
    }
