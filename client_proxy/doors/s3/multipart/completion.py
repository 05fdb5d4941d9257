"""Completion: what a CompleteMultipartUpload requests, parsed once."""

from __future__ import annotations

from itertools import pairwise

import msgspec

from client_proxy.doors.s3.call import S3Call
from client_proxy.doors.s3.objects.conditional import WriteConditions
from client_proxy.doors.s3.objects.object_write import read_write_conditions
from client_proxy.doors.s3.protocol import checksums
from client_proxy.doors.s3.protocol.parameters import Values
from client_proxy.doors.s3.protocol.s3_errors import S3Error
from client_proxy.doors.s3.security.encryption import CustomerKey, customer_key
from lockstep_store.wire.messages.writes import MAX_PART_NUMBER

_CHECKSUM_MEMBERS = frozenset(algorithm.member for algorithm in checksums.ALGORITHMS.values())


class Completion(msgspec.Struct, frozen=True):
    """The parts to join, and what the client declares about the whole."""

    parts: list[Values]
    """As the body names them, in order."""
    conditions: WriteConditions
    customer_key: CustomerKey | None
    checksums: dict[str, str]
    """Of the whole content, by algorithm, in base64."""
    checksum_type: str | None
    size: int | None

    @property
    def has_checksums(self) -> bool:
        """A checksum of the whole or of a part was sent."""
        return bool(self.checksums) or any(_CHECKSUM_MEMBERS & part.keys() for part in self.parts)


def read_completion(call: S3Call) -> Completion:
    """The completion that a call requests."""
    values = call.values
    return Completion(
        parts=_named_parts((values.get("MultipartUpload") or {}).get("Parts") or []),
        conditions=read_write_conditions(call),
        customer_key=customer_key(values),
        checksums={one.name: values[one.member] for one in checksums.ALGORITHMS.values() if one.member in values},
        checksum_type=values.get("ChecksumType"),
        size=values.get("MpuObjectSize"),
    )


def _named_parts(named: list[Values]) -> list[Values]:
    """Return `named`; raise MalformedXML or InvalidPartOrder if no upload can have such parts."""
    if not named or len(named) > MAX_PART_NUMBER:
        raise S3Error("MalformedXML", f"a completion must name between 1 and {MAX_PART_NUMBER} parts")
    if any("PartNumber" not in part or "ETag" not in part for part in named):
        raise S3Error("MalformedXML", "each Part needs a PartNumber and an ETag")
    numbers = [part["PartNumber"] for part in named]
    if any(later <= earlier for earlier, later in pairwise(numbers)):
        raise S3Error("InvalidPartOrder", "name each part once, in the order of their numbers")
    return named
