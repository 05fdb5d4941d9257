"""The route that stores a file from a form, as browsers and many libraries send one."""

from __future__ import annotations

from collections.abc import Iterator

from client_proxy.core.requests import Write
from client_proxy.doors.rest.file_operations import (
    IF_MATCH,
    IF_NONE_MATCH,
    LOCK,
    RELEASE,
    WRITE_RECEIPT,
    WRITE_REFUSALS,
)
from client_proxy.doors.rest.files import Files
from client_proxy.doors.rest.operation import BINARY, TEXT, Answer, Content, Operation, Parameter
from client_proxy.doors.rest.reply import committed_reply
from client_proxy.doors.rest.request import RestRequest
from lockstep_store.runtime.http.api import RawReply
from lockstep_store.runtime.http.conditions import write_preconditions
from lockstep_store.runtime.http.form_body import BLOCK_BYTES, FormBody
from lockstep_store.wire import errors
from lockstep_store.wire.errors import BadRequest, TooLarge, UnsupportedMediaType
from lockstep_store.wire.manifest import MAX_FILE_BYTES
from lockstep_store.wire.messages.files import CommittedReply
from lockstep_store.wire.names import MAX_PATH_BYTES, check_path

FORM_TYPE = "multipart/form-data"
_FORM = {"type": "object", "required": ["file"], "properties": {"path": TEXT, "bucket": TEXT, "file": BINARY}}
_FIELDS = frozenset({"path", "bucket"})


class FormUploadRoutes:
    """The route POST /files/{bucket}."""

    def __init__(self, files: Files) -> None:
        self._files = files

    def operations(self) -> list[Operation]:
        return [
            Operation(
                id="upload_form",
                method="POST",
                template="/files/{bucket}",
                handler=self.upload,
                tag="Files",
                summary="Write a file that is sent in a form",
                description=(
                    "The form's file becomes the file at `path`, an argument or a field in front of the file. A path "
                    "that is empty or ends with a slash is a folder, and the file gets its own name in it."
                ),
                parameters=(
                    Parameter("path", "query", "The file's path, or a folder with a slash at its end."),
                    *(LOCK, RELEASE, IF_MATCH, IF_NONE_MATCH),
                ),
                bodies=(Content(media=FORM_TYPE, schema=_FORM),),
                answers={
                    200: Answer("A new version of a file.", Content(CommittedReply), WRITE_RECEIPT),
                    201: Answer("A new file.", Content(CommittedReply), WRITE_RECEIPT),
                },
                refusals=(*WRITE_REFUSALS, errors.IncompleteBody, errors.TooLarge, errors.UnsupportedMediaType),
            )
        ]

    def upload(self, request: RestRequest) -> RawReply:
        """POST /files/{bucket}."""
        credential, bucket = request.access(), request.bucket()
        kind: str = request.environ.get("CONTENT_TYPE", "")
        if kind.partition(";")[0].strip().lower() != FORM_TYPE:
            raise UnsupportedMediaType(f"send the file as {FORM_TYPE}, in a field that is called file")
        form = FormBody(kind, request.read)
        write = Write(
            credential,
            bucket,
            _path(form, bucket, request.argument("path", limit=MAX_PATH_BYTES)),
            size=None,
            lock_number=request.number_header("X-Lockstep-Lock"),
            release_lock=request.flag_header("X-Lockstep-Release-Lock"),
            preconditions=write_preconditions(request.environ),
            ask_first=True,
        )
        return committed_reply(self._files.write(write, _blocks(form)))


def _path(form: FormBody, bucket: str, argument: str) -> str:
    """Where to store the form's file. BadRequest for fields that are unknown, or that the address makes needless."""
    fields = form.fields
    unknown = sorted(fields.keys() - _FIELDS)
    if unknown:
        raise BadRequest(f"the form has the unknown field {unknown[0][:80]!r}; it takes file, and path in front of it")
    if argument and fields:  # an id may stand for both names here, and a comparison would confirm a guess
        raise BadRequest("the address says where to store the file: leave path and bucket out of the form")
    if fields.get("bucket", bucket) != bucket:
        raise BadRequest(f"the form's field bucket names another bucket than the address, {bucket!r}")
    path = argument or fields.get("path", "")
    if path and not path.endswith("/"):
        return check_path(path)
    if not form.own_name:
        raise BadRequest("the file in the form has no name: send a path that does not end with a slash")
    return check_path(path + form.own_name)


def _blocks(form: FormBody) -> Iterator[bytes]:
    """The file's bytes. BadRequest, before the commit, if the form does not end with it."""
    size, fields = 0, len(form.fields)
    while block := form.read(BLOCK_BYTES):
        size += len(block)
        if size > MAX_FILE_BYTES:
            raise TooLarge(f"a file may have at most {MAX_FILE_BYTES} bytes; nothing was stored")
        yield block
    if form.next_file() or len(form.fields) > fields:
        raise BadRequest("the form must end with its one file: send fields in front of it. Nothing was stored")
