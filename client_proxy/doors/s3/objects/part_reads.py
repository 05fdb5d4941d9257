"""Reads of one part of an object: `partNumber=` of GetObject and HeadObject.

Parts are counted from 1 without gaps, in their order in the object, whatever their upload numbers were.
"""

from __future__ import annotations

from client_proxy.doors.s3.objects.object_metadata import OWN, checksum_name
from client_proxy.doors.s3.protocol import checksums
from client_proxy.doors.s3.protocol.parameters import Values
from client_proxy.doors.s3.protocol.s3_errors import S3Error
from client_proxy.encryption.encrypted_content import Parts
from lockstep_store.wire.messages.files import FileVersion
from lockstep_store.wire.messages.writes import MAX_PART_NUMBER

PARTS_ENTRY = f"{OWN}parts-count"
"""The name under which metadata has the number of parts."""


def wanted_part(parts_now: Parts, number: int, version: FileVersion, values: Values) -> tuple[int, int]:
    """Return [start, stop) of part `number`; add its place, checksum and the number of parts to `values`."""
    if not 1 <= number <= MAX_PART_NUMBER:
        raise S3Error("InvalidArgument", f"a part's number must be 1 to {MAX_PART_NUMBER}", ArgumentName="partNumber")
    parts = parts_now() if PARTS_ENTRY in version.metadata else []
    count = max(len(parts), 1)
    if number > count:
        raise S3Error(
            "InvalidPartNumber",
            f"the object has {count} part{'s' if count > 1 else ''}; there is no part {number}",
            ActualPartCount=str(count),
            PartNumberRequested=str(number),
        )
    if not parts:  # an object that was put whole counts as one part
        start, stop = 0, version.size
    else:
        start = sum(part.size for part in parts[: number - 1])
        stop = start + parts[number - 1].size
        values["PartsCount"] = count
        _put_part_checksums(values, parts[number - 1].facts)
    if stop > start:
        values["ContentRange"] = f"bytes {start}-{stop - 1}/{version.size}"
    return start, stop


def _put_part_checksums(values: Values, facts: dict[str, str]) -> None:
    """Replaces the checksums of the whole content, which the reader could not check, by the part's own."""
    for algorithm in checksums.ALGORITHMS.values():
        if values.pop(algorithm.member, None) is not None:
            own = facts.get(checksum_name(algorithm.name))
            if own is not None:
                values[algorithm.member] = own
