"""Looks for digests and words in everything that a folder shows to whoever reads its disk."""

from __future__ import annotations

import base64
from collections.abc import Iterable
from pathlib import Path

from lockstep_store.wire.chunking import chunk_bytes
from lockstep_store.wire.digest import Digest
from tests.fakes.blobs import manifest_of


def digests_of(*contents: bytes) -> set[Digest]:
    """Return the digests of blobs with these contents, and of all their chunks."""
    found = set()
    for content in contents:
        chunks = list(chunk_bytes(content))
        found |= {manifest_of(chunks).digest, *(chunk.digest for chunk in chunks)}
    return found


def shown(folder: Path, secrets: Iterable[bytes]) -> list[str]:
    """Return where a file or a name below `folder` shows one of the secrets: plain, in hexadecimal or in base64."""
    forms = {form: secret for secret in secrets for form in _forms(secret)}
    found = []
    for path in sorted(folder.rglob("*")):
        text = str(path.relative_to(folder)).encode()
        if path.is_file():
            text += b"\n" + path.read_bytes()
        found += [f"{path.name} shows {forms[form].hex()[:16]}" for form in forms if form in text]
    return found


def _forms(secret: bytes) -> Iterable[bytes]:
    yield secret
    yield secret.hex().encode()
    yield secret.hex().upper().encode()
    for before in range(3):  # base64 of a longer text: the secret may begin at any of three places of a group
        text = base64.b64encode(bytes(before) + secret)
        whole = text[(0, 4, 4)[before] : len(text) - 4]
        yield whole
        yield whole.translate(bytes.maketrans(b"+/", b"-_"))
