"""The lines of a listing, written as XML from columns: a page has a thousand of them.

`tests/s3/objects/test_listed_lines.py` compares them with what the service description makes of the same values.
"""

from __future__ import annotations

from functools import lru_cache
from urllib.parse import quote

from client_proxy.doors.s3.objects.object_metadata import CHECKSUM_TYPE, STORAGE_CLASS, checksums_in, storage_class_in
from client_proxy.doors.s3.protocol.replies import Written, escape, escape_all
from client_proxy.doors.s3.protocol.timestamps import ISO_FRACTIONS, iso_second
from lockstep_store.wire.messages.files import ListedFiles, ListedVersions
from lockstep_store.wire.messages.s3 import etag_of_content

# Characters that `encoding-type=url` does not escape, apart from letters and digits.
_SAFE = "/-_.~"
_ALWAYS_SAFE = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789" + _SAFE.encode()
_SHOWN_VALUES = frozenset({CHECKSUM_TYPE, STORAGE_CLASS})
"""Entries of metadata whose values a line shows; of the checksums it has the names."""


def url_encoded(name: str) -> str:
    """Write a name as `encoding-type=url` asks."""
    return quote(name, safe=_SAFE)


def write_objects(files: ListedFiles, *, is_url: bool, with_owners: bool) -> Written:
    """Return the `Contents` of ListObjects and ListObjectsV2, with percent-encoded names if `is_url`."""
    count = len(files.paths)
    owners = _owners(files) if with_owners else [""] * count
    return _rows(
        ["<Contents><Key>"] * count,
        _names(files.paths, is_url),
        *_changed(files, "</Key>", "<ETag>&quot;"),
        _etags(files),
        [
            f"&quot;</ETag>{checksums}<Size>{size}</Size>{storage_class}{owner}</Contents>"
            for (checksums, storage_class), size, owner in zip(
                _summaries(files.metadata), files.sizes, owners, strict=True
            )
        ],
    )


def write_versions(versions: ListedVersions, *, is_url: bool) -> Written:
    """Return the `Version` and `DeleteMarker` elements of ListObjectVersions, mixed as the versions are."""
    markers, owners = versions.delete_markers, _owners(versions)
    beginnings = [
        f"<DeleteMarker>{owner}<Key>"
        if is_marker
        else f"<Version><ETag>&quot;{etag}&quot;</ETag><Size>{size}</Size>{storage_class}<Key>"
        for is_marker, owner, etag, size, (_, storage_class) in zip(
            markers, owners, _etags(versions), versions.sizes, _summaries(versions.metadata), strict=True
        )
    ]
    is_latest = [
        "</VersionId><IsLatest>false" if path == path_before else "</VersionId><IsLatest>true"
        for path, path_before in zip(versions.paths, [versions.continued, *versions.paths], strict=False)
    ]
    ends = [
        "</DeleteMarker>" if marker else f"{owner}</Version>" for marker, owner in zip(markers, owners, strict=True)
    ]
    return _rows(
        beginnings,
        _names(versions.paths, is_url),
        ["</Key><VersionId>"] * len(beginnings),
        escape_all(versions.ids),
        is_latest,
        *_changed(versions, "</IsLatest>", ""),
        ends,
    )


def _rows(*columns: list[str]) -> Written:
    """Join the texts of the columns row by row. Far cheaper than writing each row."""
    cells = [""] * (len(columns) * len(columns[0]))
    for place, column in enumerate(columns):
        cells[place :: len(columns)] = column
    return Written("".join(cells))


def _changed(files: ListedFiles, before: str, after: str) -> tuple[list[str], list[str]]:
    """Return the beginnings and the ends of the elements for times, with what stands before and after them."""
    seconds = {second: f"{before}<LastModified>{iso_second(second)}" for second in set(files.created_at)}
    ends = _ends_of_times(after)
    return [seconds[one] for one in files.created_at], [ends[one] for one in files.milliseconds]


@lru_cache
def _ends_of_times(after: str) -> list[str]:
    return [f"{fraction}</LastModified>{after}" for fraction in ISO_FRACTIONS]


def _names(paths: list[str], is_url: bool) -> list[str]:
    if not is_url:
        return escape_all(paths)
    if "".join(paths).encode().translate(None, _ALWAYS_SAFE):
        return [url_encoded(path) for path in paths]
    return paths


def _etags(files: ListedFiles) -> list[str]:
    given = zip(files.metadata, files.digests, strict=True)
    return escape_all([etag_of_content(one, digest) for one, digest in given])


def _summaries(metadata: list[dict[str, str]]) -> list[tuple[str, str]]:
    """Return the elements for checksums and for the storage class. Most files of a page have the same ones."""
    shapes = list(map(tuple, metadata))
    examples = dict(zip(shapes, metadata, strict=True)).items()
    known = {shape: _summary(one) for shape, one in examples if _SHOWN_VALUES.isdisjoint(shape)}
    if len(known) == 1 == len(examples):
        return list(known.values()) * len(metadata)
    return [known.get(shape) or _summary(one) for shape, one in zip(shapes, metadata, strict=True)]


def _summary(metadata: dict[str, str]) -> tuple[str, str]:
    return _checksums(metadata), f"<StorageClass>{escape(storage_class_in(metadata))}</StorageClass>"


def _checksums(metadata: dict[str, str]) -> str:
    sums = checksums_in(metadata)
    if not sums:
        return ""
    kind = escape(sums.pop("ChecksumType"))
    names = [f"<ChecksumAlgorithm>{name.removeprefix('Checksum')}</ChecksumAlgorithm>" for name in sums]
    return f"{''.join(names)}<ChecksumType>{kind}</ChecksumType>"


def _owners(files: ListedFiles) -> list[str]:
    if files.owner:
        return [_owner(files.owner)] * len(files.paths)
    elements = {name: _owner(name) for name in set(files.owners)}
    return [elements[name] for name in files.owners]


def _owner(name: str) -> str:
    text = escape(name)
    return f"<Owner><DisplayName>{text}</DisplayName><ID>{text}</ID></Owner>"
