"""The decoder that every message goes through."""

from __future__ import annotations

import msgspec
import pytest

from lockstep_store.wire.codec import decoder
from lockstep_store.wire.digest import EMPTY_DIGEST, Digest


class Message(msgspec.Struct):
    digest: Digest
    rest: object = None


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b'{"digest": 1}',
        b'{"digest": "abc"}',
        b'{"digest": "%s", "rest": "\xff"}' % EMPTY_DIGEST.hex().encode(),
        b'{"digest": "%s", "rest": ' % EMPTY_DIGEST.hex().encode() + b"[" * 100_000,
        '{"rest": "\ud800"}',
    ],
    ids=["nothing", "cut", "another type", "no digest", "not UTF-8", "deep", "half a pair"],
)
def test_what_cannot_be_read_has_one_kind_of_error(body: bytes | str) -> None:
    """Whoever reads what others wrote has a single error to think of."""
    with pytest.raises(msgspec.DecodeError):
        decoder(Message).decode(body)


def test_what_can_be_read_is() -> None:
    """With digests as they are."""
    assert decoder(Message).decode(b'{"digest": "%s"}' % EMPTY_DIGEST.hex().encode()) == Message(EMPTY_DIGEST)
