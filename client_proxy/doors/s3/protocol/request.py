"""One S3 request: the border where the runner's environment becomes a place, arguments and headers.

What it asks for is `routing`'s and `parameters`' to say, who asks the gate's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property, lru_cache
from urllib.parse import unquote_plus

from client_proxy.doors.s3.protocol.s3_errors import S3Error
from lockstep_store.runtime.http.api import Environ
from lockstep_store.runtime.http.unread_body import DrainableRequest

MAX_QUERY_BYTES = 16 * 1024
_UNPREFIXED = {"content-type": "CONTENT_TYPE", "content-length": "CONTENT_LENGTH"}


class S3Request(DrainableRequest):
    """`bucket` and `key` are empty where the address names none. `domain` is that of virtual-host addresses."""

    def __init__(self, environ: Environ, domain: str = "") -> None:
        super().__init__(environ)
        self.method: str = environ["REQUEST_METHOD"]
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
        """The account that the gate found behind it, for the access log."""

    def get(self, name: str) -> str | None:
        """A header's value, None when it was not sent."""
        value: str | None = self.environ.get(_environ_name(name))
        return value

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
        """The names of all x-amz- headers, as far as the environment tells them (hyphens for underscores)."""
        return [key[5:].lower().replace("_", "-") for key in self.environ if key.startswith("HTTP_X_AMZ_")]

    def metadata(self, prefix: str, signed: tuple[str, ...] = ()) -> dict[str, str]:
        """Every header that begins with `prefix`, by the rest of its name.

        The environment has '_' for '-', so a name that was signed is taken from there.
        """
        start = "HTTP_" + prefix.upper().replace("-", "_")
        true_names = {name.upper().replace("-", "_"): name for name in signed if name.startswith(prefix)}
        found = {}
        for key in self.environ:
            if key.startswith(start):
                name = true_names.get(key[5:]) or key[5:].lower().replace("_", "-")
                found[name[len(prefix) :]] = self.environ[key]
        return found


@lru_cache(maxsize=1024)
def _environ_name(header: str) -> str:
    """Bounded, because clients choose names too: those that they sign."""
    return _UNPREFIXED.get(header.lower()) or "HTTP_" + header.upper().replace("-", "_")


def query_arguments(query: str) -> list[tuple[str, str]]:
    """The decoded arguments of a query as it came, in order."""
    pairs = (part.partition("=") for part in query.split("&") if part)
    return [(unquote_plus(name), unquote_plus(value)) for name, _, value in pairs]


def first_arguments(arguments: Sequence[tuple[str, str]]) -> Mapping[str, str]:
    """By name; of one that is given twice the first counts, as in S3."""
    found: dict[str, str] = {}
    for name, value in arguments:
        found.setdefault(name, value)
    return found
