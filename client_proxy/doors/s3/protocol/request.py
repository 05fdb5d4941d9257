"""S3Request: the WSGI environment as an address, arguments and headers.

`routing` and `parameters` find out what it requests, the gate who sent it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from urllib.parse import unquote_plus

from client_proxy.doors.s3.protocol.s3_errors import S3Error
from lockstep_store.runtime.http.api import Environ
from lockstep_store.runtime.http.unread_body import DrainableRequest

MAX_QUERY_BYTES = 16 * 1024
_UNPREFIXED = {"content-type": "CONTENT_TYPE", "content-length": "CONTENT_LENGTH"}


class S3Request(DrainableRequest):
    """`bucket` and `key` are empty where the address has none; `domain` is that of virtual-host addresses.

    `headers` are by names in small letters with hyphens.
    """

    def __init__(self, environ: Environ, domain: str = "") -> None:
        super().__init__(environ)
        self.method: str = environ["REQUEST_METHOD"]
        self.headers = _headers(environ)
        if len(self.query) > MAX_QUERY_BYTES:
            raise S3Error("InvalidURI", f"the address has more than {MAX_QUERY_BYTES} bytes of arguments")
        self.raw_path = self.path.encode("latin-1", "replace")
        try:
            text = self.raw_path.decode("utf-8")
        except UnicodeDecodeError as error:
            raise S3Error("InvalidURI", "the address has bytes that are not UTF-8") from error
        host = (environ.get("HTTP_HOST") or "").partition(":")[0].lower()
        rest = text.removeprefix("/")
        if domain and host.endswith(f".{domain}"):
            self.bucket, self.key = host.removesuffix(f".{domain}"), rest
        else:
            self.bucket, _, self.key = rest.partition("/")
        self.resource = text
        self.requester = ""
        """The account that the gate identified, for the access log."""

    def get(self, name: str) -> str | None:
        """A header's value by its name in any letters; None when it was not sent."""
        return self.headers.get(name.lower().replace("_", "-"))

    def add_headers(self, given: Mapping[str, str]) -> None:
        """Adds those that were not sent, by names in small letters; they keep their underscores."""
        sent = {name.replace("_", "-") for name in self.headers}
        self.headers |= {name: value for name, value in given.items() if name.replace("_", "-") not in sent}

    @cached_property
    def argument_list(self) -> list[tuple[str, str]]:
        """The decoded arguments in order."""
        return query_arguments(self.query)

    @cached_property
    def arguments(self) -> Mapping[str, str]:
        """The arguments by name."""
        return first_arguments(self.argument_list)

    @cached_property
    def amz_headers(self) -> list[str]:
        """The names of all x-amz- headers, with hyphens for underscores."""
        return [name for name in self.headers if name.startswith("x-amz-")]

    def metadata(self, prefix: str, signed: tuple[str, ...] = ()) -> dict[str, str]:
        """Every header that begins with `prefix`, by the rest of its name. Underscores are known of `signed` names."""
        true_names = {name.replace("_", "-"): name for name in signed if name.startswith(prefix)}
        return {
            true_names.get(name, name)[len(prefix) :]: value
            for name, value in self.headers.items()
            if name.startswith(prefix)
        }


def _headers(environ: Environ) -> dict[str, str]:
    """The headers by their names in small letters, with hyphens: the environment does not know underscores."""
    headers = {key[5:].lower().replace("_", "-"): value for key, value in environ.items() if key.startswith("HTTP_")}
    headers |= {name: environ[key] for name, key in _UNPREFIXED.items() if key in environ}
    return headers


def query_arguments(query: str) -> list[tuple[str, str]]:
    """The decoded arguments of a raw query, in order."""
    pairs = (part.partition("=") for part in query.split("&") if part)
    return [(unquote_plus(name), unquote_plus(value)) for name, _, value in pairs]


def first_arguments(arguments: Sequence[tuple[str, str]]) -> Mapping[str, str]:
    """By name; the first one counts, as in S3."""
    found: dict[str, str] = {}
    for name, value in arguments:
        found.setdefault(name, value)
    return found
