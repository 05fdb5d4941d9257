"""What a proxy says of an S3 request beside whose it is: the action, the key, and what conditions may ask about.

It stands in every message where a credential would, around the credential itself, so no call can be made without it.
Only the S3 door makes one; the others refuse what looks like one. Who may do what is the directory's to decide.
"""

from __future__ import annotations

import msgspec

from lockstep_store.wire.codec import decoder
from lockstep_store.wire.messages.files import FrozenMessage
from lockstep_store.wire.messages.s3 import ACCESS_LOG_PREFIX, S3_PROOF_PREFIX

S3_ACCESS_PREFIX = "lsa_"
FORM_OPERATION = "PostObject"
"""What a form upload is called, which the service description does not have as an operation."""
OWN_PREFIXES = (S3_ACCESS_PREFIX, S3_PROOF_PREFIX, ACCESS_LOG_PREFIX)
"""Of credentials that only the S3 door may bring."""


class S3Access(FrozenMessage, frozen=True):
    """`credential` is the caller's proof, empty for an anonymous request. `keys` are condition keys in small letters
    with their values; what the directory knows itself (who, when, tags that exist) is not among them."""

    credential: str = ""
    action: str = ""
    bucket: str = ""
    path: str = ""
    """The bucket and key that the request is about; of a copy the ones that are written."""
    owner: str = ""
    """The account that must own the bucket; empty when the caller does not care."""
    source_action: str = ""
    """What a copy does to what it copies from, and so to every version that it looks at; empty when it is no copy."""
    source_owner: str = ""
    """The same for the bucket that is copied from."""
    keys: dict[str, list[str]] = {}
    operation: str = ""
    """The operation's name in the service description; for notifications, not for access decisions."""
    request_id: str = ""

    def reads(self, bucket: str, path: str) -> bool:
        """Whether a call about that key is about what a copy reads, and not about what it writes."""
        return bool(self.source_action) and (self.bucket, self.path) != (bucket, path)

    def encode(self) -> str:
        """The text that goes where a credential goes."""
        return S3_ACCESS_PREFIX + msgspec.json.encode(self).decode()

    @classmethod
    def decode(cls, text: str) -> S3Access | None:
        """What a credential says; None when it is a plain one."""
        if not text.startswith(S3_ACCESS_PREFIX):
            return None
        try:
            return _decoder.decode(text[len(S3_ACCESS_PREFIX) :])
        except msgspec.DecodeError:
            return None


_decoder = decoder(S3Access)
