"""S3Request: the WSGI environment as an address, arguments and headers.

Address and headers are taken as they came where the runner shows them: signatures are made of them. `routing` and
`parameters` find out what it requests, the gate who sent it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from urllib.parse import unquote, unquote_plus

from client_proxy.doors.s3.protocol.s3_errors import S3Error
from lockstep_store.runtime.http.api import Environ
from lockstep_store.runtime.http.request_head import RAW_HEADERS, RAW_PATH
from lockstep_store.runtime.http.unread_body import DrainableRequest

MAX_QUERY_BYTES = 16 * 1024
_UNPREFIXED = {"content-type": "CONTENT_TYPE", "content-length": "CONTENT_LENGTH"}


class S3Request(DrainableRequest):
    """`bucket` and `key` are empty where the address has none; `domain` is that of virtual-host addresses.

    `headers` are by names in small letters, with their underscores.
    """

    def __init__(self, environ: Environ, domain: str = "") -> None:
        super().__init__(environ)
        self.headers, self.not_text = _headers(environ)
        if len(self.query) > MAX_QUERY_BYTES:
            raise S3Error("InvalidURI", f"the address has more than {MAX_QUERY_BYTES} bytes of arguments")
        self.raw_path = self.path.encode("latin-1", "replace")
        """The address's path, percent-decoded."""
        self.sent_path: bytes = environ.get(RAW_PATH, self.raw_path)
        """The address's path as it came."""
        try:
            self.resource = self.raw_path.decode("utf-8")
        except UnicodeDecodeError as error:
            raise S3Error("InvalidURI", "the address has bytes that are not UTF-8") from error
        host = (environ.get("HTTP_HOST") or "").partition(":")[0].lower()
        if domain and host.endswith(f".{domain}"):
            self.bucket, self.key = host.removesuffix(f".{domain}"), self.resource.removeprefix("/")
        else:
            # A slash that is encoded belongs to a name, not to the address.
            encoded = RAW_PATH in environ and b"%" in self.sent_path.removeprefix(b"/").partition(b"/")[0]
            path = self.sent_path.decode("ascii", "replace") if encoded else self.resource
            bucket, _, key = path.removeprefix("/").partition("/")
            self.bucket, self.key = (unquote(bucket), unquote(key)) if encoded else (bucket, key)
        self.requester = ""
        """The account that the gate identified, for the access log."""
        self.on_identified: Callable[[str, str], None] | None = None
        """Called with the account and access key, both empty for an anonymous request, once they are known."""

    def identified(self, account: str, access_key: str) -> None:
        """Note who sent it. Raises what `on_identified` raises."""
        self.requester = account
        if self.on_identified is not None:
            self.on_identified(account, access_key)

    def get(self, name: str) -> str | None:
        """A header's value by its name in any letters; None when it was not sent."""
        return self.headers.get(name.lower())

    def add_headers(self, given: Mapping[str, str]) -> None:
        """Adds those that were not sent, by names in small letters."""
        self.headers = {**given, **self.headers}

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
        """The names of all x-amz- headers."""
        return [name for name in self.headers if name.startswith("x-amz-")]

    def metadata(self, prefix: str) -> dict[str, str]:
        """Every header that begins with `prefix`, by the rest of its name."""
        return {name[len(prefix) :]: value for name, value in self.headers.items() if name.startswith(prefix)}

    @property
    def signed_headers(self) -> Callable[[str], str | None]:
        """Look-up of headers as they were signed: bytes that are not UTF-8 are surrogates."""
        if not self.not_text:
            return self.headers.get
        sent = dict(self.headers)
        for name in self.not_text:
            values = [value for each, value in self.environ[RAW_HEADERS] if each == name.encode("latin-1")]
            sent[name] = b",".join(values).decode("utf-8", "surrogateescape")
        return sent.get

    def check_text(self) -> None:
        """S3Error when an x-amz- header is in `not_text`: no reply could repeat it."""
        for name in self.not_text:
            if name.startswith("x-amz-"):
                message = f"the header {name[:128]} has bytes that are not UTF-8"
                raise S3Error("InvalidArgument", message, ArgumentName=name[:128])


def _headers(environ: Environ) -> tuple[dict[str, str], list[str]]:
    """The headers by their names in small letters, and the names of those that are not UTF-8.

    Without the runner's own list the environment's are taken.
    """
    if RAW_HEADERS not in environ:
        prefixed = [(key[5:], value) for key, value in environ.items() if key.startswith("HTTP_")]
        headers = {name.lower().replace("_", "-"): value for name, value in prefixed}
        return headers | {name: environ[key] for name, key in _UNPREFIXED.items() if key in environ}, []
    headers, not_text = {}, []
    for raw_name, raw_value in environ[RAW_HEADERS]:
        name = raw_name.decode("latin-1")
        try:
            value = raw_value.decode("utf-8")
        except UnicodeDecodeError:
            value = raw_value.decode("utf-8", "replace")
            not_text.append(name)
        headers[name] = f"{headers[name]},{value}" if name in headers else value
    return headers, not_text


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
