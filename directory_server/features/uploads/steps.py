"""Writes that are steps of a multipart upload: they store a part or complete the upload.

Completing deletes the upload in the transaction that makes the version. So exactly one of concurrent completions,
aborts and late parts comes first, and no blob is ever without a reference.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from directory_server.access.decisions import Standing
from directory_server.files import past_writes
from directory_server.files.hooks import PartContent
from directory_server.files.moment import Moment
from directory_server.files.new_version import NewVersion, stored_metadata
from directory_server.files.versions import refer
from directory_server.metadata.statements import files
from directory_server.metadata.statements import uploads as rows
from directory_server.metadata.store import Reader, Tx
from directory_server.people.person import Person
from lockstep_store.wire.codec import decoder, encode
from lockstep_store.wire.errors import BadRequest, Conflict, NotFound, TicketRefused
from lockstep_store.wire.messages.files import FileVersion
from lockstep_store.wire.messages.uploads import PARTS_SETTING, PartInfo, UploadInfo, decode_numbers, parts_mark
from lockstep_store.wire.messages.writes import MAX_PART_NUMBER, UploadStep

_KEYS_SETTING = "said"
"""The upload setting with the condition keys of the request that began it, as far as they concern the version. It does
not become a setting of the version."""
_ABOUT_THE_VERSION = ("s3:x-amz-", "s3:object-lock-", "s3:requestobjecttag")
_ABOUT_THE_REQUEST = frozenset({"s3:x-amz-content-sha256", "s3:x-amz-copy-source", "s3:x-amz-metadata-directive"})
_condition_keys = decoder(dict[str, list[str]])


def find(reader: Reader, id: str, bucket: str, path: str) -> UploadInfo:
    """Return the upload; NotFound, with its id, unless it is under way for this bucket and path."""
    found = rows.find(reader, id)
    if found is None or (found.bucket, found.path) != (bucket, path):
        raise NotFound(
            "there is no such upload under way for this file: it was completed or aborted, or its id is wrong",
            bucket=bucket,
            path=path,
            upload=id,
        )
    return found


def settings_for_steps(person: Person) -> dict[str, str]:
    """Return the upload setting that keeps the beginning request's condition keys for the upload's steps."""
    keys = person.access.keys if person.access is not None else {}
    kept = {k: v for k, v in keys.items() if k.startswith(_ABOUT_THE_VERSION) and k not in _ABOUT_THE_REQUEST}
    return {_KEYS_SETTING: encode(kept).decode()} if kept else {}


class UploadWrites:
    """Implements `files.hooks.UploadSteps`. Stateless."""

    def keys(self, place: Standing, step: UploadStep, path: str) -> Mapping[str, list[str]]:
        """Return condition keys about the version from the request that began the upload.

        Clients send its encryption, list, tags and lock only then, so parts and completion are judged by them too.
        """
        upload = rows.find(place.reader, step.id) if place.ground.rules is not None else None
        if upload is None or (upload.bucket, upload.path) != (place.bucket.name, path):
            return {}
        return _condition_keys.decode(upload.settings.get(_KEYS_SETTING, "{}"))

    def check(self, reader: Reader, step: UploadStep, bucket: str, path: str) -> None:
        find(reader, step.id, bucket, path)

    def done_before(
        self, reader: Reader, step: UploadStep, write_id: str, bucket: str, path: str
    ) -> FileVersion | None:
        if not step.part:
            try:
                return past_writes.written_before(reader, write_id, bucket, path)
            except BadRequest:
                find(reader, step.id, bucket, path)  # NotFound: it was another file's upload
                raise
        part = rows.find_part(reader, step.id, step.part)
        if part is not None and part.write_id == write_id:
            return _as_version(find(reader, step.id, bucket, path), part)
        past = past_writes.answer_of(reader, write_id, bucket, path)
        if past is not None and past.given_up:
            raise TicketRefused("this part was given up by the proxy that began it; send it again")
        return past.version if past is not None else None

    def preferred_servers(self, reader: Reader, step: UploadStep) -> list[str]:
        if not step.part:
            return rows.holders_by_bytes(reader, step.id)
        first = rows.parts(reader, step.id, 0, 1)
        return [row[0] for row in reader.all(files.HOLDERS, digest=first[0].digest)] if first else []

    def put_part(
        self, tx: Tx, step: UploadStep, bucket: str, path: str, content: PartContent, moment: Moment
    ) -> FileVersion:
        """Make a stored blob a part, replacing an earlier one with its number. NotFound without its upload."""
        upload = find(tx, step.id, bucket, path)
        if not 1 <= step.part <= MAX_PART_NUMBER:
            raise BadRequest(f"a part number must be 1 to {MAX_PART_NUMBER}")
        stored_metadata(content.metadata)
        replaced = rows.find_part(tx, step.id, step.part)
        if replaced is not None:
            tx.run(files.DROP_REFERENCE, digest=replaced.digest)
            if tx.one(files.PAST_WRITE, write_id=replaced.write_id) is None:  # or it was given up too late
                past = past_writes.PastAnswer(bucket, path, version=_as_version(upload, replaced))
                past_writes.remember(tx, replaced.write_id, past, moment)
        made = PartInfo(step.part, content.digest, content.size, moment.at, content.write_id, content.metadata)
        rows.put_part(tx, step.id, made)
        refer(tx, content.digest, content.size)
        return _as_version(upload, made)

    def take(self, tx: Tx, step: UploadStep, bucket: str, new: NewVersion, metadata: dict[str, str]) -> NewVersion:
        """End the upload; return `new` with what the upload was begun with, and with `metadata`.

        Conflict when a chosen part was sent again since the parts were put together.
        """
        upload = find(tx, step.id, bucket, new.path)
        chosen = set(decode_numbers(step.chosen))
        parts = [part for part in rows.parts(tx, step.id, 0, MAX_PART_NUMBER) if part.number in chosen]
        if len(parts) != len(chosen) or parts_mark((part.number, part.write_id) for part in parts) != step.mark:
            raise Conflict("parts of the upload were sent again while it was being completed; complete it again")
        listed = encode([(part.number, part.size, part.metadata) for part in parts]).decode()
        rows.drop(tx, step.id)
        return replace(
            new,
            content_type=upload.content_type,
            metadata=stored_metadata(upload.metadata | metadata),
            settings={name: value for name, value in upload.settings.items() if name != _KEYS_SETTING}
            | {PARTS_SETTING: listed},
        )


def _as_version(upload: UploadInfo, part: PartInfo) -> FileVersion:
    """Return a part in the shape of a write's reply; it has no version id, because it is no version."""
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
