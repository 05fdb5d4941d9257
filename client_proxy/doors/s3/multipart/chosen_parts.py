"""The parts that an upload is completed with, and the size, ETag and checksum of the whole."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import NamedTuple

from client_proxy.doors.s3.multipart.completion import Completion
from client_proxy.doors.s3.objects.object_encryption import is_encrypted
from client_proxy.doors.s3.objects.object_metadata import (
    CHECKSUM_ALGORITHM,
    CHECKSUM_TYPE,
    OWN,
    checksum_name,
    default_sums,
    sums_in,
)
from client_proxy.doors.s3.objects.part_reads import PARTS_ENTRY
from client_proxy.doors.s3.protocol import checksums
from client_proxy.doors.s3.protocol.checksums import Algorithm
from client_proxy.doors.s3.protocol.parameters import Values
from client_proxy.doors.s3.protocol.s3_errors import S3Error
from lockstep_store.wire.messages.s3 import CHECKSUM_ENTRIES
from lockstep_store.wire.messages.uploads import PartInfo, UploadInfo, encode_numbers, parts_mark

MIN_PART_BYTES = 5 * 1024**2
"""Of every part but the last."""
MAX_OBJECT_BYTES = 5 * 1024**4


class Choice(NamedTuple):
    """The parts to join, and the metadata of the whole."""

    parts: list[PartInfo]
    metadata: dict[str, str]

    @property
    def step_mark(self) -> tuple[str, str]:
        numbers = encode_numbers(part.number for part in self.parts)
        return numbers, parts_mark((part.number, part.write_id) for part in self.parts)


def choose(completion: Completion, upload: UploadInfo, parts: dict[int, PartInfo]) -> Choice:
    """The named parts among the uploaded `parts`; S3Error when they do not fit each other or the completion."""
    chosen = [_checked_part(parts.get(one["PartNumber"]), one, upload) for one in completion.parts]
    for part in chosen[:-1]:
        if part.size < MIN_PART_BYTES:
            raise S3Error(
                "EntityTooSmall",
                f"part {part.number} has {part.size} bytes; every part but the last needs {MIN_PART_BYTES}",
                ProposedSize=str(part.size),
                MinSizeAllowed=str(MIN_PART_BYTES),
                PartNumber=str(part.number),
                ETag=_part_etag(part),
            )
    size = sum(part.size for part in chosen)
    if size > MAX_OBJECT_BYTES:
        raise S3Error("EntityTooLarge", f"the parts have {size} bytes together; the maximum is {MAX_OBJECT_BYTES}")
    if completion.size not in (None, size):
        raise S3Error("InvalidRequest", f"x-amz-mp-object-size is {completion.size}, but the parts have {size} bytes")
    metadata = {f"{OWN}etag": whole_etag([_part_etag(part) for part in chosen]), PARTS_ENTRY: str(len(chosen))}
    return Choice(chosen, metadata | _whole_checksum(completion, upload, chosen))


def _checked_part(part: PartInfo | None, named: Values, upload: UploadInfo) -> PartInfo:
    """Return the part that `named` describes; S3Error if its ETag or checksum differs from the uploaded part's."""
    if part is None or bare_etag(named["ETag"]) != _part_etag(part):
        raise _invalid_part(named, "was not uploaded, or its ETag differs")
    own, stored = checksum_algorithm(upload), part_checksums(part)
    for algorithm in checksums.ALGORITHMS.values():
        sent = named.get(algorithm.member)
        if sent is None or stored.get(algorithm.member) == sent:
            continue
        if own is not None and algorithm is not own:
            raise S3Error("BadDigest", f"the {algorithm.name} of part {part.number} does not match what was received")
        raise _invalid_part(named, f"has a different {algorithm.name}, or was sent without one")
    is_composite = own is not None and upload.metadata[CHECKSUM_TYPE] == "COMPOSITE"
    if own is not None and is_composite and own.member in stored and own.member not in named:
        raise S3Error(
            "InvalidRequest",
            f"the upload was created with composite {own.name} checksums: the completion must include that of each "
            f"part, and that of part {part.number} is missing",
        )
    return part


def _invalid_part(named: Values, why: str) -> S3Error:
    number = named["PartNumber"]
    return S3Error("InvalidPart", f"part {number} {why}", PartNumber=str(number), ETag=named["ETag"])


def stored_metadata(metadata: dict[str, str]) -> dict[str, str]:
    """The part of an encrypted upload's metadata that may be stored: checksums are encrypted with the parts."""
    return {name: text for name, text in metadata.items() if not name.startswith(CHECKSUM_ENTRIES)}


def _whole_checksum(completion: Completion, upload: UploadInfo, chosen: Sequence[PartInfo]) -> dict[str, str]:
    """The whole content's checksum, made from the parts'; BadDigest when the client sent another one."""
    algorithm = checksum_algorithm(upload)
    sent = completion.checksums
    if algorithm is None:
        _check_whole(sent, chosen)
        whole_sums = checksums.default_of_parts(default_sums((part.metadata, part.size) for part in chosen))
        return {checksum_name(name): value for name, value in whole_sums.items()}
    kind = upload.metadata[CHECKSUM_TYPE]
    if completion.checksum_type not in (None, kind):
        raise S3Error("InvalidRequest", f"the checksum type must be {kind}, with which the upload was created")
    if sent.keys() - {algorithm.name}:
        raise S3Error("InvalidRequest", f"the checksum must be {algorithm.name}, with which the upload was created")
    if is_encrypted(upload) and any(algorithm.member not in part_checksums(part) for part in chosen):
        return {}  # computed on reading, when the key is there: see object_encryption.decrypted_version
    pairs = [(part_checksums(part)[algorithm.member], part.size) for part in chosen]
    whole = checksums.of_parts(algorithm, kind, pairs)
    if sent.get(algorithm.name, whole) not in (whole, whole.partition("-")[0]):
        raise S3Error("BadDigest", f"the parts do not match the {algorithm.name} in the request")
    return {checksum_name(algorithm.name): whole}


def _check_whole(sent: dict[str, str], chosen: Sequence[PartInfo]) -> None:
    """BadDigest when the parts' own checksums do not combine to those that the client sent."""
    for name, value in sent.items():
        algorithm = checksums.ALGORITHMS[name]
        pairs = [(part_checksums(part).get(algorithm.member, ""), part.size) for part in chosen]
        known = algorithm.combine is not None and all(text for text, _ in pairs)
        if known and checksums.combined(algorithm, pairs) != value:
            raise S3Error("BadDigest", f"the parts do not match the {name} in the request")


def _part_etag(part: PartInfo) -> str:
    return part.metadata[f"{OWN}etag"]


def whole_etag(etags: Sequence[str]) -> str:
    """The MD5 of the parts' MD5s, and their number."""
    running = hashlib.md5(usedforsecurity=False)
    for etag in etags:
        try:
            running.update(bytes.fromhex(etag))
        except ValueError:
            running.update(etag.encode())  # matches no part
    return f"{running.hexdigest()}-{len(etags)}"


def bare_etag(etag: str) -> str:
    """Return an ETag without quotes, in lower case."""
    return etag.strip().strip('"').lower()


def checksum_algorithm(upload: UploadInfo) -> Algorithm | None:
    """The algorithm that an upload was created with."""
    name = upload.metadata.get(CHECKSUM_ALGORITHM)
    return None if name is None else checksums.by_name(name)


def part_checksums(part: PartInfo) -> Values:
    """The members `ChecksumCRC32` and so on of a part."""
    return sums_in(part.metadata)
