"""Names: what a path and a bucket may be called.

A path is kept exactly as given (no Unicode normalisation: two spellings are two paths), so every refusal is here and
nowhere else. Whether a name may also be used in someone's local storage is that folder's own, stricter, question.
"""

from __future__ import annotations

import re
import unicodedata

from lockstep_store.wire.errors import BadName

MAX_PATH_BYTES = 1024
RESERVED_BUCKETS = frozenset({"api", "metrics", "health", "console", "dav"})
FILES_BUCKET = "files"

_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_BAD_LABEL = re.compile(r"\.[.-]|-\.")
_IPV4 = re.compile(r"\d+\.\d+\.\d+\.\d+")


def check_key(key: str) -> str:
    """`key` itself, when it may name an object in a bucket; BadName says what is wrong with it otherwise.

    This is all that the directory and S3 ask: to them a name is one text, in which slashes and dots mean nothing.
    """
    if not key:
        raise BadName("the file name is empty")
    try:
        encoded = key.encode("utf-8")
    except UnicodeEncodeError:
        raise BadName("the file name is not valid Unicode") from None
    if len(encoded) > MAX_PATH_BYTES:
        raise BadName(f"the file name has {len(encoded)} bytes; the limit is {MAX_PATH_BYTES}")
    if not key.isprintable():
        for character in key:
            if unicodedata.category(character) in ("Cc", "Cs"):
                raise BadName(f"the file name contains the control character U+{ord(character):04X}")
    return key


def check_path(path: str) -> str:
    """`path` itself, when it is a key that reads as a relative path too; BadName otherwise.

    Every door but S3 asks this: addresses and folders take `..` and a leading slash for something else than a name, so
    a request about `a/../b` would reach `b`.
    """
    check_key(path)
    if path[0] == "/":
        raise BadName(f"{path[:80]!r} starts with a slash; such a name is for S3 clients only, here names are relative")
    if "." in path and any(part in (".", "..") for part in path.split("/")):
        raise BadName(f"{path[:80]!r} has a '.' or '..' part; such a name is for S3 clients only, here none climbs")
    return path


def check_bucket(bucket: str) -> str:
    """`bucket` itself, when S3's rules and Lockstep's own reserved names allow it; else BadName."""
    if bucket in RESERVED_BUCKETS:
        raise BadName(f"{bucket!r} is one of the proxy's own addresses and cannot be a bucket")
    if (
        not _BUCKET.fullmatch(bucket)
        or _BAD_LABEL.search(bucket)
        or _IPV4.fullmatch(bucket)
        or bucket.startswith(("xn--", "sthree-"))
        or bucket.endswith(("-s3alias", "--ol-s3", ".mrap", "--x-s3", "--table-s3"))
    ):
        raise BadName(
            f"{bucket[:80]!r} cannot be a bucket: 3 to 63 lower-case letters, digits, dots or hyphens, beginning and "
            "ending with a letter or digit, as each part between dots does, not shaped like an IP address, and without "
            "the endings that S3 keeps for itself"
        )
    return bucket


def check_account(name: str) -> str:
    """`name` itself, when an account may have it: 1 to 64 printable characters without '/', ':' or outer spaces."""
    if not 1 <= len(name) <= 64 or name != name.strip() or not name.isprintable() or set(name) & set("/:\\"):
        raise BadName("a user name has 1 to 64 printable characters, no '/', ':' or '\\', and no spaces at its ends")
    return name
