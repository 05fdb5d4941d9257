"""FileIds: opaque names for files, for addresses that have no bucket and path.

An id is the bucket and path of a file, encrypted and authenticated (AES-SIV, RFC 5297) under a key that only the
cluster's programs know. So nothing is stored for it, every proxy understands it, it says only roughly how long the
name is, and nobody can make one up. It gives no right. It stays the same as long as the file keeps its name.
"""

from __future__ import annotations

import base64
import binascii
from functools import cached_property

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESSIV

from client_proxy.core.directory_calls import Directory
from lockstep_store.wire.errors import BadName, NotFound
from lockstep_store.wire.messages.base import Nothing
from lockstep_store.wire.messages.file_ids import FILE_ID_KEY
from lockstep_store.wire.names import check_path

MAX_ID = 2048
_ROUND_TO = 48
"""Names are padded with zero bytes, which no name can contain, to a multiple of this."""
_PURPOSE = [b"lockstep file id"]


class FileIds:
    """Thread-safe. The key is fetched when it is first needed."""

    def __init__(self, directory: Directory) -> None:
        self._directory = directory

    def of(self, bucket: str, path: str) -> str:
        """The id of a file: letters, digits, `-` and `_`."""
        name = f"{bucket}/{path}".encode()
        padded = name.ljust(-(-len(name) // _ROUND_TO) * _ROUND_TO, b"\0")
        return base64.urlsafe_b64encode(self._cipher.encrypt(padded, _PURPOSE)).decode().rstrip("=")

    def named(self, id: str) -> tuple[str, str]:
        """The bucket and path of the file with this id. NotFound if it is the id of none in this cluster, BadName if
        only S3 clients can use its name, which the error does not tell."""
        try:
            if not id.isascii() or len(id) > MAX_ID:
                raise ValueError("too long to be an id")
            sealed = base64.b64decode(id + "=" * (-len(id) % 4), altchars=b"-_", validate=True)
            bucket, _, path = self._cipher.decrypt(sealed, _PURPOSE).rstrip(b"\0").decode().partition("/")
        except (binascii.Error, ValueError, InvalidTag):
            raise NotFound(f"there is no file with the id {id[:80]!r}") from None
        try:
            return bucket, check_path(path)
        except BadName:
            raise BadName("this id is that of a file which only S3 clients can use, because of its name") from None

    def fetch_key(self) -> None:
        """Make sure that ids can be given. Raises what the directory refuses with, or that it does not answer."""
        _ = self._cipher

    @cached_property
    def _cipher(self) -> AESSIV:
        return AESSIV(bytes.fromhex(self._directory.call(FILE_ID_KEY, Nothing()).key))
