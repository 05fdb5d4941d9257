"""ListMultipartUploads and ListParts, in pages."""

from __future__ import annotations

from typing import Any

from client_proxy.core.directory_calls import Directory
from client_proxy.doors.s3.call import Handlers, S3Call
from client_proxy.doors.s3.multipart.chosen_parts import checksum_algorithm, part_checksums
from client_proxy.doors.s3.multipart.uploads import abort_members, checksum_members, upload_id
from client_proxy.doors.s3.objects.listings import encoder_of, owner_of
from client_proxy.doors.s3.objects.object_encryption import decrypted_part, needs_customer_key, upload_key
from client_proxy.doors.s3.objects.object_metadata import OWN
from client_proxy.doors.s3.protocol import checksums
from client_proxy.doors.s3.protocol.parameters import Values
from client_proxy.doors.s3.protocol.s3_errors import S3Error
from client_proxy.doors.s3.security.encryption import customer_key
from client_proxy.encryption.content_keys import ContentKey
from lockstep_store.wire.messages.base import MAX_LISTING
from lockstep_store.wire.messages.uploads import (
    UPLOAD_PARTS,
    UPLOADS,
    PartInfo,
    UploadInfo,
    UploadPartsReply,
    UploadPartsRequest,
    UploadsReply,
    UploadsRequest,
)
from lockstep_store.wire.messages.writes import MAX_PART_NUMBER
from lockstep_store.wire.names import check_key


class MultipartListingHandlers:
    """ListMultipartUploads and ListParts."""

    def __init__(self, directory: Directory) -> None:
        self._directory = directory

    def handlers(self) -> Handlers:
        return {"ListMultipartUploads": self.list_uploads, "ListParts": self.list_parts}

    def list_uploads(self, call: S3Call) -> Values:
        """ListMultipartUploads: by key, then by age."""
        encode = encoder_of(call)
        limit = _count(call, "MaxUploads", "max-uploads")
        marker, id_marker = call.get("KeyMarker", ""), call.get("UploadIdMarker", "")
        page: UploadsReply = self._directory.call(
            UPLOADS,
            UploadsRequest(
                call.credential,
                call.bucket,
                prefix=call.get("Prefix", ""),
                delimiter=call.get("Delimiter", ""),
                limit=limit,
                after=(marker, id_marker) if marker else None,
            ),
        )
        values: Values = {
            "Bucket": call.bucket,
            "KeyMarker": encode(marker),
            "UploadIdMarker": id_marker if marker else "",
            "Prefix": encode(call.get("Prefix", "")),
            "MaxUploads": limit,
            "IsTruncated": page.next_after is not None and limit > 0,
            "Uploads": [_upload_line(upload, encode) for upload in page.uploads],
            "CommonPrefixes": [{"Prefix": encode(prefix)} for prefix in page.prefixes],
        }
        if call.get("Delimiter"):
            values["Delimiter"] = encode(call.values["Delimiter"])
        if "EncodingType" in call.values:
            values["EncodingType"] = "url"
        if page.next_after is not None and limit > 0:
            values["NextKeyMarker"] = encode(page.next_after[0])
            values["NextUploadIdMarker"] = page.next_after[1]
        return values

    def list_parts(self, call: S3Call) -> Values:
        """ListParts: by number."""
        limit = _count(call, "MaxParts", "max-parts")
        after = call.get("PartNumberMarker", 0)
        if not 0 <= after < 2**31:
            raise S3Error(
                "InvalidArgument", "part-number-marker must be a whole number", ArgumentName="part-number-marker"
            )
        request = UploadPartsRequest(
            call.credential,
            call.bucket,
            check_key(call.key),
            upload_id(call),
            limit=limit,
            after=min(after, MAX_PART_NUMBER),
        )
        page: UploadPartsReply = self._directory.call(UPLOAD_PARTS, request)
        upload = page.upload
        key = _listing_key(call, page)
        values: Values = {
            "Bucket": call.bucket,
            "Key": call.key,
            "UploadId": upload.id,
            "PartNumberMarker": after,
            "MaxParts": limit,
            "IsTruncated": page.truncated and limit > 0,
            "Parts": [_part_line(decrypted_part(part, key), upload) for part in page.parts],
            **_whose(upload),
            **abort_members(upload),
        }
        if page.parts:
            values["NextPartNumberMarker"] = page.parts[-1].number
        return values


def _listing_key(call: S3Call, page: UploadPartsReply) -> ContentKey | None:
    """What the parts are under. Without the customer's key, or the named one, they are listed without checksums."""
    key = customer_key(call.values)
    if key is None and (needs_customer_key(page.upload) or (page.data_key and page.data_key.problem)):
        return None
    return upload_key(page, key)


def _upload_line(upload: UploadInfo, encode: Any) -> Values:
    return {"UploadId": upload.id, "Key": encode(upload.path), "Initiated": upload.since_at, **_whose(upload)}


def _whose(upload: UploadInfo) -> Values:
    owner, initiator = owner_of(upload.owner or upload.account), owner_of(upload.account)
    storage_class = upload.metadata.get(f"{OWN}storage-class", "STANDARD")
    return {"Owner": owner, "Initiator": initiator, "StorageClass": storage_class, **checksum_members(upload)}


def _part_line(part: PartInfo, upload: UploadInfo) -> Values:
    sums = part_checksums(part)
    if checksum_algorithm(upload) is None:  # as in S3, the checksum that was added is not listed
        sums.pop(checksums.DEFAULT.member, None)
    return {
        "PartNumber": part.number,
        "LastModified": part.at,
        "ETag": f'"{part.metadata[f"{OWN}etag"]}"',
        "Size": part.size,
        **sums,
    }


def _count(call: S3Call, name: str, argument: str) -> int:
    wanted: int = call.get(name, MAX_LISTING)
    if not 0 <= wanted < 2**31:
        raise S3Error("InvalidArgument", f"{argument} must be a whole number, 0 or more", ArgumentName=argument)
    return min(wanted, MAX_LISTING)
