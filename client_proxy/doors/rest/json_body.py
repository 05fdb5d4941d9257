"""JSON request bodies: their base class and a strict reader.

Programs of the cluster ignore unknown members, because a newer peer may send more. In a person's request, ignoring a
misspelled member would change what the request means.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Annotated, Any, TypeVar, cast

import msgspec

from lockstep_store.runtime.http.unread_body import DrainableRequest
from lockstep_store.wire.codec import Decoder, decoder
from lockstep_store.wire.errors import BadRequest, LengthRequired, LockstepError, UnsupportedMediaType

MAX_JSON_BYTES = 256 * 1024
JSON_TYPE = "application/json"

T = TypeVar("T")
LockNumber = Annotated[int, msgspec.Meta(ge=0, le=10**18 - 1)]


class JsonBody(msgspec.Struct, omit_defaults=True, forbid_unknown_fields=True):
    """Base of all JSON request bodies. Unknown members are errors."""


def read_json(request: DrainableRequest, shape: type[T], *, optional: bool = False) -> T:
    """The JSON body as `shape`. With `optional`, no body means `{}`."""
    if "HTTP_TRANSFER_ENCODING" in request.environ:
        # The runner presents broken chunk framing as the end of the body, so a truncated body would look complete.
        raise LengthRequired("a JSON body needs a Content-Length; chunked transfer coding is not accepted here")
    body = request.body(MAX_JSON_BYTES)
    if body:
        _check_type(request)
    elif optional:
        body = b"{}"
    else:
        raise BadRequest("this needs a JSON body; see /api/v1/docs")
    try:
        decoded: T = _decoder_of(cast("Any", shape)).decode(body)
        return decoded
    except msgspec.DecodeError as error:
        raise BadRequest(f"the JSON body is not valid here: {error}") from error
    except BadRequest:
        raise
    except LockstepError as error:
        raise BadRequest(str(error)) from error


def _check_type(request: DrainableRequest) -> None:
    """UnsupportedMediaType for another type than JSON: a foreign web page can send text/plain without asking."""
    given: str = request.environ.get("CONTENT_TYPE", "")
    if given and given.partition(";")[0].strip().lower() != JSON_TYPE:
        raise UnsupportedMediaType(
            f"the body is sent as {given[:80]!r}, but this address takes JSON: send 'Content-Type: {JSON_TYPE}'",
            accepted=JSON_TYPE,
        )


@lru_cache(maxsize=128)
def _decoder_of(shape: Any) -> Decoder[Any]:
    return decoder(shape)
