"""Multipart uploads: begun, listed, aborted; and what a write does that is a step of one.

A part is a blob that only its upload refers to: nothing lists it, the journal does not know it, and it goes with the
upload. Completing takes the upload away in the transaction that makes the version, so of completions, aborts and
late parts that race exactly one comes first, and nothing is without a reference in between. The calls are here; the
steps (`UploadStep`) are functions inside the transactions of `writes` and `commits`.

An upload that nobody completes stays, and its parts with it, until it is aborted: by its owner, with its bucket, or by
`abort_older_than`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import TypeGuard

from directory_server.access.decisions import Standing, standing
from directory_server.features import object_lock
from directory_server.features.lifecycle.dates import LifecycleDates
from directory_server.files import versions
from directory_server.files.listing import after_prefix, common_prefix
from directory_server.files.namespace import no_data_key, stored_metadata
from directory_server.files.versions import Moment, NewVersion
from directory_server.metadata.statements import files
from directory_server.metadata.statements import uploads as rows
from directory_server.metadata.store import MetadataStore, Reader, Tx
from directory_server.people.person import Person
from directory_server.ports import Clock, People, ReadingOrder
from lockstep_store.wire.codec import decoder, encode
from lockstep_store.wire.digest import Digest
from lockstep_store.wire.errors import BadRequest, Conflict, NotFound, TicketRefused, TooLarge
from lockstep_store.wire.messages.files import (
    MAX_METADATA_BYTES,
    MAX_PART_NUMBER,
    DataKey,
    FileVersion,
    Nothing,
    UploadStep,
)
from lockstep_store.wire.messages.kms import KMS_FACT
from lockstep_store.wire.messages.uploads import (
    PARTS_SETTING,
    CreateUploadRequest,
    PartInfo,
    UploadInfo,
    UploadPartsReply,
    UploadPartsRequest,
    UploadRequest,
    UploadsReply,
    UploadsRequest,
    decode_numbers,
    parts_mark,
)
from lockstep_store.wire.names import check_key

_SAID = "said"
"""Among an upload's settings: the condition keys of the request that began it which are about the version. They are
not the version's, and go with the upload."""
_ABOUT_THE_VERSION = ("s3:x-amz-", "s3:object-lock-", "s3:requestobjecttag")
_ABOUT_THE_REQUEST = frozenset({"s3:x-amz-content-sha256", "s3:x-amz-copy-source", "s3:x-amz-metadata-directive"})
_said = decoder(dict[str, list[str]])
COMPLETION_BYTES = 1024
"""Room in a version's metadata for what is known only when an upload is completed, such as its ETag."""


@dataclass(frozen=True)
class PartContent:
    """What a write brought for a part."""

    digest: Digest
    size: int
    write_id: str
    facts: dict[str, str]


class Uploads:
    """The calls about uploads. Thread-safe. `data_key` is as the namespace has it."""

    def __init__(
        self,
        store: MetadataStore,
        clock: Clock,
        people: People,
        servers: ReadingOrder,
        dates: LifecycleDates,
        data_key: Callable[[Mapping[str, str]], DataKey] = no_data_key,
    ) -> None:
        self._dates = dates
        self._store = store
        self._clock = clock
        self._people = people
        self._servers = servers
        self._data_key = data_key

    def create(self, request: CreateUploadRequest) -> UploadInfo:
        """Durable on return; safe to repeat, as the caller made the id up."""
        person = self._people.identify(request.credential)
        check_key(request.path)
        if len(stored_metadata(request.metadata).encode()) > MAX_METADATA_BYTES - COMPLETION_BYTES:
            raise TooLarge(f"an upload's metadata has at most {MAX_METADATA_BYTES - COMPLETION_BYTES} bytes")

        def work(tx: Tx) -> UploadInfo:
            place = standing(tx, request.bucket, person, self._clock.wall())
            place.demand("s3:PutObject", request.path)
            place.settled(request.settings, person.account)
            object_lock.check_new(place, request.path, request.settings, self._clock.wall())
            known = rows.find(tx, request.upload)
            if known is not None:
                if (known.bucket, known.path, known.account) != (request.bucket, request.path, person.account):
                    raise BadRequest("this upload id is another upload's; make up a new one")
                known.aborted = self._dates.of_upload(place.ground.lifecycle, known)
                return known
            made = UploadInfo(
                id=request.upload,
                bucket=request.bucket,
                path=request.path,
                account=person.account,
                since_at=self._clock.wall(),
                content_type=request.content_type,
                metadata=request.metadata,
                settings=request.settings | _said_by(person),
            )
            rows.insert_upload(tx, made)
            made.aborted = self._dates.of_upload(place.ground.lifecycle, made)
            return made

        return self._store.write(work)

    def parts(self, request: UploadPartsRequest) -> UploadPartsReply:
        """The upload and a page of its parts."""
        person = self._people.identify(request.credential)
        with self._store.read() as reader:
            place = standing(reader, request.bucket, person, self._clock.wall())
            action = place.asked("s3:ListMultipartUploadParts", request.path)
            place.demand(action, request.path, keys=said_at_start(place, UploadStep(request.upload), request.path))
            upload = find(reader, request.upload, request.bucket, request.path)
            upload.aborted = self._dates.of_upload(place.ground.lifecycle, upload)
            found = rows.parts(reader, upload.id, request.after, request.limit + 1)
            page = found[: request.limit]
            if request.with_holders:
                for part in page:
                    ids = [row[0] for row in reader.all(files.HOLDERS, digest=part.digest)]
                    part.holders = self._servers.holders_in_reading_order(ids)
        data_key = self._data_key(upload.metadata) if KMS_FACT in upload.metadata else None
        return UploadPartsReply(upload, page, truncated=len(found) > len(page), data_key=data_key)

    def list(self, request: UploadsRequest) -> UploadsReply:
        """A page of a bucket's uploads; uploads and common prefixes count towards `limit` alike."""
        person = self._people.identify(request.credential)
        reply = UploadsReply([], [], None)
        last = request.after
        with self._store.read() as reader:
            place = standing(reader, request.bucket, person, self._clock.wall())
            place.demand("s3:ListBucketMultipartUploads", keys={"s3:prefix": [request.prefix]})
            for upload, folder in _entries(reader, request):
                if len(reply.uploads) + len(reply.prefixes) == request.limit:
                    reply.next_after = last
                    break
                if folder is None:
                    reply.uploads.append(upload)
                    last = (upload.path, upload.id)
                else:
                    reply.prefixes.append(folder)
                    last = (folder, "")
        return reply

    def abort(self, request: UploadRequest) -> Nothing:
        """The upload and its parts are gone when this returns. NotFound when it was completed or aborted before."""
        person = self._people.identify(request.credential)

        def work(tx: Tx) -> Nothing:
            place = standing(tx, request.bucket, person, self._clock.wall())
            begun = rows.find(tx, request.upload)
            # Who began it may end it, too, unless that is denied; nobody without a name began anything.
            is_own = begun is not None and begun.account == person.account != ""
            if not is_own or place.denied("s3:AbortMultipartUpload", request.path):
                place.demand("s3:AbortMultipartUpload", request.path)
            rows.drop(tx, find(tx, request.upload, request.bucket, request.path).id)
            return Nothing()

        return self._store.write(work)

    def abort_older_than(
        self,
        bucket: str,
        before_at: float,
        applies: Callable[[str], bool],
        *,
        still: Callable[[Reader], bool] = lambda _: True,
        most: int = 1000,
    ) -> int:
        """Abort a bucket's uploads that were begun before `before_at` (seconds since 1970) for paths that `applies`
        names, at most `most`; how many went. One transaction each, so nobody waits for long; none goes for which
        `still` says no inside it."""
        with self._store.read() as reader:
            old = [id for id, path in rows.older_than(reader, bucket, before_at) if applies(path)]
        aborted = 0
        for id in old[:most]:
            aborted += self._store.write(partial(_drop_if_there, id=id, still=still))
        return aborted


def _drop_if_there(tx: Tx, id: str, still: Callable[[Reader], bool]) -> int:
    if rows.find(tx, id) is None or not still(tx):
        return 0
    rows.drop(tx, id)
    return 1


def _entries(reader: Reader, request: UploadsRequest) -> Iterable[tuple[UploadInfo, str | None]]:
    """Uploads in order, the first of each folder with that folder, which stands for all in it."""
    position = _start(request)
    # Of a folder the first upload is enough, so after one a single row is read; otherwise reads grow longer again.
    most = request.limit + 1
    count = 1 if request.delimiter else most
    while position is not None:
        found = rows.page(reader, request.bucket, position, count)
        position = None
        for upload in found:
            if not upload.path.startswith(request.prefix):
                return
            folder = common_prefix(upload.path, request.prefix, request.delimiter)
            yield upload, folder
            if folder is not None:
                following = after_prefix(folder)
                position = (following, "") if following is not None else None
                count = 1
                break
        else:
            if len(found) == count:
                position = (found[-1].path, found[-1].id)
                count = min(2 * count, most)


def _start(request: UploadsRequest) -> tuple[str, str] | None:
    if request.after is None or request.after[0] < request.prefix:
        return request.prefix, ""
    path, id = request.after
    if common_prefix(path, request.prefix, request.delimiter) == path:
        following = after_prefix(path)
        return (following, "") if following is not None else None
    return (path, id) if id else rows.behind_path(path)


# ---------------------------------------------------------------- steps, each inside a write's own transaction


def find(reader: Reader, id: str, bucket: str, path: str) -> UploadInfo:
    """The upload; NotFound with the fact `upload` unless it is under way for just this bucket and path."""
    found = rows.find(reader, id)
    if found is None or (found.bucket, found.path) != (bucket, path):
        raise NotFound(
            "there is no such upload under way for this file: it was completed or aborted, or its id is wrong",
            bucket=bucket,
            path=path,
            upload=id,
        )
    return found


def said_at_start(place: Standing, step: UploadStep | None, path: str) -> Mapping[str, list[str]]:
    """What the request that began an upload said of the version to be (its encryption, list, tags, lock) as condition
    keys. Clients say it then and not again, so parts and completion are judged by it, too."""
    upload = rows.find(place.reader, step.id) if step is not None and place.ground.rules is not None else None
    if upload is None or (upload.bucket, upload.path) != (place.bucket.name, path):
        return {}
    return _said.decode(upload.settings.get(_SAID, "{}"))


def _said_by(person: Person) -> dict[str, str]:
    keys = person.access.keys if person.access is not None else {}
    kept = {k: v for k, v in keys.items() if k.startswith(_ABOUT_THE_VERSION) and k not in _ABOUT_THE_REQUEST}
    return {_SAID: encode(kept).decode()} if kept else {}


def done_before(reader: Reader, step: UploadStep | None, write_id: str, bucket: str, path: str) -> FileVersion | None:
    """What this very write made before: its version, or, for a part, the part in the shape of one."""
    if step is None:
        return versions.written_before(reader, write_id, bucket, path)
    if not step.part:
        try:
            return versions.written_before(reader, write_id, bucket, path)
        except BadRequest:
            find(reader, step.id, bucket, path)  # NotFound: it was another file's upload
            raise
    part = rows.find_part(reader, step.id, step.part)
    if part is not None and part.write_id == write_id:
        return _as_version(find(reader, step.id, bucket, path), part)
    past = versions.answer_of(reader, write_id, bucket, path)
    if past is not None and past.given_up:
        raise TicketRefused("this part was given up by the proxy that began it; send it again")
    return past.version if past is not None else None


def keep(reader: Reader, step: UploadStep) -> list[str]:
    """The servers that a step's bytes should go to: where its other parts are."""
    if not step.part:
        return rows.holders_by_bytes(reader, step.id)
    first = rows.parts(reader, step.id, 0, 1)
    return [row[0] for row in reader.all(files.HOLDERS, digest=first[0].digest)] if first else []


def is_part(step: UploadStep | None) -> TypeGuard[UploadStep]:
    """Whether a write stores a part of an upload, and so makes no version."""
    return step is not None and step.part > 0


def put_part(tx: Tx, step: UploadStep, bucket: str, path: str, content: PartContent, moment: Moment) -> FileVersion:
    """Make a stored blob the part, in the place of an earlier one of its number. NotFound without its upload."""
    upload = find(tx, step.id, bucket, path)
    if not 1 <= step.part <= MAX_PART_NUMBER:
        raise BadRequest(f"part numbers are 1 to {MAX_PART_NUMBER}")
    stored_metadata(content.facts)
    replaced = rows.find_part(tx, step.id, step.part)
    if replaced is not None:
        tx.run(files.DROP_REFERENCE, digest=replaced.digest)
        if tx.one(files.PAST_WRITE, write_id=replaced.write_id) is None:  # or it was given up too late
            past = versions.PastAnswer(bucket, path, version=_as_version(upload, replaced))
            versions.remember(tx, replaced.write_id, past, moment)
    made = PartInfo(step.part, content.digest, content.size, moment.at, content.write_id, content.facts)
    rows.put_part(tx, step.id, made)
    versions.refer(tx, content.digest, content.size)
    return _as_version(upload, made)


def take(tx: Tx, step: UploadStep, bucket: str, new: NewVersion, metadata: dict[str, str]) -> NewVersion:
    """Take the upload away to make `new` of it; `new` with all that was said when the upload was begun, and with
    `metadata`. Conflict when a chosen part was sent again since the parts were put together."""
    upload = find(tx, step.id, bucket, new.path)
    chosen = set(decode_numbers(step.chosen))
    parts = [part for part in rows.parts(tx, step.id, 0, MAX_PART_NUMBER) if part.number in chosen]
    if len(parts) != len(chosen) or parts_mark((part.number, part.write_id) for part in parts) != step.mark:
        raise Conflict("parts of the upload were sent again while it was being completed; complete it again")
    told = encode([(part.number, part.size, part.metadata) for part in parts]).decode()
    rows.drop(tx, step.id)
    return replace(
        new,
        content_type=upload.content_type,
        metadata=stored_metadata(upload.metadata | metadata),
        settings={name: value for name, value in upload.settings.items() if name != _SAID} | {PARTS_SETTING: told},
    )


def _as_version(upload: UploadInfo, part: PartInfo) -> FileVersion:
    """A part in the shape in which writes answer; without a version id, because it is none."""
    return FileVersion(
        bucket=upload.bucket,
        path=upload.path,
        version="",
        digest=part.digest,
        size=part.size,
        author=upload.account,
        created_at=part.at,
        metadata=part.metadata,
        current=False,
    )
