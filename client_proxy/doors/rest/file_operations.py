"""How the file routes are described: one `Operation` for each."""

from __future__ import annotations

from client_proxy.doors.rest.file_headers import CHUNK_STREAM_TYPE, MANIFEST_TYPE, METADATA_HEADER
from client_proxy.doors.rest.files import CopyBody, FileRoutes
from client_proxy.doors.rest.operation import FLAG, NUMBER, TEXT, Answer, Content, Operation, Parameter, between
from lockstep_store.wire import errors
from lockstep_store.wire.messages.base import MAX_LISTING
from lockstep_store.wire.messages.files import CommittedReply, DeleteReply, ListReply

VERSION = Parameter("version", "query", "This version instead of the current one.")
LOCK = Parameter("X-Lockstep-Lock", "header", "The number of the lock that you hold on the path.", NUMBER)
RELEASE = Parameter("X-Lockstep-Release-Lock", "header", "`true`: release that lock in the same commit.", FLAG)
IF_MATCH = Parameter("If-Match", "header", "Only if the current digest is one of these (quoted), or `*`: any.")
IF_NONE_MATCH = Parameter("If-None-Match", "header", "Only if the current version is none of these; `*`: no file yet.")

DIGEST_HEADER = {"X-Lockstep-Digest": "Content hash: BLAKE3, or of several chunks the hash of their manifest."}
RECEIPT = {
    **DIGEST_HEADER,
    "X-Lockstep-Version": "The version read or made.",
    "X-Lockstep-Cursor": "Place in the cluster's journal as of which this is true.",
}
READ_RECEIPT = {
    **RECEIPT,
    "ETag": "The digest in quotes.",
    "X-Lockstep-Cache": "Where the chunks came from: `hit` the proxy's cache, `delta` in part, `miss` a file server.",
    "X-Lockstep-File-Server": "The file server that gave bytes.",
    METADATA_HEADER: "The metadata that the writer gave, as a JSON object; absent when there is none.",
}
WRITE_RECEIPT = {
    **RECEIPT,
    "ETag": "The digest in quotes.",
    "X-Lockstep-Copies": "Copies on disk when the answer was sent, such as `2/2 fsynced`.",
    "X-Lockstep-File-Server": "The master that took the bytes; absent when known content was linked.",
}
WRITE_REFUSALS = (
    errors.BadName,
    errors.Forbidden,
    errors.NotFound,
    errors.LockStale,
    errors.PreconditionFailed,
    errors.Locked,
    errors.Unavailable,
    errors.StorageFull,
)
READ_REFUSALS = (errors.BadName, errors.Forbidden, errors.NotFound, errors.Unavailable)
RANGE_HEADERS = (
    Parameter("Range", "header", "`bytes=a-b`, `bytes=a-` or `bytes=-n`. Several ranges: the whole file."),
    Parameter("If-Range", "header", "Use Range only if this ETag or Last-Modified still holds."),
)
READ_CONDITIONS = (
    Parameter("If-Match", "header", "412 unless the file has this digest."),
    Parameter("If-None-Match", "header", "304 if the file still has this digest."),
    Parameter("If-Modified-Since", "header", "304 if the file is not newer."),
    Parameter("If-Unmodified-Since", "header", "412 if the file is newer."),
)


def file_operations(handlers: FileRoutes) -> list[Operation]:
    """Describe the routes that `handlers` answers."""
    return [*_looking(handlers), *_reading(handlers), *_writing(handlers), *_changing(handlers)]


def _looking(handlers: FileRoutes) -> list[Operation]:
    return [
        Operation(
            id="list_files",
            method="GET",
            template="/files/{bucket}",
            handler=handlers.list_files,
            tag="Files",
            summary="List a bucket's current files, in path order",
            description=(
                "Page through with `cursor`. Only current files are shown; a deleted file has a delete marker among "
                "its versions."
            ),
            parameters=(
                Parameter("prefix", "query", "Only paths that begin with this."),
                Parameter("delimiter", "query", "Fold what follows the next delimiter into `prefixes`, like folders."),
                Parameter("limit", "query", "Files and prefixes in one page.", between(1, MAX_LISTING)),
                Parameter("cursor", "query", "`next_after` of the page before."),
            ),
            answers={200: Answer("One page; `next_after` is absent on the last.", Content(ListReply))},
            refusals=(errors.BadName, errors.Forbidden, errors.NotFound, errors.Unavailable),
        ),
        # Before the GET, which Flask would let answer HEAD too.
        Operation(
            id="stat_file",
            method="HEAD",
            template="/files/{bucket}/{path}",
            handler=handlers.read,
            tag="Files",
            summary="Look at a file without reading it",
            description=(
                "The same headers as a GET, the receipt included, without looking up where the content would come from."
            ),
            parameters=(VERSION, *READ_CONDITIONS),
            answers={
                200: Answer("The headers of a GET.", None, READ_RECEIPT),
                304: Answer("Your copy is the current one.", None, RECEIPT),
            },
            refusals=(*READ_REFUSALS, errors.PreconditionFailed),
            thin=True,
        ),
    ]


def _reading(handlers: FileRoutes) -> list[Operation]:
    content = Content(media="application/octet-stream", others=("*/*",))
    whole = Answer("The file.", content, READ_RECEIPT)
    return [
        Operation(
            id="read_file",
            method="GET",
            template="/files/{bucket}/{path}",
            handler=handlers.read,
            tag="Files",
            summary="Read a file",
            description="Every byte is verified against the digest that the directory named after this request began.",
            parameters=(VERSION, *RANGE_HEADERS, *READ_CONDITIONS),
            answers={
                200: whole,
                206: Answer("The range.", content, {**READ_RECEIPT, "Content-Range": "Which bytes."}),
                304: Answer("Your copy is the current one.", None, RECEIPT),
            },
            refusals=(*READ_REFUSALS, errors.PreconditionFailed, errors.RangeNotSatisfiable),
            thin=True,
        ),
        Operation(
            id="read_manifest",
            method="GET",
            template="/manifests/{bucket}/{path}",
            handler=handlers.manifest,
            tag="Files",
            summary="Which chunks a file is made of",
            description="36 bytes for each chunk in order: its BLAKE3 digest, and its length as a big-endian integer.",
            parameters=(VERSION,),
            answers={200: Answer("The canonical manifest.", Content(media=MANIFEST_TYPE), RECEIPT)},
            refusals=READ_REFUSALS,
        ),
    ]


def _writing(handlers: FileRoutes) -> list[Operation]:
    return [
        Operation(
            id="write_file",
            method="PUT",
            template="/files/{bucket}/{path}",
            handler=handlers.write,
            tag="Files",
            summary="Write a file",
            description=(
                "The answer comes when the promised copies are on disk and the directory has committed. Plain bytes "
                f"need a Content-Length. As `{CHUNK_STREAM_TYPE}` only changed chunks need their bytes: 409 "
                "`missing_chunks` lists in `facts.digests` what to send again with bytes."
            ),
            parameters=(
                LOCK,
                RELEASE,
                IF_MATCH,
                IF_NONE_MATCH,
                Parameter(
                    METADATA_HEADER,
                    "header",
                    "Metadata to store with the version: a JSON object of strings in ASCII, 8 KiB in all.",
                ),
                Parameter(
                    "X-Lockstep-Digest",
                    "header",
                    "Chunk stream: the file's digest. Known content that you may read is linked.",
                ),
                Parameter("X-Lockstep-Size", "header", "Chunk stream: the file's size in bytes.", NUMBER),
                Parameter(
                    "X-Lockstep-Base-Version",
                    "header",
                    "Chunk stream: chunks of this version of the path are left out too, not only of the current one.",
                ),
                Parameter("X-Lockstep-Content-Type", "header", "Chunk stream: the file's own content type."),
            ),
            bodies=(Content(media="application/octet-stream"), Content(media=CHUNK_STREAM_TYPE)),
            answers={
                200: Answer("A new version of a file.", Content(CommittedReply), WRITE_RECEIPT),
                201: Answer("A new file.", Content(CommittedReply), WRITE_RECEIPT),
            },
            refusals=(
                *WRITE_REFUSALS,
                errors.IncompleteBody,
                errors.BadDigest,
                errors.LengthRequired,
                errors.TooLarge,
                errors.MissingChunks,
            ),
            thin=True,
        ),
    ]


def _changing(handlers: FileRoutes) -> list[Operation]:
    return [
        Operation(
            id="delete_file",
            method="DELETE",
            template="/files/{bucket}/{path}",
            handler=handlers.delete,
            tag="Files",
            summary="Delete a file, or one version of it for good",
            description="Where versions are kept the file's old versions stay, under a delete marker.",
            parameters=(Parameter("version", "query", "Only this version, for good.", TEXT), LOCK, RELEASE, IF_MATCH),
            answers={200: Answer("Done; `existed` says whether there was anything.", Content(DeleteReply))},
            refusals=WRITE_REFUSALS,
            thin=True,
        ),
        Operation(
            id="copy_file",
            method="POST",
            template="/copy",
            handler=handlers.copy,
            tag="Files",
            summary="Copy or move a file inside the cluster",
            description="No bytes travel. A move is one transaction: nobody sees the file twice, or not at all.",
            parameters=(IF_MATCH, IF_NONE_MATCH),
            bodies=(Content(CopyBody),),
            answers={
                200: Answer("A new version of the target.", Content(CommittedReply), WRITE_RECEIPT),
                201: Answer("The target is a new file.", Content(CommittedReply), WRITE_RECEIPT),
            },
            refusals=(*WRITE_REFUSALS, errors.TooLarge),
        ),
    ]
