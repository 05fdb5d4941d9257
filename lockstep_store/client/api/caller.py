"""One call to a proxy: its address, and its reply decoded and checked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import quote

import msgspec

from lockstep_store.wire.codec import decoder
from lockstep_store.wire.errors import BadRequest, LockstepError
from lockstep_store.wire.names import check_bucket, check_path

if TYPE_CHECKING:
    import requests

    from lockstep_store.client.api.transport import ApiTransport

T = TypeVar("T")
POLL_MARGIN_SECONDS = 20.0


class ApiCaller:
    """The base of every family of calls."""

    def __init__(self, transport: ApiTransport) -> None:
        self.transport = transport

    @property
    def url(self) -> str:
        return self.transport.url

    def _ask(self, kind: type[T], method: str, address: str, **arguments: Any) -> T:
        return decoded(kind, self.transport.request(method, address, **arguments), self.url)


def decoded(kind: type[T], response: requests.Response, url: str) -> T:
    """Decode a reply; BadRequest when it has another shape."""
    try:
        return decoder(kind).decode(response.content)
    except (msgspec.DecodeError, LockstepError) as error:
        raise BadRequest(
            f"{url} sent a reply that this program cannot read ({error}): update the older of the two programs"
        ) from error


def file_address(bucket: str, path: str) -> str:
    """Check and percent-encode the name of a file, and return the file's address."""
    return f"/api/v1/files/{check_bucket(bucket)}/{quoted(check_path(path))}"


def quoted(path: str) -> str:
    """A path percent-encoded for an address, except for its slashes."""
    return quote(path, safe="/~")


def segment(text: str) -> str:
    """Percent-encode an id as one segment of an address."""
    return quote(text, safe="")


def version_argument(version: str | None) -> dict[str, str]:
    """Return the query argument for `version`, if one is given."""
    return {"version": version} if version else {}
