"""Reads of one part of an object that was put together from parts: `partNumber=` of GetObject and HeadObject.

Parts count from 1 without gaps in the order in which they were put together, whatever their numbers were.
"""

from __future__ import annotations

from client_proxy.doors.s3.call import S3Call
from client_proxy.doors.s3.objects.object_metadata import OWN, checksum_fact
from client_proxy.doors.s3.protocol import checksums
from client_proxy.doors.s3.protocol.parameters import Values
from client_proxy.doors.s3.protocol.s3_errors import S3Error
from client_proxy.encryption.sealed_content import Parts
from lockstep_store.wire.messages.files import MAX_PART_NUMBER, FileVersion

PARTS_FACT = f"{OWN}parts-count"
"""The fact that says how many parts a version was put together from."""


def wanted_part(parts_now: Parts, call: S3Call, version: FileVersion, values: Values) -> tuple[int, int]:
    """[start, stop) of the part that the call asks for. `values` learn where it is, of how many, and its checksum."""
    number = call.values["PartNumber"]
    if "Range" in call.values:
        raise S3Error("InvalidRequest", "a range and a part number cannot both be asked for")
    if not 1 <= number <= MAX_PART_NUMBER:
        raise S3Error("InvalidArgument", f"a part's number is 1 to {MAX_PART_NUMBER}", ArgumentName="partNumber")
    parts = parts_now() if PARTS_FACT in version.metadata else []
    count = max(len(parts), 1)
    if number > count:
        raise S3Error("InvalidPart", f"the object has {count} parts; there is no part {number}")
    if not parts:  # put in one piece, which counts as its only part
        start, stop = 0, version.size
    else:
        start = sum(part.size for part in parts[: number - 1])
        stop = start + parts[number - 1].size
        values["PartsCount"] = count
        _say_checksums(values, parts[number - 1].facts)
    if stop > start:
        values["ContentRange"] = f"bytes {start}-{stop - 1}/{version.size}"
    return start, stop


def _say_checksums(values: Values, facts: dict[str, str]) -> None:
    """The part's own in the place of the whole content's, which the reader could not check."""
    for algorithm in checksums.ALGORITHMS.values():
        if values.pop(algorithm.member, None) is not None:
            own = facts.get(checksum_fact(algorithm.name))
            if own is not None:
                values[algorithm.member] = own
