"""Names: the rules for paths, buckets and accounts.

A path is kept exactly as given: without Unicode normalisation, two spellings are two paths. Only this module rejects
names; a person's local storage has stricter rules of its own.
"""

from __future__ import annotations

import re
import unicodedata

from lockstep_store.wire.errors import BadName

MAX_PATH_BYTES = 1024
RESERVED_BUCKETS = frozenset({"api", "metrics", "health", "console", "dav", "lfs"})
FILES_BUCKET = "files"
TENANT_SEPARATOR = "\\"

_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_BAD_LABEL = re.compile(r"\.[.-]|-\.")
_NOT_IN_XML = "\ufffe\uffff"
_WIDE = str.maketrans("/:\\*", "\uff0f\uff1a\uff3c\uff0a")
_TENANT = re.compile(r"[a-z0-9][a-z0-9-]{0,30}[a-z0-9]")
_IPV4 = re.compile(r"\d+\.\d+\.\d+\.\d+")


def check_key(key: str) -> str:
    """Return `key` if it can name an object in a bucket; BadName explains why it cannot.

    The directory and S3 check nothing else: to them slashes and dots have no meaning.
    """
    if not key:
        raise BadName("the file name is empty")
    try:
        encoded = key.encode("utf-8")
    except UnicodeEncodeError:
        raise BadName("the file name is not valid Unicode") from None
    if len(encoded) > MAX_PATH_BYTES:
        raise BadName(
            f"the file name is too long: it has {len(encoded)} bytes, and the limit is {MAX_PATH_BYTES}",
            reason="too_long",
        )
    if not key.isprintable():
        for character in key:
            if unicodedata.category(character) in ("Cc", "Cs"):
                raise BadName(f"the file name contains the control character U+{ord(character):04X}")
            if character in _NOT_IN_XML:
                raise BadName(f"the file name contains U+{ord(character):04X}, which listings in XML cannot have")
    return key


def check_path(path: str) -> str:
    """Return `path` if it is a key and also a relative path; BadName otherwise.

    Every door but S3 checks this: in addresses and folders `..` and a leading slash have a meaning, so a request for
    `a/../b` would reach `b`.
    """
    check_key(path)
    if path[0] == "/":
        raise BadName(f"{path[:80]!r} starts with a slash: only S3 clients can use such a name")
    if "." in path and any(part in (".", "..") for part in path.split("/")):
        raise BadName(f"{path[:80]!r} contains a '.' or '..' segment: only S3 clients can use such a name")
    return path


def check_bucket(bucket: str) -> str:
    """Return `bucket` if S3's rules and Lockstep's reserved names allow it; BadName otherwise."""
    if bucket in RESERVED_BUCKETS:
        raise BadName(
            f"the bucket name {bucket!r} is reserved: it is one of the proxy's own addresses", reason="bucket"
        )
    if (
        not _BUCKET.fullmatch(bucket)
        or _BAD_LABEL.search(bucket)
        or _IPV4.fullmatch(bucket)
        or bucket.startswith(("xn--", "sthree-"))
        or bucket.endswith(("-s3alias", "--ol-s3", ".mrap", "--x-s3", "--table-s3"))
    ):
        raise BadName(
            f"{bucket[:80]!r} is not a valid bucket name: use 3 to 63 lower-case letters, digits, dots and hyphens; "
            "the name and each of its parts between dots must begin and end with a letter or digit; it must not look "
            "like an IP address or have a prefix or suffix that S3 reserves",
            reason="bucket",
        )
    return bucket


def tenant_of(account: str) -> str:
    r"""Return the tenant that an account's name begins with, as in `acme\ann`; empty for the others."""
    tenant, separator, _ = account.partition(TENANT_SEPARATOR)
    return tenant if separator else ""


def quoted(account: str) -> str:
    """Return an account's name in quotes, for messages: as people type it, with one backslash."""
    return repr(account).replace("\\\\", "\\")


def check_tenant(name: str) -> str:
    """Return `name` if a tenant may have it; BadName otherwise."""
    if not _TENANT.fullmatch(name):
        raise BadName(
            "the tenant's name is invalid: use 2 to 32 lower-case letters, digits and hyphens; it must begin and end "
            "with a letter or digit"
        )
    return name


def check_account(name: str, *, in_tenant: bool = False) -> str:
    r"""Return `name` if an account may have it; BadName otherwise. With `in_tenant` also names such as `acme\ann`."""
    if in_tenant and TENANT_SEPARATOR in name:
        tenant, _, own = name.partition(TENANT_SEPARATOR)
        return f"{check_tenant(tenant)}{TENANT_SEPARATOR}{check_account(own)}"
    if not 1 <= len(name) <= 64 or name != name.strip() or not name.isprintable() or _has_any(name, "/:\\"):
        raise BadName(
            "the user name is invalid: use 1 to 64 printable characters, no '/', ':' or '\\', "
            "and no spaces at the beginning or end"
        )
    return name


def check_group(name: str) -> str:
    """Return `name` if a group of accounts may have it; BadName otherwise."""
    if not 1 <= len(name) <= 64 or name != name.strip() or not name.isprintable() or _has_any(name, "/:\\*"):
        raise BadName(
            "the group's name is invalid: use 1 to 64 printable characters, no '/', ':', '*' or '\\', "
            "and no spaces at the beginning or end"
        )
    return name


def _has_any(name: str, characters: str) -> bool:
    """Whether a name has one of these, as it is typed or as it will be stored: with the width of characters folded."""
    return not set(name).isdisjoint(characters + characters.translate(_WIDE))
