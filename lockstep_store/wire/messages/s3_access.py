"""S3 access: the action, key and condition values of a request, for the directory to authorise.

It wraps the credential and takes its place in every message, so no call can be made without it. Only the doors create
one, and reject credentials of this form. The API names no action: there, each call counts as the plain action it is.
"""

from __future__ import annotations

import msgspec

from lockstep_store.wire.codec import decoder
from lockstep_store.wire.messages.base import FrozenMessage
from lockstep_store.wire.messages.s3 import ACCESS_LOG_PREFIX, S3_PROOF_PREFIX
from lockstep_store.wire.messages.shares import SHARE_PROOF_PREFIX

S3_ACCESS_PREFIX = "lsa_"
FORM_OPERATION = "PostObject"
"""The name of a form upload, which is not an operation in the service description."""
OWN_PREFIXES = (S3_ACCESS_PREFIX, S3_PROOF_PREFIX, ACCESS_LOG_PREFIX, SHARE_PROOF_PREFIX)
"""Prefixes of credentials that only the doors make: no client may send one."""


class S3Access(FrozenMessage, frozen=True):
    """What the directory needs to authorise a request.

    `credential` is the caller's proof, empty for an anonymous request. `keys` are condition keys in lower case with
    their values, without those that the directory knows itself (account, time, existing tags).
    """

    credential: str = ""
    action: str = ""
    bucket: str = ""
    path: str = ""
    """The bucket and key of the request; for a copy, those of the target."""
    owner: str = ""
    """The account that must own the bucket; empty without such a condition."""
    source_action: str = ""
    """The action of a copy on its source, and on every version that it reads; empty if the request is not a copy."""
    source_owner: str = ""
    """The account that must own the source's bucket."""
    keys: dict[str, list[str]] = {}
    operation: str = ""
    """The operation's name in the service description; for notifications, not for authorisation."""
    request_id: str = ""

    @property
    def is_s3(self) -> bool:
        """Whether it is an S3 operation."""
        return bool(self.action)

    def reads(self, bucket: str, path: str) -> bool:
        """Whether a call about that key concerns the source of a copy, and not its target."""
        return bool(self.source_action) and (self.bucket, self.path) != (bucket, path)

    def encode(self) -> str:
        """Return the text to send as a credential."""
        return S3_ACCESS_PREFIX + msgspec.json.encode(self).decode()

    @classmethod
    def decode(cls, text: str) -> S3Access | None:
        """Return the S3 access in a credential; None for any other credential."""
        if not text.startswith(S3_ACCESS_PREFIX):
            return None
        try:
            return _decoder.decode(text[len(S3_ACCESS_PREFIX) :])
        except msgspec.DecodeError:
            return None


_decoder = decoder(S3Access)
