"""ListObjects, ListObjectsV2 and ListObjectVersions: pages in the order of the keys' UTF-8 bytes."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable
from typing import Any, Protocol

from client_proxy.core.listed_columns import columns_of_files, columns_of_versions
from client_proxy.doors.s3.call import Handlers, S3Call
from client_proxy.doors.s3.objects.listed_lines import url_encoded, write_objects, write_versions
from client_proxy.doors.s3.protocol.parameters import Values
from client_proxy.doors.s3.protocol.replies import UNSAYABLE
from client_proxy.doors.s3.protocol.s3_errors import S3Error
from client_proxy.doors.s3.protocol.version_ids import check_version_id
from lockstep_store.wire.messages.base import MAX_LISTING
from lockstep_store.wire.messages.files import ListedFiles, ListPage, ListRequest, VersionsPage, VersionsRequest

# Parameters that replies repeat as they are, and those that `encoding-type=url` escapes.
_ECHOED = frozenset({"ContinuationToken", "VersionIdMarker", "UploadIdMarker"})
_ENCODED = frozenset({"Prefix", "Delimiter", "Marker", "KeyMarker", "StartAfter"})


class FileListings(Protocol):
    """The file store as listings use it."""

    def list(self, request: ListRequest) -> ListPage: ...
    def versions(self, request: VersionsRequest) -> VersionsPage: ...


class ListingHandlers:
    """ListObjects, ListObjectsV2 and ListObjectVersions."""

    def __init__(self, files: FileListings) -> None:
        self._files = files

    def handlers(self) -> Handlers:
        return {
            "ListObjects": self.list_v1,
            "ListObjectsV2": self.list_v2,
            "ListObjectVersions": self.list_versions,
        }

    def list_v1(self, call: S3Call) -> Values:
        """ListObjects: pages by marker."""
        encode = encoder_of(call)
        marker = call.get("Marker", "")
        page = self._page(call, marker, owners=True)
        values = self._common(call, page, columns_of_files(page), encode, owners=True)
        values["Marker"] = encode(marker)
        if values["IsTruncated"] and call.get("Delimiter"):
            values["NextMarker"] = encode(page.next_after)
        return values

    def list_v2(self, call: S3Call) -> Values:
        """ListObjectsV2: pages by continuation token."""
        encode = encoder_of(call)
        token = call.get("ContinuationToken")
        after = _from_token(token) if token is not None else call.get("StartAfter", "")
        owners = bool(call.get("FetchOwner"))
        page = self._page(call, after, owners=owners)
        files = columns_of_files(page)
        values = self._common(call, page, files, encode, owners=owners)
        values["KeyCount"] = len(files.paths) + len(page.prefixes)
        if token is not None:
            values["ContinuationToken"] = token
        if "StartAfter" in call.values:
            values["StartAfter"] = encode(call.values["StartAfter"])
        if page.next_after is not None:
            values["NextContinuationToken"] = _token(page.next_after)
        return values

    def _page(self, call: S3Call, after: str, *, owners: bool) -> ListPage:
        wanted = _max_keys(call)
        if wanted == 0:  # as in S3, an empty, complete page; but the bucket must exist
            self._files.list(ListRequest(call.credential, call.bucket, prefix=call.get("Prefix", ""), limit=1))
            return ListPage([], [], None)
        return self._files.list(
            ListRequest(
                call.credential,
                call.bucket,
                prefix=call.get("Prefix", ""),
                delimiter=call.get("Delimiter", ""),
                limit=wanted,
                after=after,
                columns=True,
                owners=owners,
            )
        )

    def _common(self, call: S3Call, page: ListPage, files: ListedFiles, encode: Any, *, owners: bool) -> Values:
        values: Values = {
            "Name": call.bucket,
            "Prefix": encode(call.get("Prefix", "")),
            "MaxKeys": _max_keys(call),
            "IsTruncated": page.next_after is not None,
            "Contents": write_objects(files, is_url=_is_url(call), with_owners=owners),
            "CommonPrefixes": [{"Prefix": encode(prefix)} for prefix in page.prefixes],
        }
        if call.get("Delimiter"):
            values["Delimiter"] = encode(call.values["Delimiter"])
        if "EncodingType" in call.values:
            values["EncodingType"] = "url"
        return values

    def list_versions(self, call: S3Call) -> Values:
        """ListObjectVersions, pages by key and version."""
        encode = encoder_of(call)
        if "VersionIdMarker" in call.values and not call.get("KeyMarker"):
            raise S3Error("InvalidArgument", "a version-id-marker needs a key-marker")
        page = self._versions_page(call)
        versions = columns_of_versions(page)
        values: Values = {
            "Name": call.bucket,
            "Prefix": encode(call.get("Prefix", "")),
            "KeyMarker": encode(call.get("KeyMarker", "")),
            "VersionIdMarker": call.get("VersionIdMarker", ""),
            "MaxKeys": _max_keys(call),
            "IsTruncated": page.next_after is not None,
            "Versions": write_versions(versions, is_url=_is_url(call)),
            "CommonPrefixes": [{"Prefix": encode(prefix)} for prefix in page.prefixes],
        }
        if call.get("Delimiter"):
            values["Delimiter"] = encode(call.values["Delimiter"])
        if "EncodingType" in call.values:
            values["EncodingType"] = "url"
        if page.next_after is not None:
            key, version = page.next_after
            values["NextKeyMarker"] = encode(key)
            if version:  # else the page ends with a common prefix
                values["NextVersionIdMarker"] = versions.ids[-1]
        return values

    def _versions_page(self, call: S3Call) -> VersionsPage:
        wanted, marker = _max_keys(call), call.get("VersionIdMarker")
        if marker:
            check_version_id(marker, "version-id-marker")
        page = self._files.versions(
            VersionsRequest(
                call.credential,
                call.bucket,
                prefix=call.get("Prefix", ""),
                delimiter=call.get("Delimiter", ""),
                limit=max(1, wanted),
                after=(call.values["KeyMarker"], marker or "") if call.get("KeyMarker") else None,
                columns=True,
            )
        )
        return page if wanted else VersionsPage([], None)


def owner_of(name: str) -> Values:
    """An account as S3 shows one."""
    return {"ID": name, "DisplayName": name}


def _max_keys(call: S3Call) -> int:
    wanted: int = call.get("MaxKeys", MAX_LISTING)
    if not 0 <= wanted < 2**31:
        raise S3Error("InvalidArgument", "max-keys must be a whole number, 0 or more", ArgumentName="max-keys")
    return min(wanted, MAX_LISTING)


def encoder_of(call: S3Call) -> Any:
    """Return the function that writes names in the reply: as they are, or percent-encoded (`encoding-type=url`)."""
    kind = call.get("EncodingType")
    check_echoed(call, _ECHOED if kind is not None else _ECHOED | _ENCODED)
    if kind is None:
        return lambda text: text
    if kind.lower() != "url":
        raise S3Error("InvalidArgument", "encoding-type must be url", ArgumentName="encoding-type")
    return url_encoded


def _is_url(call: S3Call) -> bool:
    return call.get("EncodingType") is not None


def check_echoed(call: S3Call, names: Iterable[str]) -> None:
    """InvalidArgument for a parameter that the XML of the reply repeats but cannot express."""
    for name in names:
        if UNSAYABLE.search(call.get(name) or ""):
            raise S3Error(
                "InvalidArgument",
                f"{name} has characters that XML cannot express; send encoding-type=url",
                ArgumentName=name,
            )


def _token(after: str) -> str:
    return base64.urlsafe_b64encode(after.encode()).decode()


def _from_token(token: str) -> str:
    try:
        after = base64.b64decode(token, altchars=b"-_", validate=True).decode()
    except (binascii.Error, ValueError):
        after = ""
    if not after:
        raise S3Error("InvalidArgument", "the continuation token is not valid", ArgumentName="continuation-token")
    return after
