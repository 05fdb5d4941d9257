"""Addresses below `/dav/`: which bucket and path a request is about, and how a path is written in a reply."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import quote, unquote_to_bytes, urlsplit

from lockstep_store.wire.errors import BadName, BadRequest
from lockstep_store.wire.names import check_bucket, check_path

DAV_ADDRESS = "/dav"
MAX_ADDRESS_BYTES = 8192


@dataclass(frozen=True)
class Address:
    """What an address names. Without a bucket it is the root, which lists the buckets; without a path a bucket.

    `as_folder`: the address ended with a slash, so it can only be a folder.
    """

    bucket: str = ""
    path: str = ""
    as_folder: bool = True

    @property
    def folder(self) -> str:
        """The beginning of the paths in it, if it is a folder; empty for a whole bucket."""
        return f"{self.path}/" if self.path else ""

    @property
    def name(self) -> str:
        """Its last part."""
        return self.path.rpartition("/")[2] if self.path else self.bucket

    @property
    def parent(self) -> Address:
        """The folder that it is in."""
        if not self.path:
            return Address()
        return Address(self.bucket, self.path.rpartition("/")[0])

    def href(self, *, folder: bool) -> str:
        """The address as replies write it; a folder's ends with a slash."""
        if not self.bucket:
            return f"{DAV_ADDRESS}/"
        return href(self.bucket, self.folder if folder else self.path)

    def contains(self, other: Address) -> bool:
        """Whether `other` is this, or is inside this if it is a folder."""
        return self.bucket == other.bucket and (self.path == other.path or other.path.startswith(self.folder))


def href(bucket: str, path: str) -> str:
    """The address of a path in a bucket."""
    return f"{DAV_ADDRESS}/{bucket}/{quote(path, safe='/')}"


def read_address(path: str) -> Address:
    """The address in PATH_INFO, where each character is a byte. BadName for a name that a path cannot have."""
    try:
        text = path.encode("latin-1").decode()
    except UnicodeError:
        raise BadName("the address contains bytes that are not UTF-8; percent-encode names as UTF-8") from None
    below = text.removeprefix(DAV_ADDRESS).removeprefix("/")
    if not below:
        return Address()
    bucket, _, rest = below.partition("/")
    check_bucket(bucket)
    as_folder = rest.endswith("/") or not rest
    rest = rest.removesuffix("/")
    if rest:
        check_path(rest)
        if not is_shown(f"{rest}/"):
            raise BadName("a part of the name is empty: two slashes stand next to each other")
    return Address(bucket, rest, as_folder)


def read_destination(header: str, host: str) -> Address | None:
    """The address in a Destination header; None if it is not below this door of this host."""
    if not header or len(header) > MAX_ADDRESS_BYTES:
        raise BadRequest("the header Destination is missing or too long: it says where to")
    try:
        parts = urlsplit(header)
    except ValueError as error:
        raise BadRequest(f"the header Destination is not an address: {error}") from error
    if parts.netloc and parts.netloc.lower() != host.lower():
        return None
    path = unquote_to_bytes(parts.path).decode("latin-1")
    if path != DAV_ADDRESS and not path.startswith(f"{DAV_ADDRESS}/"):
        return None
    return read_address(path)


def is_shown(path: str) -> bool:
    """Whether an address can name the path. S3 clients can use names that no folder on a desktop has."""
    try:
        check_path(path.removesuffix("/"))
    except BadName:
        return False
    return "" not in path.removesuffix("/").split("/")
