"""What HTTP headers say of a file (type, name for saving, metadata), and what an upload may say of it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from email.utils import formatdate
from functools import lru_cache
from typing import Any
from urllib.parse import quote

from client_proxy.core.content_types import UNKNOWN_TYPE, guessed_type
from client_proxy.doors.rest.reply import Headers
from lockstep_store.runtime.http.header_text import HEADER_NAME, header_text
from lockstep_store.wire.chunk_stream import CONTENT_TYPE as CHUNK_STREAM_TYPE
from lockstep_store.wire.digest import Digest
from lockstep_store.wire.errors import BadRequest
from lockstep_store.wire.messages.files import MAX_METADATA_BYTES, FileVersion

__all__ = [
    "CHUNK_STREAM_TYPE",
    "MANIFEST_TYPE",
    "copied_metadata",
    "given_content_type",
    "given_metadata",
    "version_headers",
]

MANIFEST_TYPE = "application/vnd.lockstep.manifest"
META_PREFIX = "HTTP_X_LOCKSTEP_META_"
MAX_COPIED_NAME = 128

_CONTENT_TYPE = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+/[!#$%&'*+.^_`|~0-9A-Za-z-]+(\s*;[ -~]*)?")
_META_NAME = re.compile(r"[a-z0-9-]{1,128}")
_UNSAFE_IN_NAME = re.compile(r"[^A-Za-z0-9 ._()@=+,-]")
# What a browser may show in a page of its own: nothing in here can run scripts with this site's rights.
_SHOWN = re.compile(r"text/plain|application/(json|pdf)|image/(png|jpeg|gif|webp|avif|bmp)|audio/.*|video/.*")
# What clients send when nobody chose a type.
_UNSPECIFIC = frozenset({UNKNOWN_TYPE, "application/x-www-form-urlencoded", CHUNK_STREAM_TYPE})


def version_headers(version: FileVersion) -> Headers:
    """The headers that are the same whenever this version is answered, as a new list."""
    headers = [*_fixed_headers(version.path, version.digest, version.content_type, int(version.created_at))]
    for name, value in version.metadata.items():
        if _META_NAME.fullmatch(name):
            headers.append((f"X-Lockstep-Meta-{name}", header_text(value)))
    if version.holders:
        up = sum(holder.up for holder in version.holders)
        headers.append(("X-Lockstep-Copies", f"{up}/{len(version.holders)} up"))
    return headers


def given_content_type(value: str) -> str:
    """A file's type as its writer states it; empty when it says nothing, so that the name decides on reading."""
    value = value.strip()
    if value.partition(";")[0].strip().lower() in _UNSPECIFIC:
        return ""
    if value and (len(value) > 256 or not _CONTENT_TYPE.fullmatch(value)):
        raise BadRequest(f"{value[:80]!r} is not a content type, such as text/plain; charset=utf-8")
    return value


def given_metadata(environ: Mapping[str, Any]) -> dict[str, str] | None:
    """The `X-Lockstep-Meta-<name>` headers, by lower-case name."""
    metadata = {
        key[len(META_PREFIX) :].lower().replace("_", "-"): environ[key]
        for key in environ
        if key.startswith(META_PREFIX)
    }
    if not metadata:
        return None
    for name, value in metadata.items():
        # The runner hands over a value with other characters as an empty one: refused, or it would be lost silently.
        if not _META_NAME.fullmatch(name) or not value or not (value.isascii() and value.isprintable()):
            raise BadRequest(
                f"X-Lockstep-Meta-{name[:40]} cannot be kept: names are letters, digits and hyphens, "
                "values printable ASCII and not empty"
            )
    return _small_enough(metadata)


def copied_metadata(metadata: dict[str, str] | None) -> dict[str, str] | None:
    """The metadata that a copy is asked to have instead of its source's, as a JSON body says it; with any name that
    came as a header, as S3 clients use more signs."""
    if metadata is None:
        return None
    for name, value in metadata.items():
        if len(name) > MAX_COPIED_NAME or not HEADER_NAME.fullmatch(name) or not value.isprintable():
            raise BadRequest(
                f"the metadata {name[:40]!r} cannot be kept: names are those of headers in lower case, "
                "values without control characters"
            )
    return _small_enough(metadata)


def _small_enough(metadata: dict[str, str]) -> dict[str, str]:
    if sum(len(name.encode()) + len(value.encode()) for name, value in metadata.items()) > MAX_METADATA_BYTES:
        raise BadRequest(f"metadata may have {MAX_METADATA_BYTES} bytes in all")
    return metadata


def disposition(path: str, content_type: str) -> str:
    """Content-Disposition: under which name to save, and whether a browser may show the file in place (RFC 6266).

    Files are other people's: a page or a drawing with scripts, shown in place, would act as this site.
    """
    name = path.rstrip("/").rsplit("/", 1)[-1] or "file"
    plain = _UNSAFE_IN_NAME.sub("_", name)
    kind = content_type.partition(";")[0].strip().lower()
    place = "inline" if _SHOWN.fullmatch(kind) else "attachment"
    encoded = "" if plain == name else f"; filename*=UTF-8''{quote(name, safe='')}"
    return f'{place}; filename="{plain}"{encoded}'


@lru_cache(maxsize=4096)
def _fixed_headers(path: str, digest: Digest, content_type: str, created_at: int) -> tuple[tuple[str, str], ...]:
    if not _CONTENT_TYPE.fullmatch(content_type):
        content_type = guessed_type(path)
    return (
        ("Content-Type", content_type),
        ("ETag", f'"{digest.hex()}"'),
        ("Last-Modified", formatdate(created_at, usegmt=True)),
        ("Content-Disposition", disposition(path, content_type)),
        ("Accept-Ranges", "bytes"),
        ("Cache-Control", "private, no-cache"),
        ("X-Content-Type-Options", "nosniff"),
    )
