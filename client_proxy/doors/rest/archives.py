"""The route that downloads a selection or a folder as one zip file."""

from __future__ import annotations

from functools import partial

from client_proxy.doors.archives import MAX_FILES, ArchivedFiles, Archives, first_then
from client_proxy.doors.rest.file_operations import READ_REFUSALS
from client_proxy.doors.rest.operation import Answer, Content, Operation, Parameter
from client_proxy.doors.rest.request import MAX_REPEATED, RestRequest
from client_proxy.doors.rest.schemas import PATH
from client_proxy.doors.shown_names import attachment, last_part
from lockstep_store.runtime.http.admission import remote_address
from lockstep_store.runtime.http.api import RawReply
from lockstep_store.runtime.http.untrusted_content import UNTRUSTED_CONTENT
from lockstep_store.wire import errors
from lockstep_store.wire.names import MAX_PATH_BYTES, check_path

_operation = partial(Operation, tag="Files")
_CHOSEN = {"type": "array", "items": PATH, "minItems": 1, "maxItems": MAX_REPEATED, "uniqueItems": True}


class ArchiveRoutes:
    """The route /archives."""

    def __init__(self, files: ArchivedFiles) -> None:
        self._archives = Archives(files)

    def operations(self) -> list[Operation]:
        return [
            _operation(
                id="download_archive",
                method="GET",
                template="/archives/{bucket}",
                handler=self.download,
                summary="Download files and folders as one zip file",
                description=(
                    "The zip file is made while it is sent, with the content stored as it is; each file is judged and "
                    f"verified as in a read of its own. A chosen file that you may not read, a folder without files, "
                    f"and more than {MAX_FILES} files are refused. Files below a chosen folder that cannot be read are "
                    "left out, and the entry `NOT INCLUDED.txt` names them. Names that a system could not unpack are "
                    "changed. The reply has no length: one that ends early is not a zip file."
                ),
                parameters=(
                    Parameter("folder", "query", "The folder, which the names in the zip file leave out.", PATH),
                    Parameter(
                        "name",
                        "query",
                        "A file in it or, with a slash at its end, a folder. Repeat it for more; without it, "
                        "everything in the folder, or in the bucket.",
                        _CHOSEN,
                    ),
                ),
                answers={200: Answer("The zip file.", Content(media="application/zip"))},
                refusals=(*READ_REFUSALS, errors.TooLarge, errors.Overloaded),
            )
        ]

    def download(self, request: RestRequest) -> RawReply:
        credential = request.access()
        bucket, folder = request.bucket(), request.argument("folder", limit=MAX_PATH_BYTES)
        base = check_path(folder if folder.endswith("/") else f"{folder}/") if folder else ""
        names = request.arguments("name")
        paths = [check_path(base + name) for name in names] or [base]
        client = remote_address(request.environ)
        pieces = first_then(self._archives.make(client, lambda: credential, bucket, base, paths))
        shown = last_part(paths[0]) if len(paths) == 1 else last_part(base)
        headers = [
            ("Content-Type", "application/zip"),
            ("Content-Disposition", attachment(f"{shown or bucket}.zip")),
            ("Cache-Control", "no-store"),
            *UNTRUSTED_CONTENT,
        ]
        return RawReply(200, headers, iter(()) if request.method == "HEAD" else pieces)
