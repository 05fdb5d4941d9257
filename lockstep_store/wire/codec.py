"""Calls between programs: one declaration gives the route and the types of request and reply.

Caller and server encode and decode with the same `Call` object, so the two cannot drift apart. The shapes declare
their bounds (`msgspec.Meta`), and both sides check them.
"""

from __future__ import annotations

from typing import Any, Generic, TypeVar

import msgspec

from lockstep_store.wire.digest import Digest
from lockstep_store.wire.errors import BadRequest, LockstepError, Problem, Unavailable

Req = TypeVar("Req")
Rep = TypeVar("Rep")


def _encode_hook(value: Any) -> Any:
    if isinstance(value, Digest):
        return value.hex()
    raise NotImplementedError(f"{type(value).__name__} cannot be part of a message")


def _decode_hook(kind: type, value: Any) -> Any:
    if kind is not Digest:
        raise NotImplementedError(f"{kind.__name__} cannot be part of a message")
    if not isinstance(value, str):
        raise TypeError("expected the hexadecimal digits of a digest")
    try:
        return Digest.parse(value)
    except BadRequest as error:
        raise ValueError(str(error)) from error  # msgspec turns it into a DecodeError that names the member


class Decoder(Generic[Req]):
    """A JSON decoder that raises only msgspec.DecodeError.

    msgspec itself raises other errors for bytes that are not UTF-8 and for values that are nested too deeply.
    """

    def __init__(self, kind: type[Req]) -> None:
        self._decode = msgspec.json.Decoder(kind, dec_hook=_decode_hook).decode

    def decode(self, body: bytes | bytearray | memoryview | str) -> Req:
        try:
            return self._decode(body)
        except (UnicodeError, RecursionError) as error:
            raise msgspec.DecodeError(f"invalid JSON ({error})") from error


_encoder = msgspec.json.Encoder(enc_hook=_encode_hook)
_problem_decoder = Decoder(Problem)


class Call(Generic[Req, Rep]):
    """One remote call: the path on the server, the request's type and the reply's type."""

    def __init__(self, path: str, request: type[Req], reply: type[Rep]) -> None:
        self.path = path
        self.request = request
        self.reply = reply
        self._request_decoder = decoder(request)
        self._reply_decoder = decoder(reply)

    def decode_request(self, body: bytes) -> Req:
        """Decode the request in `body`; BadRequest names the member that is invalid."""
        try:
            return self._request_decoder.decode(body)
        except (msgspec.DecodeError, LockstepError) as error:
            raise BadRequest(f"invalid request to {self.path}: {error}") from error

    def decode_reply(self, body: bytes) -> Rep:
        """Decode the reply in `body`; Unavailable when the server speaks another version of the protocol.

        BadRequest would be wrong: it promises that nothing was done, but this server has carried out the request.
        """
        try:
            return self._reply_decoder.decode(body)
        except (msgspec.DecodeError, LockstepError) as error:
            raise Unavailable(f"invalid reply from {self.path}: {error}") from error

    def __repr__(self) -> str:
        return f"Call({self.path})"


def decoder(kind: type[Req]) -> Decoder[Req]:
    """Return a JSON decoder for `kind` that knows digests."""
    return Decoder(kind)


def encode(message: Any) -> bytes:
    """Encode a message as JSON."""
    return _encoder.encode(message)


def decode_problem(body: bytes, status: int) -> Problem:
    """Decode the problem in the body of an error reply; any other body becomes the detail of an unknown problem."""
    try:
        return _problem_decoder.decode(body)
    except msgspec.DecodeError:
        return Problem(code="unknown", status=status, detail=body[:200].decode("utf-8", "replace"))
