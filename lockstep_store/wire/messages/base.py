"""What all messages share: their base classes, the outcomes of batches, and bounded types.

Every call is a POST of JSON. `credential` is a person's bearer token or API key, exactly as the person sent it, or a
proof from the S3 door (wire/messages/s3_access.py). The directory, not the proxy, authenticates and authorises it.
Times named `…_at` are wall clock seconds since 1970, for people to read; they decide nothing. Durations are seconds.

Batch calls take and return lists in the same order. Each item of a reply is an `Outcome`, so one person's error never
fails another's request.
"""

from __future__ import annotations

from typing import Annotated, Generic, TypeVar

import msgspec
from msgspec import Meta

from lockstep_store.wire.errors import Problem, from_problem
from lockstep_store.wire.names import MAX_PATH_BYTES
from lockstep_store.wire.secret_members import repr_without_secrets

MAX_BATCH = 1000
MAX_LISTING = 1000
MAX_TEXT_CHARACTERS = 256

Text = Annotated[str, Meta(max_length=MAX_TEXT_CHARACTERS)]
Description = Annotated[str, Meta(max_length=1000)]
"""Of a group, a tenant or an identity. A file's may be longer: see `wire/file_facts.py`."""
Bucket = Annotated[str, Meta(max_length=63)]
PathText = Annotated[str, Meta(max_length=MAX_PATH_BYTES)]
Credential = Annotated[str, Meta(max_length=64 * 1024)]
WriteId = Annotated[str, Meta(min_length=16, max_length=64)]
Size = Annotated[int, Meta(ge=0)]


class Message(msgspec.Struct, omit_defaults=True, forbid_unknown_fields=False):
    """Base of every message. Unknown members are ignored, so a newer peer may send more."""

    __repr__ = repr_without_secrets


class FrozenMessage(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=False):
    """Base of messages that are signed, compared or shared between threads."""

    __repr__ = repr_without_secrets


class Nothing(Message):
    """An empty request or reply."""


class CredentialRequest(Message):
    credential: Credential


T = TypeVar("T")


class Outcome(Message, Generic[T]):
    """One item of a batch's reply: exactly one of `value` and `problem` is set."""

    value: T | None = None
    problem: Problem | None = None

    def unwrap(self) -> T:
        """Return the value, or raise the problem."""
        if self.value is None:
            raise from_problem(
                self.problem or Problem("internal", 500, "the outcome has neither a value nor a problem")
            )
        return self.value
