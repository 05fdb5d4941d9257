"""A request of git-lfs: which repository and what of it, and its JSON."""

from __future__ import annotations

import re
from typing import TypeVar
from urllib.parse import quote_from_bytes

import msgspec

from client_proxy.doors.basic_log_ins import CallersRequest, DoorCaller
from lockstep_store.runtime.http.api import Environ
from lockstep_store.wire.codec import decoder
from lockstep_store.wire.errors import BadName, BadRequest, NotFound, UnsupportedMediaType
from lockstep_store.wire.names import check_bucket, check_path

LFS_ADDRESS = "/lfs"
MAX_BODY_BYTES = 1024 * 1024
JSON_TYPES = ("application/vnd.git-lfs+json", "application/json")
OBJECT_ID = r"[0-9a-f]{64}"
_ADDRESS = re.compile(
    rf"{LFS_ADDRESS}/([^/]+)/(.+?)/(objects/batch|objects/verify|objects/{OBJECT_ID}|locks|locks/verify|locks/[^/]+/unlock)",
    re.DOTALL,
)

T = TypeVar("T")


def kind_of(environ: Environ) -> str:
    """What an address is about, without names: `objects/batch`, `object`, `unlock`, …; `none` for another address."""
    found = _ADDRESS.fullmatch(environ["PATH_INFO"])
    what = found[3] if found is not None else "none"
    if what.endswith("/unlock"):
        return "unlock"
    return "object" if re.fullmatch(f"objects/{OBJECT_ID}", what) else what


class LfsRequest(CallersRequest):
    """A request about the repository `repo` (a path in the bucket). NotFound for another address.

    `what` follows the repository: `objects/batch`, `locks`, …
    """

    def __init__(self, environ: Environ, caller: DoorCaller) -> None:
        super().__init__(environ, caller)
        try:
            path = self.path.encode("latin-1").decode()
        except UnicodeError:
            raise BadName("the address contains bytes that are not UTF-8") from None
        found = _ADDRESS.fullmatch(path)
        if found is None:
            raise NotFound("there is nothing here: set lfs.url to https://PROXY/lfs/BUCKET/REPOSITORY")
        self.bucket = check_bucket(found[1])
        self.repo = check_path(found[2].removesuffix(".git"))
        self.what: str = found[3]

    def path_of(self, name: str) -> str:
        """The path in the bucket of a file of the repository."""
        return check_path(f"{self.repo}/{name}")

    def message(self, kind: type[T]) -> T:
        """The JSON body as `kind`. UnsupportedMediaType unless it is declared as JSON.

        A page of another site can send any text with the log-in that a browser remembers, but cannot declare it so.
        """
        declared = self.environ.get("CONTENT_TYPE", "").partition(";")[0].strip().lower()
        if declared not in JSON_TYPES:
            raise UnsupportedMediaType(f"send JSON, with the header Content-Type: {JSON_TYPES[0]}")
        try:
            return decoder(kind).decode(self.keep_body(MAX_BODY_BYTES))
        except msgspec.DecodeError as error:
            raise BadRequest(f"the body is not what Git LFS sends here: {error}") from error

    def link(self, what: str) -> str:
        """The address of something of this repository, as the client reached this proxy."""
        home = self.environ.get("HTTP_HOST", "")
        raw = self.environ["PATH_INFO"].removesuffix(self.what)
        return f"{self.environ['wsgi.url_scheme']}://{home}{_quoted(raw)}{what}"


def _quoted(raw: str) -> str:
    """PATH_INFO, where each character is a byte, as an address."""
    return quote_from_bytes(raw.encode("latin-1"), safe="/")
