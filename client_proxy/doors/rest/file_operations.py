"""The declarations of the file routes."""

from __future__ import annotations

from functools import partial

from client_proxy.doors.rest.file_headers import CHUNK_STREAM_TYPE, MANIFEST_TYPE, METADATA_HEADER
from client_proxy.doors.rest.files import CopyBody, FileRoutes
from client_proxy.doors.rest.operation import FLAG, NUMBER, TEXT, Answer, Content, Operation, Parameter, between
from client_proxy.doors.rest.schemas import DIGEST, TAGS
from lockstep_store.wire import errors
from lockstep_store.wire.messages.base import MAX_LISTING
from lockstep_store.wire.messages.files import CommittedReply, DeleteReply, ListReply

_operation = partial(Operation, tag="Files")
VERSION = Parameter("version", "query", "Use this version instead of the current one.")
LOCK = Parameter("X-Lockstep-Lock", "header", "The number of your lock on the path.", NUMBER)
RELEASE = Parameter("X-Lockstep-Release-Lock", "header", "`true`: release the lock in the same commit.", FLAG)
IF_MATCH = Parameter("If-Match", "header", "Only if the current digest is one of these (quoted), or `*`: any.", TAGS)
IF_NONE_MATCH = Parameter(
    "If-None-Match", "header", "Only if the current version is none of these; `*`: no file yet.", TAGS
)

DIGEST_HEADER = {"X-Lockstep-Digest": "The content hash: BLAKE3, or for several chunks the hash of their manifest."}
RECEIPT = {
    **DIGEST_HEADER,
    "X-Lockstep-Version": "The version that was read or created.",
    "X-Lockstep-Cursor": "The position in the cluster's journal at which this was true.",
}
READ_RECEIPT = {
    **RECEIPT,
    "ETag": "The digest in quotes.",
    "X-Lockstep-Validated": "`lease` if the version was validated under a read lease.",
    "X-Lockstep-Cache": "The source of the chunks: `hit` the cache, `delta` partly the cache, `miss` file servers.",
    "X-Lockstep-File-Server": "The file server that sent bytes.",
    METADATA_HEADER: "The file's metadata, as a JSON object; absent if there is none.",
}
WRITE_RECEIPT = {
    **RECEIPT,
    "ETag": "The digest in quotes.",
    "X-Lockstep-Copies": "Copies on disk when the reply was sent, such as `2/2 fsynced`.",
    "X-Lockstep-File-Server": "The master that received the bytes; absent if known content was linked.",
}
WRITE_REFUSALS = (
    errors.BadName,
    errors.Forbidden,
    errors.NotFound,
    errors.LockStale,
    errors.PreconditionFailed,
    errors.Locked,
    errors.QuotaExceeded,
    errors.StorageFull,
)
READ_REFUSALS = (errors.BadName, errors.Forbidden, errors.NotFound)
# As HTTP demands, what is no range and no date is ignored.
RANGE_HEADERS = (
    Parameter("Range", "header", "`bytes=a-b`, `bytes=a-` or `bytes=-n`. Several ranges return the whole file.", TEXT),
    Parameter("If-Range", "header", "Use Range only if this ETag or Last-Modified still holds.", TEXT),
)
READ_CONDITIONS = (
    Parameter("If-Match", "header", "412 unless the file has this digest.", TAGS),
    Parameter("If-None-Match", "header", "304 if the file still has this digest.", TAGS),
    Parameter("If-Modified-Since", "header", "304 if the file is not newer.", TEXT),
    Parameter("If-Unmodified-Since", "header", "412 if the file is newer.", TEXT),
)


def file_operations(handlers: FileRoutes) -> list[Operation]:
    """The operations that `handlers` carries out."""
    return [*_looking(handlers), *_reading(handlers), *_writing(handlers), *_changing(handlers)]


def _looking(handlers: FileRoutes) -> list[Operation]:
    return [
        _operation(
            id="list_files",
            method="GET",
            template="/files/{bucket}",
            handler=handlers.list_files,
            summary="List a bucket's current files, in path order",
            description=(
                "Use `cursor` for the next page. Deleted files are not listed; they have a delete marker among their "
                "versions."
            ),
            parameters=(
                Parameter("prefix", "query", "Only paths with this prefix."),
                Parameter("delimiter", "query", "Group paths up to the next delimiter into `prefixes`, like folders."),
                Parameter("limit", "query", "Maximum number of files and prefixes in a page.", between(1, MAX_LISTING)),
                Parameter("cursor", "query", "`next_after` of the previous page."),
            ),
            answers={200: Answer("One page; `next_after` is absent on the last.", Content(ListReply))},
            refusals=(errors.BadName, errors.Forbidden, errors.NotFound),
        ),
        # Before the GET, which Flask would let answer HEAD too.
        _operation(
            id="stat_file",
            method="HEAD",
            template="/files/{bucket}/{path}",
            handler=handlers.read,
            summary="Get a file's headers",
            description=("The headers of a GET, without looking up the source of the content."),
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
        _operation(
            id="read_file",
            method="GET",
            template="/files/{bucket}/{path}",
            handler=handlers.read,
            summary="Read a file",
            description="Every byte is verified against the digest that the directory returns for this request.",
            parameters=(VERSION, *RANGE_HEADERS, *READ_CONDITIONS),
            answers={
                200: whole,
                206: Answer("The range.", content, {**READ_RECEIPT, "Content-Range": "Which bytes."}),
                304: Answer("Your copy is the current one.", None, RECEIPT),
            },
            refusals=(*READ_REFUSALS, errors.PreconditionFailed, errors.RangeNotSatisfiable),
            thin=True,
        ),
        _operation(
            id="read_manifest",
            method="GET",
            template="/manifests/{bucket}/{path}",
            handler=handlers.manifest,
            summary="Get a file's chunks",
            description="36 bytes for each chunk, in order: its BLAKE3 digest, and its length as a big-endian integer.",
            parameters=(VERSION,),
            answers={200: Answer("The canonical manifest.", Content(media=MANIFEST_TYPE), RECEIPT)},
            refusals=READ_REFUSALS,
        ),
    ]


def _writing(handlers: FileRoutes) -> list[Operation]:
    return [
        _operation(
            id="write_file",
            method="PUT",
            template="/files/{bucket}/{path}",
            handler=handlers.write,
            summary="Write a file",
            description=(
                "The reply is sent when the promised copies are on disk and the directory has committed. Plain bytes "
                f"need a Content-Length. In a `{CHUNK_STREAM_TYPE}`, only changed chunks need their bytes: 409 "
                "`missing_chunks` lists the chunks to send with their bytes in `facts.digests`."
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
                    "Chunk stream: the file's digest. Content that you may read is linked, not sent.",
                    DIGEST,
                ),
                Parameter("X-Lockstep-Size", "header", "Chunk stream: the file's size in bytes.", NUMBER),
                Parameter(
                    "X-Lockstep-Base-Version",
                    "header",
                    "Chunk stream: a version of the path, besides the current one, whose chunks are omitted.",
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
        _operation(
            id="delete_file",
            method="DELETE",
            template="/files/{bucket}/{path}",
            handler=handlers.delete,
            summary="Delete a file, or permanently delete one version",
            description="In a bucket with versioning, the file gets a delete marker and its versions are kept.",
            parameters=(Parameter("version", "query", "Delete only this version."), LOCK, RELEASE, IF_MATCH),
            answers={200: Answer("Done. `existed` tells whether there was a file.", Content(DeleteReply))},
            refusals=WRITE_REFUSALS,
            thin=True,
        ),
        _operation(
            id="copy_file",
            method="POST",
            template="/copy",
            handler=handlers.copy,
            summary="Copy or move a file within the cluster",
            description=(
                "No content is copied. A move is one transaction: the file is always at exactly one of the two paths."
            ),
            parameters=(IF_MATCH, IF_NONE_MATCH),
            bodies=(Content(CopyBody),),
            answers={
                200: Answer("A new version of the target.", Content(CommittedReply), WRITE_RECEIPT),
                201: Answer("The target is a new file.", Content(CommittedReply), WRITE_RECEIPT),
            },
            refusals=(*WRITE_REFUSALS, errors.TooLarge),
        ),
    ]
