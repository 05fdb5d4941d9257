"""Calls between programs: one declaration names the route, the request's shape and the answer's.

The caller encodes and decodes with the same `Call` object as the server, so the two cannot drift apart. Bounds
stand in the shapes themselves (`msgspec.Meta`) and are checked on both sides.
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
    raise NotImplementedError(f"{type(value).__name__} has no wire form")


def _decode_hook(kind: type, value: Any) -> Any:
    if kind is not Digest:
        raise NotImplementedError(f"{kind.__name__} has no wire form")
    if not isinstance(value, str):
        raise TypeError("expected a digest's hexadecimal digits")
    try:
        return Digest.parse(value)
    except BadRequest as error:
        raise ValueError(str(error)) from error  # which msgspec makes its own, with the place in the message


class Decoder(Generic[Req]):
    """msgspec's decoder with a single kind of error, msgspec.DecodeError: also for bytes that are not UTF-8 and for
    values that are nested too deeply, which it tells of in other ways."""

    def __init__(self, kind: type[Req]) -> None:
        self._decode = msgspec.json.Decoder(kind, dec_hook=_decode_hook).decode

    def decode(self, body: bytes | bytearray | memoryview | str) -> Req:
        try:
            return self._decode(body)
        except (UnicodeError, RecursionError) as error:
            raise msgspec.DecodeError(f"it is not JSON that can be read ({error})") from error


_encoder = msgspec.json.Encoder(enc_hook=_encode_hook)
_problem_decoder = Decoder(Problem)


class Call(Generic[Req, Rep]):
    """One remote call: `path` on the server, the request's type and the reply's type."""

    def __init__(self, path: str, request: type[Req], reply: type[Rep]) -> None:
        self.path = path
        self.request = request
        self.reply = reply
        self._request_decoder = decoder(request)
        self._reply_decoder = decoder(reply)

    def decode_request(self, body: bytes) -> Req:
        """The request in `body`; BadRequest names the field that does not fit."""
        try:
            return self._request_decoder.decode(body)
        except (msgspec.DecodeError, LockstepError) as error:
            raise BadRequest(f"the body of {self.path} does not fit its declared shape: {error}") from error

    def decode_reply(self, body: bytes) -> Rep:
        """The reply in `body`; Unavailable when the server speaks another version of the protocol.

        Never a refusal of the request, which would promise that nothing was done: this server did what it was asked.
        """
        try:
            return self._reply_decoder.decode(body)
        except (msgspec.DecodeError, LockstepError) as error:
            raise Unavailable(f"the answer of {self.path} does not fit its declared shape: {error}") from error

    def __repr__(self) -> str:
        return f"Call({self.path})"


def decoder(kind: type[Req]) -> Decoder[Req]:
    """A JSON decoder for `kind` that knows digests."""
    return Decoder(kind)


def encode(message: Any) -> bytes:
    """A message as JSON bytes."""
    return _encoder.encode(message)


def decode_problem(body: bytes, status: int) -> Problem:
    """The problem in an error answer's body, or a plain one when the body is something else."""
    try:
        return _problem_decoder.decode(body)
    except msgspec.DecodeError:
        return Problem(code="unknown", status=status, detail=body[:200].decode("utf-8", "replace"))
