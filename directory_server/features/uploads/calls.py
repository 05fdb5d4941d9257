"""Calls about multipart uploads: create, list, abort.

A part is a blob that only its upload refers to: no listing and no journal shows it, and it goes with the upload. The
writes that are steps of an upload are in `steps`.

An upload that nobody completes stays, with its parts, until it is aborted: by its owner, with its bucket, or by
`abort_older_than`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial

from directory_server.access.decisions import standing
from directory_server.features.uploads.steps import UploadWrites, find, settings_for_steps
from directory_server.files.hooks import Hooks
from directory_server.files.listing import after_prefix, common_prefix
from directory_server.files.lookups import ReadingOrder
from directory_server.files.moment import MomentClock
from directory_server.files.new_version import stored_metadata
from directory_server.metadata.statements import files
from directory_server.metadata.statements import uploads as rows
from directory_server.metadata.store import MetadataStore, Reader, Tx
from directory_server.people.person import People
from lockstep_store.wire.errors import BadRequest, TooLarge
from lockstep_store.wire.messages.base import Nothing
from lockstep_store.wire.messages.files import MAX_METADATA_BYTES
from lockstep_store.wire.messages.kms import KMS_ENTRY
from lockstep_store.wire.messages.uploads import (
    CreateUploadRequest,
    UploadInfo,
    UploadPartsReply,
    UploadPartsRequest,
    UploadRequest,
    UploadsReply,
    UploadsRequest,
)
from lockstep_store.wire.messages.writes import UploadStep
from lockstep_store.wire.names import check_key

COMPLETION_BYTES = 1024
"""Room in a version's metadata for entries that are known only at completion, such as its ETag."""


class Uploads:
    """Serves the calls about multipart uploads. Thread-safe."""

    def __init__(
        self,
        store: MetadataStore,
        clock: MomentClock,
        people: People,
        servers: ReadingOrder,
        hooks: Hooks,
    ) -> None:
        self._store = store
        self._clock = clock
        self._people = people
        self._servers = servers
        self._hooks = hooks
        self._steps = UploadWrites()

    def create(self, request: CreateUploadRequest) -> UploadInfo:
        """Create an upload, durably. Safe to repeat, because the caller chooses the id."""
        person = self._people.identify(request.credential)
        check_key(request.path)
        if len(stored_metadata(request.metadata).encode()) > MAX_METADATA_BYTES - COMPLETION_BYTES:
            raise TooLarge(f"an upload's metadata may have at most {MAX_METADATA_BYTES - COMPLETION_BYTES} bytes")

        def work(tx: Tx) -> UploadInfo:
            place = standing(tx, request.bucket, person, self._clock.wall())
            place.demand("s3:PutObject", request.path)
            place.settled(request.settings, person.account)
            self._hooks.before_begin(place, request.path, request.settings, self._clock.wall())
            known = rows.find(tx, request.upload)
            if known is not None:
                if (known.bucket, known.path, known.account) != (request.bucket, request.path, person.account):
                    raise BadRequest("this upload id belongs to another upload; choose a new one")
                self._hooks.on_upload(tx, place.bucket, known)
                return known
            made = UploadInfo(
                id=request.upload,
                bucket=request.bucket,
                path=request.path,
                account=person.account,
                since_at=self._clock.wall(),
                content_type=request.content_type,
                metadata=request.metadata,
                settings=request.settings | settings_for_steps(person),
            )
            rows.insert_upload(tx, made)
            self._hooks.on_upload(tx, place.bucket, made)
            return made

        return self._store.write(work)

    def parts(self, request: UploadPartsRequest) -> UploadPartsReply:
        """Return the upload and a page of its parts."""
        person = self._people.identify(request.credential)
        with self._store.read() as reader:
            place = standing(reader, request.bucket, person, self._clock.wall())
            action = place.asked("s3:ListMultipartUploadParts", request.path)
            keys = self._steps.keys(place, UploadStep(request.upload), request.path)
            place.demand(action, request.path, keys=keys)
            upload = find(reader, request.upload, request.bucket, request.path)
            upload.owner = place.lists.owner_to_be(upload.settings)
            self._hooks.on_upload(reader, place.bucket, upload)
            found = rows.parts(reader, upload.id, request.after, request.limit + 1)
            page = found[: request.limit]
            if request.with_holders:
                for part in page:
                    ids = [row[0] for row in reader.all(files.HOLDERS, digest=part.digest)]
                    part.holders = self._servers.holders_in_reading_order(ids)
        data_key = self._hooks.data_key(upload.metadata) if KMS_ENTRY in upload.metadata else None
        return UploadPartsReply(upload, page, truncated=len(found) > len(page), data_key=data_key)

    def list(self, request: UploadsRequest) -> UploadsReply:
        """Return a page of a bucket's uploads; uploads and common prefixes count towards `limit` alike."""
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
                    upload.owner = place.lists.owner_to_be(upload.settings)
                    reply.uploads.append(upload)
                    last = (upload.path, upload.id)
                else:
                    reply.prefixes.append(folder)
                    last = (folder, "")
        return reply

    def abort(self, request: UploadRequest) -> Nothing:
        """Remove the upload and its parts, durably; raise NotFound if it was completed or aborted before."""
        person = self._people.identify(request.credential)

        def work(tx: Tx) -> Nothing:
            place = standing(tx, request.bucket, person, self._clock.wall())
            begun = rows.find(tx, request.upload)
            # The person who began it may also end it, unless that is denied; an anonymous one began nothing.
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
        """Abort a bucket's uploads that were begun before `before_at` (seconds since 1970), and return how many.

        At most `most` go, for paths that `applies` accepts, each in a transaction of its own, so that others do not
        wait for long. An upload stays when `still` returns False inside its transaction.
        """
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
    """Yield uploads in order; of each folder only the first upload, with the folder."""
    position = _start(request)
    # A folder needs only its first upload, so after one a single row is read; otherwise reads grow again.
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
