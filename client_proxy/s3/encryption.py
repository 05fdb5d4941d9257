"""Encryption that requests ask for. Everything is sealed at rest with the server's keys (AES256), asked for or not;
with a customer's key (SSE-C) the content is encrypted here besides, before it is cut into chunks.

The customer's key is never kept. From it and a salt of the version's own come a key for the content (AES-256, counter
mode: any range can be read, and the size stays what it is), one that seals what would tell of the content (its
checksums), one that vouches for the digest of the encrypted blob, and a mark by which a wrong key is told. Every read
is checked against that digest anyway, so with the digest vouched for each byte of a range is; tags of segments of its
own, which would change sizes and offsets everywhere, would add nothing.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import secrets
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from client_proxy.needs import OpenFile
from client_proxy.receipt import Receipt
from client_proxy.s3.description import Operation
from client_proxy.s3.object_facts import OWN
from client_proxy.s3.parameters import Values
from client_proxy.s3.refusals import S3Refusal
from wire.chunking import chunk_blocks
from wire.digest import Digest
from wire.errors import Damaged
from wire.manifest import Manifest
from wire.messages import FileVersion
from wire.s3_messages import CUSTOMER_KEY_FACT

_SALT, _MARK, _DIGEST_MAC, _SUMS = (f"{CUSTOMER_KEY_FACT}{part}" for part in ("", "-mark", "-digest", "-sums"))
_INFO = b"lockstep customer key 1"
_BLOCK = 16
_WITH_KEYS = frozenset({"PutObject", "GetObject", "HeadObject", "CopyObject", "GetObjectAttributes"})
_READS = frozenset({"GetObject", "HeadObject"})
_NOTHING_SECRET = b"\x00" * 12
"""The one nonce of a key that seals one text only."""


@dataclass(frozen=True)
class CustomerKey:
    """A key that came with a request. `md5` in base64, as the answer repeats it."""

    key: bytes
    md5: str

    def __repr__(self) -> str:
        return "CustomerKey(…)"


# ---------------------------------------------------------------- what requests say


def customer_key(values: Values) -> CustomerKey | None:
    """The key of a request's SSECustomer parameters; None without any. S3Refusal when they make no good key."""
    algorithm, text, md5 = (values.get(f"SSECustomer{part}") for part in ("Algorithm", "Key", "KeyMD5"))
    if algorithm is None and text is None and md5 is None:
        return None
    if algorithm is None:
        raise _bad_key("Algorithm", "a customer's key needs its algorithm, AES256")
    if algorithm != "AES256":
        raise S3Refusal("InvalidEncryptionAlgorithmError", "the algorithm for a customer's key can only be AES256")
    if text is None:
        raise _bad_key("Key", "the customer's key is missing")
    if md5 is None:
        raise _bad_key("Key-MD5", "the MD5 of the customer's key is missing")
    key = _from_base64(text)
    if len(key) != 32:
        raise _bad_key("Key", "the customer's key must be 32 bytes in base64")
    if _from_base64(md5) != hashlib.md5(key, usedforsecurity=False).digest():
        raise _bad_key("Key-MD5", "the MD5 of the customer's key is not the one that came with it")
    return CustomerKey(key, md5)


def check_wishes(operation: Operation, values: Values, header: Any) -> None:
    """S3Refusal for an encryption that would not be carried out. `header` gives a header's value or None."""
    wish = values.get("ServerSideEncryption")
    if operation.name in _READS and header("x-amz-server-side-encryption") is not None:
        raise S3Refusal("InvalidArgument", "x-amz-server-side-encryption is for writing; a read says only its key")
    if wish is not None and any(values.get(f"SSECustomer{part}") for part in ("Algorithm", "Key", "KeyMD5")):
        raise S3Refusal("InvalidArgument", "a customer's key and x-amz-server-side-encryption cannot both be asked for")
    if wish not in (None, "AES256"):
        raise S3Refusal("NotImplemented", "this server encrypts with AES256 or a customer's key; it has no KMS")
    if values.get("SSEKMSKeyId") or values.get("SSEKMSEncryptionContext"):
        raise S3Refusal("InvalidArgument", "a KMS key or context needs x-amz-server-side-encryption: aws:kms")
    if operation.name not in _WITH_KEYS and any(
        name.startswith(("SSECustomer", "CopySourceSSECustomer")) for name in values
    ):
        raise S3Refusal("NotImplemented", f"{operation.name} with customers' keys is not something this server does")


def say(operation: Operation, output: Values) -> Values:
    """`output` with the encryption, where the operation's answer has a place for it."""
    has_place = any(member.name == "ServerSideEncryption" for member in operation.output)
    return said(None) | output if has_place and "SSECustomerAlgorithm" not in output else output


def said(key: CustomerKey | None) -> Values:
    """What the answer about one version says."""
    if key is None:
        return {"ServerSideEncryption": "AES256"}
    return {"SSECustomerAlgorithm": "AES256", "SSECustomerKeyMD5": key.md5}


def refuse_sealed(version: FileVersion) -> FileVersion:
    """`version` itself; S3Refusal when its content needs a customer's key, for operations that take none."""
    if CUSTOMER_KEY_FACT in version.metadata:
        raise _needs_key()
    return version


# ---------------------------------------------------------------- writing


class Seal:
    """One version's encryption with a customer's key. Iterate `blocks` once, then ask for `late`."""

    def __init__(self, key: CustomerKey) -> None:
        salt = secrets.token_bytes(32)
        self._keys = _Keys(key, salt)
        self._digest: Digest | None = None
        self.metadata = {_SALT: _base64(salt), _MARK: _base64(self._keys.mark)}

    def blocks(self, plain: Iterable[bytes]) -> Iterator[bytes]:
        """The content encrypted; of the same length."""
        stream = self._keys.stream(0)
        entries = []
        # Cut as the writer will cut it, because the digest that is vouched for is that of the whole blob.
        for chunk in chunk_blocks(stream.update(block) for block in plain):
            entries.append((chunk.digest, chunk.length))
            yield bytes(chunk.data or b"")
        self._digest = Manifest(entries).digest

    def late(self, facts: dict[str, str]) -> dict[str, str]:
        """`facts` of the plain content as they may be kept: nothing in them tells of it without the key."""
        assert self._digest is not None, "the content was not read yet"
        etag = self._keys.mac(b"etag", facts[f"{OWN}etag"].encode()).hex()[:32]
        sums = {name: text for name, text in facts.items() if name.startswith(f"{OWN}checksum-")}
        sealed = {f"{OWN}etag": etag, _DIGEST_MAC: _base64(self._keys.mac(b"digest", bytes(self._digest)))}
        if sums:
            text = AESGCM(self._keys.seal).encrypt(_NOTHING_SECRET, json.dumps(sums).encode(), None)
            sealed[_SUMS] = _base64(text)
        return sealed


# ---------------------------------------------------------------- reading


def unseal(opened: OpenFile, key: CustomerKey | None) -> OpenFile:
    """`opened` as its reader sees it. S3Refusal unless `key` is the one it was written with, or neither is there."""
    version = opened.version
    if CUSTOMER_KEY_FACT not in version.metadata:
        if key is not None:
            raise _needs_no_key()
        return opened
    if key is None:
        raise _needs_key()
    keys = _keys_of(version, key)
    return _Unsealed(opened, _plain_version(version, keys), keys)


def readable_version(version: FileVersion, key: CustomerKey | None) -> FileVersion:
    """The same for what is known of a version, without its content."""
    if key is None:
        return refuse_sealed(version)
    if CUSTOMER_KEY_FACT not in version.metadata:
        raise _needs_no_key()
    return _plain_version(version, _keys_of(version, key))


def plain_version(version: FileVersion, key: CustomerKey | None) -> FileVersion:
    """`version` with what was sealed of its facts."""
    return version if key is None else _plain_version(version, _keys_of(version, key))


def _keys_of(version: FileVersion, key: CustomerKey) -> _Keys:
    facts = version.metadata
    keys = _Keys(key, base64.b64decode(facts[_SALT]))
    if not hmac.compare_digest(keys.mark, base64.b64decode(facts[_MARK])):
        raise S3Refusal("AccessDenied", "the customer's key is not the one that the object was written with")
    vouched = base64.b64decode(facts[_DIGEST_MAC])
    if not hmac.compare_digest(keys.mac(b"digest", bytes(version.digest)), vouched):
        raise Damaged(
            f"the content of {version.path!r} is not what its customer's key vouches for: something replaced it",
            bucket=version.bucket,
            path=version.path,
            version=version.version,
        )
    return keys


def _plain_version(version: FileVersion, keys: _Keys) -> FileVersion:
    facts = dict(version.metadata)
    sealed = facts.get(_SUMS)
    if sealed is not None:
        try:
            text = AESGCM(keys.seal).decrypt(_NOTHING_SECRET, base64.b64decode(sealed), None)
        except InvalidTag as error:
            raise Damaged(f"the sealed checksums of {version.path!r} were changed") from error
        facts |= json.loads(text)
    return msgspec.structs.replace(version, metadata=facts)


class _Unsealed:
    """An open file whose blocks are decrypted on their way; offsets and sizes are those of the plain content."""

    def __init__(self, opened: OpenFile, version: FileVersion, keys: _Keys) -> None:
        self._opened = opened
        self._keys = keys
        self.version = version

    @property
    def cursor(self) -> int:
        return self._opened.cursor

    def receipt(self, start: int = 0, stop: int | None = None) -> Receipt:
        return self._opened.receipt(start, stop)

    def read_all(self) -> bytes:
        plain: bytes = self._keys.stream(0).update(self._opened.read_all())
        return plain

    def blocks(self, start: int = 0, stop: int | None = None) -> Iterator[bytes]:
        stream = self._keys.stream(start)
        return (stream.update(block) for block in self._opened.blocks(start, stop))

    def manifest(self) -> Manifest:
        return self._opened.manifest()

    def close(self) -> None:
        self._opened.close()


# ---------------------------------------------------------------- keys


class _Keys:
    """What comes of a customer's key and a version's salt."""

    def __init__(self, key: CustomerKey, salt: bytes) -> None:
        made = HKDF(SHA256(), 128, salt, _INFO).derive(key.key)
        self._content, self.seal, self._mac, self.mark = (made[i : i + 32] for i in range(0, 128, 32))

    def stream(self, start: int) -> Any:
        """The cipher at byte `start` of the content; its `update` encrypts and decrypts alike."""
        cipher = Cipher(algorithms.AES(self._content), modes.CTR((start // _BLOCK).to_bytes(_BLOCK, "big")))
        stream = cipher.encryptor()
        stream.update(bytes(start % _BLOCK))
        return stream

    def mac(self, what: bytes, text: bytes) -> bytes:
        """32 bytes that only who has the key can make."""
        return hmac.digest(self._mac, what + b"\n" + text, "sha256")


def _needs_no_key() -> S3Refusal:
    return S3Refusal("InvalidRequest", "the object was not written with a customer's key: leave it out")


def _base64(raw: bytes) -> str:
    return base64.b64encode(raw).decode()


def _from_base64(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return b""


def _bad_key(part: str, why: str) -> S3Refusal:
    name = f"x-amz-server-side-encryption-customer-{part.lower()}"
    return S3Refusal("InvalidArgument", why, ArgumentName=name)


def _needs_key() -> S3Refusal:
    return S3Refusal(
        "InvalidRequest", "the object is encrypted with a customer's key (SSE-C): send that key along to read it"
    )
