"""Multipart uploads: begun, completed, aborted.

Completing moves no bytes: the directory says what the parts are, their manifests are put one after the other, and the
directory makes the version in the transaction that ends the upload. The write is named after the upload, so whoever
completes again, because an answer was lost, hears the same answer: for as long as the version exists, and for a day
after it is gone. What a part is sent as is `upload_parts`' business.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import NamedTuple, TypeVar
from urllib.parse import quote

import msgspec

from client_proxy.composition import Stored
from client_proxy.content_keys import ContentKey
from client_proxy.needs import Directory
from client_proxy.s3 import checksums
from client_proxy.s3.checksums import Algorithm
from client_proxy.s3.encryption import (
    customer_key,
    is_sealed,
    key_of,
    parts_of,
    plain_part,
    plain_version,
    said,
    upload_key,
)
from client_proxy.s3.handling import Handlers, S3Call
from client_proxy.s3.needs import S3Files
from client_proxy.s3.object_facts import (
    CHECKSUM_ALGORITHM,
    CHECKSUM_TYPE,
    OWN,
    checksum_fact,
    checksums_of,
    etag_of,
    expiration_of,
    sums_in,
    version_id_of,
    written_metadata,
)
from client_proxy.s3.objects import lock_number
from client_proxy.s3.parameters import Values
from client_proxy.s3.part_reads import PARTS_FACT
from client_proxy.s3.refusals import S3Refusal
from client_proxy.s3.version_settings import written_settings
from wire.errors import Conflict, NotFound
from wire.messages import MAX_PART_NUMBER, FileVersion, Holder, Preconditions, UploadStep
from wire.names import check_key
from wire.s3_messages import CHECKSUM_FACTS, CUSTOMER_KEY_FACT
from wire.upload_messages import (
    ABORT_UPLOAD,
    CREATE_UPLOAD,
    UPLOAD_PARTS,
    CreateUploadRequest,
    PartInfo,
    UploadInfo,
    UploadPartsRequest,
    UploadRequest,
    encode_numbers,
    parts_mark,
)

MIN_PART_BYTES = 5 * 1024**2
"""Of every part but the last."""
MAX_OBJECT_BYTES = 5 * 1024**4
MAX_UPLOAD_ID = 48
_ATTEMPTS = 3
"""A part that is sent again while the upload is completed makes one more look necessary."""


R = TypeVar("R", bound=UploadRequest)


class Choice(NamedTuple):
    """The parts that a completion names, and what it says of the whole."""

    parts: list[PartInfo]
    facts: dict[str, str]

    @property
    def step_mark(self) -> tuple[str, str]:
        numbers = encode_numbers(part.number for part in self.parts)
        return numbers, parts_mark((part.number, part.write_id) for part in self.parts)


class MultipartHandlers:
    """`preconditions` makes of a write's conditions what the commit shall check; `now` is seconds since 1970."""

    def __init__(
        self,
        files: S3Files,
        directory: Directory,
        preconditions: Callable[[S3Call], Preconditions],
        now: Callable[[], float],
    ) -> None:
        self._files = files
        self._directory = directory
        self._preconditions = preconditions
        self._now = now

    def handlers(self) -> Handlers:
        return {
            "CreateMultipartUpload": self.create,
            "CompleteMultipartUpload": self.complete,
            "AbortMultipartUpload": self.abort,
        }

    def create(self, call: S3Call) -> Values:
        """CreateMultipartUpload: everything that the version shall say apart from its bytes."""
        algorithm, kind = _wanted_checksum(call)
        facts = written_metadata(call.values, call.request.get("Expires"))
        if algorithm is not None:
            facts |= {CHECKSUM_ALGORITHM: algorithm.name, CHECKSUM_TYPE: kind}
        key = customer_key(call.values)
        if key is not None:
            facts |= key.content_key.new_facts()
        made: UploadInfo = self._directory.call(
            CREATE_UPLOAD,
            CreateUploadRequest(
                credential=call.credential,
                bucket=call.bucket,
                path=check_key(call.key),
                # Rises with time, so that listings are by age; the rest nobody can guess.
                upload=f"{int(self._now() * 1_000_000):014x}{secrets.token_hex(16)}",
                content_type=call.get("ContentType") or "binary/octet-stream",
                metadata=facts,
                settings=written_settings(call.values),
            ),
        )
        values: Values = {"Bucket": call.bucket, "Key": call.key, "UploadId": made.id}
        return values | abort_members(made) | checksum_members(made) | said(key)

    def abort(self, call: S3Call) -> Values:
        """AbortMultipartUpload."""
        self._directory.call(ABORT_UPLOAD, _request(UploadRequest, call))
        return {}

    # ------------------------------------------------------------ completing

    def complete(self, call: S3Call) -> Values:
        """CompleteMultipartUpload."""
        named = _named_parts(call)
        for attempts_left in reversed(range(_ATTEMPTS)):
            try:
                return self._complete(call, named)
            except Conflict:
                if not attempts_left:
                    raise
        raise AssertionError("unreachable")

    def _complete(self, call: S3Call, named: Sequence[Values]) -> Values:
        id = upload_id(call)
        try:
            upload, parts = self._all_parts(call)
        except NotFound as error:
            if "upload" not in error.facts:
                raise
            return self._completed_before(call, named)
        key = _completing_key(call, upload, named)
        choice = _choose(call, upload, {number: plain_part(part, key) for number, part in parts.items()}, named)
        numbers, mark = choice.step_mark
        committed = self._files.compose(
            call.credential,
            call.bucket,
            call.key,
            [self._stored(call, part) for part in choice.parts],
            upload=UploadStep(id, chosen=numbers, mark=mark),
            write_id=_write_id(id),
            lock_number=lock_number(call),
            preconditions=self._preconditions(call),
            metadata=_kept(choice.facts) if is_sealed(upload) else choice.facts,
        )
        if etag_of(committed.version) != choice.facts[f"{OWN}etag"]:  # another completion, of other parts, was first
            raise _no_such_upload(id)
        call.headers.append(("x-lockstep-copies", f"{committed.copies}/{committed.copies} fsynced"))
        made = committed.version
        return _answer(call, msgspec.structs.replace(made, metadata=made.metadata | choice.facts))

    def _completed_before(self, call: S3Call, named: Sequence[Values]) -> Values:
        """The answer of a completion of just these parts that was done; NoSuchUpload when there was none."""
        id = upload_id(call)
        version = self._files.composed_before(call.credential, call.bucket, call.key, UploadStep(id), _write_id(id))
        if version is None or etag_of(version) != _whole_etag([_plain(part["ETag"]) for part in named]):
            raise _no_such_upload(id)
        key = customer_key(call.values)
        if key is not None:
            key_of(version, key)
        return _answer(call, plain_version(version, key, parts_of(self._files, call.credential, version, key)))

    def _all_parts(self, call: S3Call) -> tuple[UploadInfo, dict[int, PartInfo]]:
        found: dict[int, PartInfo] = {}
        after = 0
        while True:
            request = _request(UploadPartsRequest, call)
            request.after, request.with_holders = after, True
            reply = self._directory.call(UPLOAD_PARTS, request)
            found |= {part.number: part for part in reply.parts}
            if not reply.truncated:
                return reply.upload, found
            after = reply.parts[-1].number

    def _stored(self, call: S3Call, part: PartInfo) -> Stored:
        def holders_now() -> list[Holder]:
            request = _request(UploadPartsRequest, call)
            request.after, request.limit, request.with_holders = part.number - 1, 1, True
            found: list[PartInfo] = self._directory.call(UPLOAD_PARTS, request).parts
            return found[0].holders if found else []

        return Stored(f"part {part.number} of {call.key!r}", part.digest, part.size, part.holders, holders_now)


def checksum_algorithm(upload: UploadInfo) -> Algorithm | None:
    """The algorithm that an upload was begun with."""
    name = upload.metadata.get(CHECKSUM_ALGORITHM)
    return None if name is None else checksums.by_name(name)


def checksum_members(upload: UploadInfo) -> Values:
    """The members `ChecksumAlgorithm` and `ChecksumType`, where the upload was begun with one."""
    name = upload.metadata.get(CHECKSUM_ALGORITHM)
    return {} if name is None else {"ChecksumAlgorithm": name, "ChecksumType": upload.metadata[CHECKSUM_TYPE]}


def abort_members(upload: UploadInfo) -> Values:
    """The members `AbortDate` and `AbortRuleId`, where the bucket's lifecycle does not wait for ever."""
    goes = upload.aborted
    return {} if goes is None else {"AbortDate": goes.at, "AbortRuleId": goes.rule}


def part_checksums(part: PartInfo) -> Values:
    """The members `ChecksumCRC32` and so on of a part."""
    return sums_in(part.metadata)


def _request(kind: type[R], call: S3Call) -> R:
    return kind(call.credential, call.bucket, check_key(call.key), upload_id(call))


def upload_id(call: S3Call) -> str:
    """The call's UploadId as the directory can be asked for it: what is too long to be one stays none when it is cut.

    It is asked in any case, because who may not know of the bucket must not hear of its uploads either.
    """
    text: str = call.values["UploadId"]
    return text[:MAX_UPLOAD_ID] or "-"


def _no_such_upload(id: str) -> S3Refusal:
    return S3Refusal(
        "NoSuchUpload", "there is no such upload: it was completed or aborted, or its id is wrong", UploadId=id[:256]
    )


def _write_id(upload_id: str) -> str:
    return f"complete-{upload_id:0>7}"  # as long as a write's name must be, whatever somebody calls an upload


def _wanted_checksum(call: S3Call) -> tuple[Algorithm | None, str]:
    name, kind = call.get("ChecksumAlgorithm"), call.get("ChecksumType")
    if name is None:
        if kind is not None:
            raise S3Refusal("InvalidRequest", "x-amz-checksum-type needs an x-amz-checksum-algorithm")
        return None, ""
    algorithm = checksums.by_name(name)
    kind = kind or ("FULL_OBJECT" if algorithm.name == "CRC64NVME" else "COMPOSITE")
    if kind == "FULL_OBJECT" and algorithm.combine is None:
        raise S3Refusal("InvalidRequest", f"{algorithm.name} has no FULL_OBJECT form for multipart uploads")
    if kind == "COMPOSITE" and algorithm.name == "CRC64NVME":
        raise S3Refusal("InvalidRequest", "CRC64NVME has no COMPOSITE form")
    return algorithm, kind


# ---------------------------------------------------------------- which parts


def _named_parts(call: S3Call) -> list[Values]:
    """The parts that the request's body names; MalformedXML or InvalidPartOrder when they can be none."""
    named: list[Values] = (call.get("MultipartUpload") or {}).get("Parts") or []
    if not named or len(named) > MAX_PART_NUMBER:
        raise S3Refusal("MalformedXML", f"a completion names between 1 and {MAX_PART_NUMBER} parts")
    if any("PartNumber" not in part or "ETag" not in part for part in named):
        raise S3Refusal("MalformedXML", "each Part needs a PartNumber and an ETag")
    numbers = [part["PartNumber"] for part in named]
    if any(later <= earlier for earlier, later in pairwise(numbers)):
        raise S3Refusal("InvalidPartOrder", "the parts must be named in the order of their numbers, each once")
    return named


def _choose(call: S3Call, upload: UploadInfo, parts: dict[int, PartInfo], named: Sequence[Values]) -> Choice:
    chosen = [_checked_part(parts.get(one["PartNumber"]), one) for one in named]
    for part in chosen[:-1]:
        if part.size < MIN_PART_BYTES:
            raise S3Refusal(
                "EntityTooSmall",
                f"part {part.number} has {part.size} bytes; every part but the last needs {MIN_PART_BYTES}",
                ProposedSize=str(part.size),
                MinSizeAllowed=str(MIN_PART_BYTES),
                PartNumber=str(part.number),
                ETag=_part_etag(part),
            )
    size = sum(part.size for part in chosen)
    if size > MAX_OBJECT_BYTES:
        raise S3Refusal("EntityTooLarge", f"the parts have {size} bytes together; at most {MAX_OBJECT_BYTES} are kept")
    if call.get("MpuObjectSize", size) != size:
        raise S3Refusal("InvalidRequest", f"x-amz-mp-object-size is not the {size} bytes that the parts have")
    facts = {f"{OWN}etag": _whole_etag([_part_etag(part) for part in chosen]), PARTS_FACT: str(len(chosen))}
    return Choice(chosen, facts | _whole_checksum(call, upload, chosen))


def _checked_part(part: PartInfo | None, named: Values) -> PartInfo:
    if part is None or _plain(named["ETag"]) != _part_etag(part):
        raise _invalid_part(named, "was not uploaded, or has another ETag")
    stored = part_checksums(part)
    for algorithm in checksums.ALGORITHMS.values():
        told = named.get(algorithm.member)
        if told is not None and stored.get(algorithm.member, told) != told:
            raise _invalid_part(named, f"has another {algorithm.name}")
    return part


def _invalid_part(named: Values, why: str) -> S3Refusal:
    number = named["PartNumber"]
    return S3Refusal("InvalidPart", f"part {number} {why}", PartNumber=str(number), ETag=named["ETag"])


def _completing_key(call: S3Call, upload: UploadInfo, named: Sequence[Values]) -> ContentKey | None:
    """The key that comes with a completion, which needs one only for checksums."""
    key = customer_key(call.values)
    if key is not None or not is_sealed(upload):
        return upload_key(upload, key)
    members = {algorithm.member for algorithm in checksums.ALGORITHMS.values()}
    if any(members & values.keys() for values in (call.values, *named)):
        raise S3Refusal(
            "InvalidRequest",
            "the upload was begun with a customer's key (SSE-C): its checksums can only be compared when that key is "
            "sent along",
        )
    return None


def _kept(facts: dict[str, str]) -> dict[str, str]:
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
        raise S3Refusal("InvalidRequest", f"the upload was begun with checksums of the type {kind}")
    if told.keys() - {algorithm.name}:
        raise S3Refusal("InvalidRequest", f"the upload was begun with checksums by {algorithm.name}")
    if is_sealed(upload) and any(algorithm.member not in part_checksums(part) for part in chosen):
        return {}  # not known without the key, and made when it comes: see encryption.plain_version
    pairs = [(part_checksums(part)[algorithm.member], part.size) for part in chosen]
    whole = checksums.of_parts(algorithm, kind, pairs)
    if told.get(algorithm.name, whole) not in (whole, whole.partition("-")[0]):
        raise S3Refusal("BadDigest", f"the parts do not have the {algorithm.name} that came with the request")
    return {checksum_fact(algorithm.name): whole}


def _check_whole(told: dict[str, str], chosen: Sequence[PartInfo]) -> None:
    """BadDigest when the parts have checksums of their own that do not combine to what the client says."""
    for name, value in told.items():
        algorithm = checksums.ALGORITHMS[name]
        pairs = [(part_checksums(part).get(algorithm.member, ""), part.size) for part in chosen]
        known = algorithm.combine is not None and all(text for text, _ in pairs)
        if known and checksums.combined(algorithm, pairs) != value:
            raise S3Refusal("BadDigest", f"the parts do not have the {name} that came with the request")


def _part_etag(part: PartInfo) -> str:
    return part.metadata[f"{OWN}etag"]


def _whole_etag(etags: Sequence[str]) -> str:
    """MD5 of the parts' MD5s, and how many they are."""
    running = hashlib.md5(usedforsecurity=False)
    for etag in etags:
        try:
            running.update(bytes.fromhex(etag))
        except ValueError:
            running.update(etag.encode())  # of no part that there is
    return f"{running.hexdigest()}-{len(etags)}"


def _plain(etag: str) -> str:
    return etag.strip().strip('"').lower()


def _answer(call: S3Call, version: FileVersion) -> Values:
    environ = call.request.environ
    place = f"{environ['wsgi.url_scheme']}://{environ.get('HTTP_HOST', '')}{quote(call.request.resource)}"
    return {
        "Location": place,
        "Bucket": call.bucket,
        "Key": call.key,
        "ETag": f'"{etag_of(version)}"',
        **checksums_of(version),
        **version_id_of(version),
        **expiration_of(version),
        **({"SSECustomerAlgorithm": "AES256"} if CUSTOMER_KEY_FACT in version.metadata else {}),
    }
