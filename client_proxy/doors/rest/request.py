"""A request to the API: turns untrusted text into checked names, numbers, messages and bytes.

The directory authorises the request, from its credential.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import TypeVar
from urllib.parse import parse_qs

from client_proxy.doors.callers import check_credential
from client_proxy.doors.request_access import access_of
from client_proxy.doors.rest.json_body import read_json
from lockstep_store.runtime.http.api import Environ
from lockstep_store.runtime.http.unread_body import DrainableRequest
from lockstep_store.wire.errors import (
    BadName,
    BadRequest,
    IncompleteBody,
    LengthRequired,
    NotLoggedIn,
    TooLarge,
)
from lockstep_store.wire.manifest import MAX_FILE_BYTES
from lockstep_store.wire.names import check_bucket, check_path

T = TypeVar("T")

MAX_QUERY_BYTES = 16 * 1024
MAX_REPEATED = 500
"""How often an argument may be sent that may be repeated."""
MAX_HEADER_BYTES = 8192
UPLOAD_BLOCK_BYTES = 256 * 1024

_known_bucket = lru_cache(maxsize=1024)(check_bucket)


class RestRequest(DrainableRequest):
    """A request, with the values from its address, such as `bucket` and `path`."""

    def __init__(self, environ: Environ, params: dict[str, str]) -> None:
        super().__init__(environ)
        self.params = params
        self._query: dict[str, list[str]] | None = None

    @property
    def client_address(self) -> str:
        """The address that the request came from."""
        address: str = self.environ.get("REMOTE_ADDR") or ""
        return address

    def credential(self) -> str:
        """The bearer token or API key as sent. NotLoggedIn if there is none, or it cannot be one."""
        environ = self.environ
        given: str = environ.get("HTTP_AUTHORIZATION", "")
        if given:
            scheme, _, credential = given.partition(" ")
            if scheme.lower() != "bearer":
                raise NotLoggedIn(
                    "send the token as 'Authorization: Bearer <token>', or an API key as 'X-Api-Key: <key>'"
                )
            credential = credential.strip()
        else:
            credential = environ.get("HTTP_X_API_KEY", "")
        if not credential:
            raise NotLoggedIn(
                "you must log in: send a token as 'Authorization: Bearer <token>', or an API key as 'X-Api-Key: <key>'"
            )
        return check_credential(credential)

    def access(self) -> str:
        """The credential, with what policies may ask about the request: address, transport, agent and referer."""
        return access_of(self.environ, self.credential())

    def bucket(self) -> str:
        """The bucket in the address, checked."""
        return _known_bucket(self.params["bucket"])

    def file_path(self) -> str:
        """The path in the address, checked but unchanged."""
        return check_path(self.params["path"])

    def segment(self, name: str) -> str:
        """An id in the address: 1 to 256 characters."""
        value = self.params[name]
        if not 1 <= len(value) <= 256 or not value.isprintable():
            raise BadRequest(f"the {name} in the address must have 1 to 256 printable characters")
        return value

    def bounded(self, name: str, limit: int = MAX_HEADER_BYTES) -> str:
        """A header's value, or an empty string without it. BadRequest if it is too long, empty or not ASCII.

        The runner presents a value that is not ASCII as an empty one.
        """
        value = self.header(name)
        if not value and self.header(name, "absent") == "":
            raise BadRequest(f"the header {name} is empty or not ASCII: give it a value, or leave it out")
        if len(value) > limit:
            raise BadRequest(f"the header {name} has {len(value)} bytes; at most {limit} are accepted")
        return value

    def number_header(self, name: str) -> int | None:
        """The value of a header that is a non-negative integer, or None without it."""
        value = self.bounded(name)
        if not value:
            return None
        if not (value.isascii() and value.isdecimal() and len(value) <= 18):
            raise BadRequest(f"the header {name} must be a whole number, not {value[:40]!r}")
        return int(value)

    def flag_header(self, name: str) -> bool:
        """The value of a header that is `true` or `false`; False without it."""
        return _flag(self.bounded(name) or "false", f"the header {name}")

    def argument(self, name: str, default: str = "", limit: int = 4096) -> str:
        """A query argument's value. BadRequest if it has more than `limit` characters."""
        if not self.query:
            return default
        values = self._arguments().get(name)
        if values is None:
            return default
        if len(values[0]) > limit:
            raise BadRequest(f"the argument {name} has {len(values[0])} characters; at most {limit} are accepted")
        return values[0]

    def bucket_argument(self) -> str:
        """The bucket in `?bucket=`, or an empty name for all of them."""
        bucket = self.argument("bucket", limit=256)
        return check_bucket(bucket) if bucket else ""

    def number_argument(self, name: str, default: int, low: int, high: int) -> int:
        """The value of a query argument that is an integer from `low` to `high`."""
        value = self.argument(name)
        if not value:
            return default
        if not (value.isascii() and value.isdecimal() and len(value) <= 18 and low <= int(value) <= high):
            raise BadRequest(f"the argument {name} must be a whole number from {low} to {high}, not {value[:40]!r}")
        return int(value)

    def flag_argument(self, name: str) -> bool:
        """The value of a query argument that is `true` or `false`; False without it."""
        return _flag(self.argument(name, "false"), f"the argument {name}")

    def arguments(self, name: str) -> list[str]:
        """The values of a query argument that may be repeated."""
        return self._arguments().get(name, [])

    def check_arguments(self, known: frozenset[str], repeated: frozenset[str] = frozenset()) -> None:
        """Raise BadRequest for a query argument that is unknown, empty or repeated.

        Those in `repeated` may be sent several times, each time with another value.

        Ignoring a misspelled or empty argument would change what the request means: `DELETE …?version=` would delete
        the current file.
        """
        unknown = sorted(set(self._arguments()) - known)
        if unknown:
            named = ", ".join(repr(name[:80]) for name in unknown[:5])
            hint = f"it takes {', '.join(sorted(known))}" if known else "it takes none"
            raise BadRequest(
                f"this address does not take the argument {named}; {hint}", unknown=unknown[:5], known=sorted(known)
            )
        for name, values in self._arguments().items():
            if name in repeated and len(set(values)) < len(values):
                raise BadRequest(f"the argument {name} was sent twice with the same value; send each value once")
            if name not in repeated and len(values) > 1:
                raise BadRequest(f"the argument {name} was sent {len(values)} times; send it once")
            if "" in values:
                raise BadRequest(f"the argument {name} is empty: give it a value, or leave it out")

    def version(self) -> str | None:
        """The version in `?version=`, or None for the current one."""
        return self.argument("version", limit=256) or None

    def message(self, shape: type[T], *, optional: bool = False) -> T:
        """The JSON body as `shape`. With `optional`, no body means `{}`."""
        return read_json(self, shape, optional=optional)

    def declared_length(self) -> int:
        """Content-Length of a file's body. It is required: without it, a truncated body would look complete."""
        if self.content_length is None:
            raise LengthRequired(
                "a file's bytes need a Content-Length: without it a body that was cut short looks complete. "
                "Send the length, or a chunk stream, which proves its end"
            )
        if self.content_length > MAX_FILE_BYTES:
            raise TooLarge(f"a file may have at most {MAX_FILE_BYTES} bytes; this one declares {self.content_length}")
        return self.content_length

    def blocks(self) -> Iterator[bytes]:
        """The body's bytes. IncompleteBody, before the last block, if the length is not the declared one.

        So a caller that commits after the last block commits only complete bodies.
        """
        missing = declared = self.declared_length()
        # The runner ends the body by itself, so reading one more byte is safe and shows a surplus.
        surplus = 1 if self.environ.get("wsgi.input_terminated") else 0
        while missing:
            data = self.read(UPLOAD_BLOCK_BYTES if missing > UPLOAD_BLOCK_BYTES else missing + surplus)
            if not data:
                raise IncompleteBody(
                    f"the body ended after {declared - missing} of {declared} declared bytes; nothing was stored"
                )
            missing -= len(data)
            if missing < 0:
                raise IncompleteBody(f"the body is longer than the {declared} bytes declared; nothing was stored")
            yield data

    def _arguments(self) -> dict[str, list[str]]:
        if self._query is None:
            if len(self.query) > MAX_QUERY_BYTES:
                raise BadRequest(f"the address has more than {MAX_QUERY_BYTES} bytes of arguments")
            try:
                self._query = parse_qs(
                    self.query, keep_blank_values=True, errors="strict", max_num_fields=MAX_REPEATED + 50
                )
            except ValueError as error:
                raise BadRequest(f"the arguments in the address cannot be read: {error}") from error
        return self._query


def canonical_path(raw: str) -> str:
    """PATH_INFO in canonical form: each byte of the percent-decoded UTF-8 path as one character.

    Converts the text that some servers pass instead. BadName for bytes that are not UTF-8.
    """
    if raw.isascii():
        return raw
    try:
        encoded = raw.encode("latin-1")
    except UnicodeEncodeError:
        try:
            return raw.encode().decode("latin-1")
        except UnicodeEncodeError:
            raise BadName("the address is not valid Unicode") from None
    try:
        encoded.decode()
    except UnicodeDecodeError:
        raise BadName("the address contains bytes that are not UTF-8; percent-encode names as UTF-8") from None
    return raw


def path_text(canonical: str) -> str:
    """Decode a part of a canonical PATH_INFO."""
    return canonical if canonical.isascii() else canonical.encode("latin-1").decode()


def _flag(value: str, what: str) -> bool:
    if value.lower() in ("false", "0", "no"):
        return False
    if value.lower() in ("true", "1", "yes"):
        return True
    raise BadRequest(f"{what} must be true or false, not {value[:40]!r}")
