"""GetObjectAttributes: size, ETag, checksums and parts of an object, without reading it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from client_proxy.core.requests import Stat
from client_proxy.doors.s3.call import Handlers, S3Call
from client_proxy.doors.s3.objects.object_encryption import decrypted_version, key_of, parts_of
from client_proxy.doors.s3.objects.object_metadata import checksums_of, etag_of, storage_class_of, sums_in
from client_proxy.doors.s3.objects.part_reads import PARTS_ENTRY
from client_proxy.doors.s3.protocol.delete_markers import check_no_marker
from client_proxy.doors.s3.protocol.parameters import Values
from client_proxy.doors.s3.protocol.s3_errors import S3Error
from client_proxy.doors.s3.protocol.version_ids import version_id_of
from client_proxy.doors.s3.security.encryption import customer_key
from client_proxy.encryption.encrypted_content import Parts
from lockstep_store.wire.messages.files import FileVersion
from lockstep_store.wire.messages.uploads import VersionPart
from lockstep_store.wire.names import check_key

MAX_PARTS = 1000


class AttributeFiles(Protocol):
    """The file store as GetObjectAttributes uses it."""

    def stat(self, request: Stat) -> FileVersion: ...
    def parts_of(self, credential: str, version: FileVersion) -> list[VersionPart]: ...


class AttributeHandlers:
    """GetObjectAttributes."""

    def __init__(self, files: AttributeFiles) -> None:
        self._files = files

    def handlers(self) -> Handlers:
        return {"GetObjectAttributes": self.attributes}

    def attributes(self, call: S3Call) -> Values:
        """Return the attributes in x-amz-object-attributes, except those that the object does not have."""
        wanted = call.values["ObjectAttributes"]
        if not wanted:
            raise S3Error(
                "InvalidArgument",
                "x-amz-object-attributes is empty",
                ArgumentName="x-amz-object-attributes",
            )
        version = self._files.stat(
            Stat(call.credential, call.bucket, check_key(call.key), version=call.get("VersionId"))
        )
        check_no_marker(call.key, version, "attributes")
        key = key_of(version, customer_key(call.values))
        parts = parts_of(self._files, call.credential, version, key)
        if "Checksum" in wanted:
            version = decrypted_version(version, key, parts)
        known: Values = {
            "ETag": etag_of(version),
            "Checksum": _bare(checksums_of(version)) or None,
            "ObjectParts": _parts(call, version, parts) if "ObjectParts" in wanted else None,
            "StorageClass": storage_class_of(version),
            "ObjectSize": version.size,
        }
        return {name: known[name] for name in wanted} | {"LastModified": version.created_at} | version_id_of(version)


def _bare(sums: Values) -> Values:
    """Remove the number of parts that a composite checksum ends with; base64 has no hyphen."""
    return {name: value if name == "ChecksumType" else value.partition("-")[0] for name, value in sums.items()}


def _parts(call: S3Call, version: FileVersion, parts: Parts) -> Values | None:
    """Return the object's parts; None if it was written in one piece."""
    asked, marker = call.get("MaxParts", MAX_PARTS), call.get("PartNumberMarker", 0)
    if asked < 0 or marker < 0:
        raise S3Error("InvalidArgument", "x-amz-max-parts and x-amz-part-number-marker cannot be negative")
    if PARTS_ENTRY not in version.metadata:
        return None
    return parts_page(parts(), min(asked, MAX_PARTS), marker)


def parts_page(parts: Sequence[VersionPart], limit: int, marker: int) -> Values:
    """One page of the parts after number `marker`, counted from 1 as in reads of one part."""
    shown = enumerate(parts[marker : marker + limit], marker + 1)
    page = [{"PartNumber": number, "Size": part.size, **sums_in(part.facts)} for number, part in shown]
    values: Values = {
        "TotalPartsCount": len(parts),
        "PartNumberMarker": marker,
        "MaxParts": limit,
        "IsTruncated": marker + len(page) < len(parts),
        "Parts": page,
    }
    if page:
        values["NextPartNumberMarker"] = page[-1]["PartNumber"]
    return values
