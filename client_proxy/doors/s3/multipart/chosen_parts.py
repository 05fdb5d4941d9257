"""Which parts an upload is completed with: what the request names, checked against what was uploaded, and what follows
for the whole: its size, ETag and checksum."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

from client_proxy.doors.s3.call import S3Call
from client_proxy.doors.s3.objects.object_encryption import is_sealed
from client_proxy.doors.s3.objects.object_metadata import CHECKSUM_ALGORITHM, CHECKSUM_TYPE, OWN, checksum_fact, sums_in
from client_proxy.doors.s3.objects.part_reads import PARTS_FACT
from client_proxy.doors.s3.protocol import checksums
from client_proxy.doors.s3.protocol.checksums import Algorithm
from client_proxy.doors.s3.protocol.parameters import Values
from client_proxy.doors.s3.protocol.s3_errors import S3Error
from lockstep_store.wire.messages.files import MAX_PART_NUMBER
from lockstep_store.wire.messages.s3 import CHECKSUM_FACTS
from lockstep_store.wire.messages.uploads import PartInfo, UploadInfo, encode_numbers, parts_mark

MIN_PART_BYTES = 5 * 1024**2
"""Of every part but the last."""
MAX_OBJECT_BYTES = 5 * 1024**4


class Choice(NamedTuple):
    """The parts that a completion names, and what it says of the whole."""

    parts: list[PartInfo]
    facts: dict[str, str]

    @property
    def step_mark(self) -> tuple[str, str]:
        numbers = encode_numbers(part.number for part in self.parts)
        return numbers, parts_mark((part.number, part.write_id) for part in self.parts)


def named_parts(call: S3Call) -> list[Values]:
    """The parts that the request's body names; MalformedXML or InvalidPartOrder when they can be none."""
    named: list[Values] = (call.get("MultipartUpload") or {}).get("Parts") or []
    if not named or len(named) > MAX_PART_NUMBER:
        raise S3Error("MalformedXML", f"a completion names between 1 and {MAX_PART_NUMBER} parts")
    if any("PartNumber" not in part or "ETag" not in part for part in named):
        raise S3Error("MalformedXML", "each Part needs a PartNumber and an ETag")
    numbers = [part["PartNumber"] for part in named]
    if any(later <= earlier for earlier, later in pairwise(numbers)):
        raise S3Error("InvalidPartOrder", "the parts must be named in the order of their numbers, each once")
    return named


def choose(call: S3Call, upload: UploadInfo, parts: dict[int, PartInfo], named: Sequence[Values]) -> Choice:
    chosen = [_checked_part(parts.get(one["PartNumber"]), one) for one in named]
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
        raise S3Error("EntityTooLarge", f"the parts have {size} bytes together; at most {MAX_OBJECT_BYTES} are kept")
    if call.get("MpuObjectSize", size) != size:
        raise S3Error("InvalidRequest", f"x-amz-mp-object-size is not the {size} bytes that the parts have")
    facts = {f"{OWN}etag": whole_etag([_part_etag(part) for part in chosen]), PARTS_FACT: str(len(chosen))}
    return Choice(chosen, facts | _whole_checksum(call, upload, chosen))


def _checked_part(part: PartInfo | None, named: Values) -> PartInfo:
    if part is None or bare_etag(named["ETag"]) != _part_etag(part):
        raise _invalid_part(named, "was not uploaded, or has another ETag")
    stored = part_checksums(part)
    for algorithm in checksums.ALGORITHMS.values():
        told = named.get(algorithm.member)
        if told is not None and stored.get(algorithm.member, told) != told:
            raise _invalid_part(named, f"has another {algorithm.name}")
    return part


def _invalid_part(named: Values, why: str) -> S3Error:
    number = named["PartNumber"]
    return S3Error("InvalidPart", f"part {number} {why}", PartNumber=str(number), ETag=named["ETag"])


def kept_facts(facts: dict[str, str]) -> dict[str, str]:
    """Of a sealed upload's facts those that may be kept: its parts have the checksums, sealed."""
    return {name: text for name, text in facts.items() if not name.startswith(CHECKSUM_FACTS)}


def _whole_checksum(call: S3Call, upload: UploadInfo, chosen: Sequence[PartInfo]) -> dict[str, str]:
    """The whole content's checksum, composed or combined of the parts'; BadDigest when the client says otherwise."""
    algorithm = checksum_algorithm(upload)
    told = {a.name: call.values[a.member] for a in checksums.ALGORITHMS.values() if a.member in call.values}
    if algorithm is None:
        _check_whole(told, chosen)
        return {}
    kind = upload.metadata[CHECKSUM_TYPE]
    if call.get("ChecksumType", kind) != kind:
        raise S3Error("InvalidRequest", f"the upload was begun with checksums of the type {kind}")
    if told.keys() - {algorithm.name}:
        raise S3Error("InvalidRequest", f"the upload was begun with checksums by {algorithm.name}")
    if is_sealed(upload) and any(algorithm.member not in part_checksums(part) for part in chosen):
        return {}  # not known without the key, and made when it comes: see encryption.plain_version
    pairs = [(part_checksums(part)[algorithm.member], part.size) for part in chosen]
    whole = checksums.of_parts(algorithm, kind, pairs)
    if told.get(algorithm.name, whole) not in (whole, whole.partition("-")[0]):
        raise S3Error("BadDigest", f"the parts do not have the {algorithm.name} that came with the request")
    return {checksum_fact(algorithm.name): whole}


def _check_whole(told: dict[str, str], chosen: Sequence[PartInfo]) -> None:
    """BadDigest when the parts have checksums of their own that do not combine to what the client says."""
    for name, value in told.items():
        algorithm = checksums.ALGORITHMS[name]
        pairs = [(part_checksums(part).get(algorithm.member, ""), part.size) for part in chosen]
        known = algorithm.combine is not None and all(text for text, _ in pairs)
        if known and checksums.combined(algorithm, pairs) != value:
            raise S3Error("BadDigest", f"the parts do not have the {name} that came with the request")


def _part_etag(part: PartInfo) -> str:
    return part.metadata[f"{OWN}etag"]


def whole_etag(etags: Sequence[str]) -> str:
    """MD5 of the parts' MD5s, and how many they are."""
    running = hashlib.md5(usedforsecurity=False)
    for etag in etags:
        try:
            running.update(bytes.fromhex(etag))
        except ValueError:
            running.update(etag.encode())  # of no part that there is
    return f"{running.hexdigest()}-{len(etags)}"


def bare_etag(etag: str) -> str:
    return etag.strip().strip('"').lower()


def checksum_algorithm(upload: UploadInfo) -> Algorithm | None:
    """The algorithm that an upload was begun with."""
    name = upload.metadata.get(CHECKSUM_ALGORITHM)
    return None if name is None else checksums.by_name(name)


def checksum_members(upload: UploadInfo) -> Values:
    """The members `ChecksumAlgorithm` and `ChecksumType`, where the upload was begun with one."""
    name = upload.metadata.get(CHECKSUM_ALGORITHM)
    return {} if name is None else {"ChecksumAlgorithm": name, "ChecksumType": upload.metadata[CHECKSUM_TYPE]}


def part_checksums(part: PartInfo) -> Values:
    """The members `ChecksumCRC32` and so on of a part."""
    return sums_in(part.metadata)
