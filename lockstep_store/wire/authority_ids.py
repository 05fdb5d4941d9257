"""The ids of certificate authorities, from the text of a CA file alone: cheap enough for every command."""

from __future__ import annotations

import base64
import binascii
import re
from hashlib import sha256

ID_DIGITS = 16
_BLOCK = re.compile(r"-----BEGIN CERTIFICATE-----(.+?)-----END CERTIFICATE-----", re.DOTALL)


def id_of(der: bytes) -> str:
    """Return the id of an authority: the first 16 hex digits of the SHA-256 fingerprint of its certificate (DER)."""
    return sha256(der).hexdigest()[:ID_DIGITS]


def ids_in(pem: str) -> list[str]:
    """Return the ids of the certificates in `pem`, in their order; those that cannot be decoded have none."""
    ids = []
    for body in _BLOCK.findall(pem):
        try:
            ids.append(id_of(base64.b64decode("".join(body.split()), validate=True)))
        except (binascii.Error, ValueError):
            continue
    return ids
