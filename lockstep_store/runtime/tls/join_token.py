"""The join token: one word that carries an invitation to another machine."""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import msgspec
from blake3 import blake3
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from lockstep_store.runtime.tls.certificate_authority import Role, is_role
from lockstep_store.wire.errors import SetupError

JOIN_PREFIX = "lockstep-join-2."
_JOIN_CHECK_BYTES = 8
_MAX_JOIN_TOKEN = 16 * 1024


class _JoinContent(msgspec.Struct, array_like=True, forbid_unknown_fields=True):
    url: str
    secret: str
    ca: bytes
    role: str
    id: str
    hosts: list[str]


@dataclass(frozen=True)
class JoinToken:
    """What a machine needs to join: the address, a one-time secret, and the authority's certificate.

    `role`, `id` and `hosts` repeat the invitation, which the directory checks; an empty id lets the machine choose one.
    """

    url: str
    secret: str = field(repr=False)
    ca_pem: str = field(repr=False)
    role: Role = "file_server"
    id: str = ""
    hosts: tuple[str, ...] = ()

    def encode(self) -> str:
        """Return one word to copy and paste: the prefix, then url-safe base64 of a check value and the content."""
        certificate = x509.load_pem_x509_certificate(self.ca_pem.encode("ascii"))
        der = certificate.public_bytes(serialization.Encoding.DER)
        content = msgspec.msgpack.encode(_JoinContent(self.url, self.secret, der, self.role, self.id, [*self.hosts]))
        check = blake3(content).digest(_JOIN_CHECK_BYTES)
        return JOIN_PREFIX + base64.urlsafe_b64encode(check + content).rstrip(b"=").decode("ascii")

    @classmethod
    def decode(cls, text: str) -> JoinToken:
        """Parse the token in `text`, ignoring line breaks from copying; raises SetupError for a damaged one."""
        text = "".join(text[: 2 * _MAX_JOIN_TOKEN].split()).rstrip("=")
        if not text.startswith(JOIN_PREFIX) or len(text) > _MAX_JOIN_TOKEN:
            raise SetupError(f"not a join token: it must start with {JOIN_PREFIX!r}; copy the whole token")
        body = text.removeprefix(JOIN_PREFIX)
        try:
            if not re.fullmatch(r"[A-Za-z0-9_-]+", body):
                raise ValueError("it contains invalid characters")
            raw = base64.urlsafe_b64decode(body + "=" * (-len(body) % 4))
            check, content = raw[:_JOIN_CHECK_BYTES], raw[_JOIN_CHECK_BYTES:]
            if blake3(content).digest(_JOIN_CHECK_BYTES) != check:
                raise ValueError("its check value does not match")
            fields = msgspec.msgpack.decode(content, type=_JoinContent)
            certificate = x509.load_der_x509_certificate(fields.ca)
            address = urlsplit(fields.url)
            if address.scheme != "https" or not address.hostname or not fields.secret:
                raise ValueError("it has no https address or no secret")
            if not is_role(fields.role):
                raise ValueError("it invites no program")
        except (ValueError, binascii.Error, msgspec.MsgspecError) as error:
            raise SetupError(
                f"the join token is damaged ({error}): copy the whole token again, or ask for a new one"
            ) from None
        pem = certificate.public_bytes(serialization.Encoding.PEM).decode("ascii")
        return cls(fields.url, fields.secret, pem, fields.role, fields.id, tuple(fields.hosts))
