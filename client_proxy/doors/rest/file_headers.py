"""The HTTP headers of a file: content type, file name and metadata, in requests and replies."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from email.utils import formatdate
from functools import lru_cache
from typing import Any
from urllib.parse import quote

import msgspec

from client_proxy.doors.rest.reply import Headers
from lockstep_store.runtime.http.header_text import HEADER_NAME
from lockstep_store.runtime.http.untrusted_content import UNTRUSTED_CONTENT
from lockstep_store.wire.chunk_stream import CONTENT_TYPE as CHUNK_STREAM_TYPE
from lockstep_store.wire.codec import decoder
from lockstep_store.wire.content_types import FOUND_TYPE, UNKNOWN_TYPE, type_of
from lockstep_store.wire.digest import Digest
from lockstep_store.wire.errors import BadRequest
from lockstep_store.wire.messages.files import MAX_METADATA_BYTES, FileVersion, metadata_bytes

__all__ = [
    "CHUNK_STREAM_TYPE",
    "MANIFEST_TYPE",
    "METADATA_HEADER",
    "checked_metadata",
    "given_content_type",
    "given_metadata",
    "version_headers",
]

MANIFEST_TYPE = "application/vnd.lockstep.manifest"
META_PREFIX = "HTTP_X_LOCKSTEP_META_"
METADATA_HEADER = "X-Lockstep-Metadata"
MAX_METADATA_NAME = 128
MAX_METADATA_HEADER_BYTES = 60_000
"""What 8 KiB of metadata take as JSON with every character escaped; clients read header lines up to 64 KiB."""

_CONTENT_TYPE = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+/[!#$%&'*+.^_`|~0-9A-Za-z-]+(\s*;[ -~]*)?")
_metadata_decoder = decoder(dict[str, str])
_UNSAFE_IN_NAME = re.compile(r"[^A-Za-z0-9 ._()@=+,-]")
# What a browser may show in a page of its own: nothing in here can run scripts with this site's rights.
_SHOWN = re.compile(r"text/plain|application/(json|pdf)|image/(png|jpeg|gif|webp|avif|bmp)|audio/.*|video/.*")
# The types that clients send when no type was chosen.
_UNSPECIFIC = frozenset({UNKNOWN_TYPE, "application/x-www-form-urlencoded", CHUNK_STREAM_TYPE})


def version_headers(version: FileVersion) -> Headers:
    """The headers that depend on the version alone, as a new list."""
    found = version.metadata.get(FOUND_TYPE, "")
    headers = [*_fixed_headers(version.path, version.digest, version.content_type, found, int(version.created_at))]
    # Lockstep's own entries have a colon in their names.
    metadata = {name: value for name, value in version.metadata.items() if HEADER_NAME.fullmatch(name)}
    if metadata:
        headers.append((METADATA_HEADER, json.dumps(metadata)))
    if version.holders:
        up = sum(holder.up for holder in version.holders)
        headers.append(("X-Lockstep-Copies", f"{up}/{len(version.holders)} up"))
    return headers


def given_content_type(value: str) -> str:
    """The content type that the writer states; empty if none, and then reads derive it from the name."""
    value = value.strip()
    if value.partition(";")[0].strip().lower() in _UNSPECIFIC:
        return ""
    if value and (len(value) > 256 or not _CONTENT_TYPE.fullmatch(value)):
        raise BadRequest(f"{value[:80]!r} is not a content type, such as text/plain; charset=utf-8")
    return value


def given_metadata(environ: Mapping[str, Any]) -> dict[str, str] | None:
    """The metadata in the X-Lockstep-Metadata header, a JSON object.

    One header for each name was refused: header names have no case, and no underscores in WSGI.
    """
    if any(key.startswith(META_PREFIX) for key in environ):
        raise BadRequest(
            "X-Lockstep-Meta-NAME headers are not taken, because a header's name does not keep case or underscores; "
            f'send all metadata in one header: {METADATA_HEADER}: {{"name": "value"}}'
        )
    given: str | None = environ.get("HTTP_X_LOCKSTEP_METADATA")
    if given is None:
        return None
    if not given.isascii():
        raise BadRequest(f"the header {METADATA_HEADER} must be ASCII: write other characters as \\u escapes")
    if len(given) > MAX_METADATA_HEADER_BYTES:
        raise BadRequest(
            f"the header {METADATA_HEADER} has {len(given)} bytes; metadata has {MAX_METADATA_BYTES} in all"
        )
    try:
        metadata = _metadata_decoder.decode(given)
    except msgspec.DecodeError as error:
        raise BadRequest(
            f"the header {METADATA_HEADER} must be a JSON object of strings in ASCII, with other characters as "
            f"\\u escapes: {error}"
        ) from error
    return checked_metadata(metadata)


def checked_metadata(metadata: dict[str, str] | None) -> dict[str, str] | None:
    """`metadata`, if every door can return its names and values. BadRequest names the first that cannot be stored."""
    if metadata is None:
        return None
    for name, value in metadata.items():
        if len(name) > MAX_METADATA_NAME or not HEADER_NAME.fullmatch(name) or not value.isprintable():
            raise BadRequest(
                f"the metadata {name[:40]!r} cannot be stored: a name has up to {MAX_METADATA_NAME} of the lower-case "
                "characters of header names, and a value has no control characters"
            )
    if metadata_bytes(metadata) > MAX_METADATA_BYTES:
        raise BadRequest(f"metadata may have {MAX_METADATA_BYTES} bytes in all")
    return metadata


def disposition(path: str, content_type: str) -> str:
    """Content-Disposition: the file name, and whether a browser may show the file in place (RFC 6266).

    Other people wrote the files: a page or drawing with scripts, shown in place, would act as this site.
    """
    name = path.rstrip("/").rsplit("/", 1)[-1] or "file"
    plain = _UNSAFE_IN_NAME.sub("_", name)
    kind = content_type.partition(";")[0].strip().lower()
    place = "inline" if _SHOWN.fullmatch(kind) else "attachment"
    encoded = "" if plain == name else f"; filename*=UTF-8''{quote(name, safe='')}"
    return f'{place}; filename="{plain}"{encoded}'


@lru_cache(maxsize=4096)
def _fixed_headers(
    path: str, digest: Digest, content_type: str, found: str, created_at: int
) -> tuple[tuple[str, str], ...]:
    if not _CONTENT_TYPE.fullmatch(content_type):
        content_type = type_of(path, "", {FOUND_TYPE: found} if found else {})
    return (
        ("Content-Type", content_type),
        ("ETag", f'"{digest.hex()}"'),
        ("Last-Modified", formatdate(created_at, usegmt=True)),
        ("Content-Disposition", disposition(path, content_type)),
        ("Accept-Ranges", "bytes"),
        ("Cache-Control", "private, no-cache"),
        *UNTRUSTED_CONTENT,
    )
