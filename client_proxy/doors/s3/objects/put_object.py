"""PutObject, and the write behind a browser's form.

The steps of a PUT, and where each lives:

1. `door` names the operation (`protocol.routing`) and identifies the principal (`auth.gate`).
2. `protocol.parameters` reads the operation's parameters; `auth.access` states what must be authorized.
3. `objects.object_write` parses the parameters into one frozen ObjectWrite.
4. `objects.body_checks` reads what the client declares about the body.
5. `security.encryption` picks the key, and `objects.object_encryption` encrypts under it, where there is one.
6. `objects.upload_body` reads, hashes and checks the body while the file store sends it on. An aws-chunked body is
   decoded in `objects.aws_chunked`.
7. The file store commits the version, with ETag and checksums as trailing metadata (`objects.object_metadata`).
8. `protocol.replies` writes the reply, and `events.access_log` a line where the bucket has a log.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple, Protocol

from client_proxy.core.blob_writer import TrailingMetadata
from client_proxy.core.requests import Stat, Write
from client_proxy.doors.s3.call import Handlers, S3Call
from client_proxy.doors.s3.objects.body_checks import check_unlocked, read_body_checks
from client_proxy.doors.s3.objects.conditional import write_preconditions
from client_proxy.doors.s3.objects.object_encryption import Encryptor
from client_proxy.doors.s3.objects.object_metadata import content_metadata, written_members
from client_proxy.doors.s3.objects.object_write import ObjectWrite, read_object_write
from client_proxy.doors.s3.objects.upload_body import UploadBody
from client_proxy.doors.s3.protocol.parameters import Values
from client_proxy.doors.s3.protocol.replies import copies_header
from client_proxy.doors.s3.protocol.s3_errors import S3Error
from client_proxy.doors.s3.security.encryption import encryption_members
from client_proxy.encryption.named_keys import NamedKeyClient
from lockstep_store.wire.messages.files import CommittedReply, FileVersion

MAX_PUT_BYTES = 5 * 1024**3
ASK_FIRST_BYTES = 1024 * 1024
"""A client that waits for `100 Continue` sends a larger body only after the directory has allowed the write."""


class PutFiles(Protocol):
    """The file store as PutObject uses it."""

    @property
    def keys(self) -> NamedKeyClient: ...
    def stat(self, request: Stat) -> FileVersion: ...
    def write(
        self, request: Write, blocks: Iterable[bytes], trailing_metadata: TrailingMetadata = ...
    ) -> CommittedReply: ...


class SavedObject(NamedTuple):
    """The reply's members, and in how many copies the version is on disk."""

    values: Values
    copies: int


class PutHandlers:
    """PutObject."""

    def __init__(self, files: PutFiles) -> None:
        self._files = files

    def handlers(self) -> Handlers:
        return {"PutObject": self.put}

    def put(self, call: S3Call) -> Values:
        """PutObject."""
        if "WriteOffsetBytes" in call.values:
            raise S3Error("NotImplemented", "appending to an object is not supported: send the whole content")
        write = read_object_write(call)
        checks = read_body_checks(call.request, call.principal, needs_length=True)
        if checks.length > MAX_PUT_BYTES:
            raise S3Error(
                "EntityTooLarge", f"one PUT may have at most {MAX_PUT_BYTES} bytes; use a multipart upload for more"
            )
        body = UploadBody(call.request.read, checks, write.version.checksum or checks.missing)
        saved = self.save(write, body, size=body.length)
        call.headers.append(copies_header(saved.copies))
        return saved.values

    def save(self, write: ObjectWrite, body: UploadBody, *, size: int | None) -> SavedObject:
        """Store `body` as a new version. `size` in bytes, None when only the end of the body tells it."""
        version = write.version
        unchecked = not body.checks.has_checksum
        if unchecked:
            check_unlocked(version.settings)
        key = version.encryption.new_key(self._files.keys, write.bucket, write.credential)
        encryptor = Encryptor(key) if key else None
        blocks = body.blocks()

        def trailing_metadata() -> dict[str, str]:
            metadata = content_metadata(body.md5, body.checksums)
            return encryptor.trailing_metadata(metadata) if encryptor else metadata

        committed = self._files.write(
            Write(
                write.credential,
                write.bucket,
                write.path,
                size=size,
                lock_number=write.conditions.lock_number,
                preconditions=write_preconditions(
                    self._files, write.credential, write.bucket, write.path, write.conditions
                ),
                content_type=version.content_type,
                metadata=version.metadata | encryptor.metadata if encryptor else version.metadata,
                settings=version.settings,
                unchecked=unchecked,
                ask_first=write.expects_continue and body.length > ASK_FIRST_BYTES,
                raw=True,
            ),
            encryptor.blocks(blocks) if encryptor else blocks,
            trailing_metadata,
        )
        made = encryptor.decrypted(committed.version) if encryptor else committed.version
        values = written_members(made) | encryption_members(made.metadata, version.encryption.customer_key)
        return SavedObject(values, committed.copies)
