"""Share links: what an account lets people without one do, through an address with a secret token.

A link reads a file or a folder, or takes uploads into it. It acts with its maker's rights at the time of use.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from lockstep_store.wire.codec import Call, decoder
from lockstep_store.wire.messages.base import MAX_LISTING, Bucket, Credential, FrozenMessage, Message, PathText, Text

SHARE_PROOF_PREFIX = "lsl_"
SHARE_ADDRESS = "/s/"
"""Links begin with it. A bucket's name has at least three characters, so none is hidden by it."""
SHARE_RULE = "share-links"
"""The bucket setting that says who may make links there: a LinkRule as JSON."""
DAY_SECONDS = 86_400.0
DEFAULT_SHARE_SECONDS = 30 * DAY_SECONDS
MIN_SHARE_SECONDS = 1.0
MAX_SHARE_SECONDS = 100 * 366 * DAY_SECONDS
MAX_SHARES = 1000
"""Links of one account."""
DEFAULT_MAX_BYTES = 5 << 30
MAX_PASSWORD = 256

ShareMode = Literal["read", "upload"]
ShareState = Literal["active", "expired", "used_up"]
LinkRule = Literal["off", "owner", "expiring", "any"]
"""Nobody has links in the bucket; only its owner and administrators; everybody with the right to what they share, if
the links expire; or everybody, also without expiry. The owner and administrators may always leave the expiry out."""
DEFAULT_RULE: LinkRule = "expiring"
ShareId = Annotated[str, Meta(min_length=1, max_length=48)]
ShareSeconds = Annotated[float, Meta(ge=MIN_SHARE_SECONDS, le=MAX_SHARE_SECONDS)]
Uses = Annotated[int, Meta(ge=1, le=1_000_000_000)]
FileBytes = Annotated[int, Meta(ge=1, le=1 << 50)]
SharePassword = Annotated[str, Meta(max_length=MAX_PASSWORD)]


class ShareProof(FrozenMessage, frozen=True):
    """What stands for a person in calls that a link's visitor causes. Only the door of the links makes one."""

    token: str
    unlock: str = ""
    """Shows that the visitor knew the password, if the link has one."""

    def encode(self) -> str:
        """Return the text to send as a credential."""
        return SHARE_PROOF_PREFIX + msgspec.json.encode(self).decode()

    @classmethod
    def decode(cls, text: str) -> ShareProof | None:
        """Return the proof in a credential; None for any other credential."""
        if not text.startswith(SHARE_PROOF_PREFIX):
            return None
        try:
            return _decoder.decode(text[len(SHARE_PROOF_PREFIX) :])
        except msgspec.DecodeError:
            return None


_decoder = decoder(ShareProof)


class CreateShareRequest(Message):
    """Make a link to a file, or to a folder: a path that is empty or ends with a slash."""

    credential: Credential
    bucket: Bucket
    path: PathText
    mode: ShareMode = "read"
    password: SharePassword = ""
    expires_in: ShareSeconds | None = DEFAULT_SHARE_SECONDS
    """None: it never expires, where the bucket allows that."""
    max_uses: Uses | None = None
    """Downloads, or uploaded files, that it is good for."""
    max_bytes: FileBytes | None = None
    """Of each uploaded file."""
    note: Text = ""
    """For the maker's own list; visitors do not see it."""


class ShareLink(Message):
    """A link. `token` is only in the reply that makes it: the cluster keeps a hash."""

    id: str
    bucket: str
    path: str
    folder: bool
    mode: ShareMode
    account: str
    created_at: float
    uses: int
    state: ShareState
    has_password: bool = False
    expires_at: float | None = None
    max_uses: int | None = None
    max_bytes: int | None = None
    last_used_at: float | None = None
    note: str = ""
    token: str = ""


class SharesRequest(Message):
    """List the caller's links, by id; with `bucket` those in it, of everybody for its owner and administrators."""

    credential: Credential
    bucket: Bucket = ""
    after: Annotated[str, Meta(max_length=48)] = ""
    limit: Annotated[int, Meta(ge=1, le=MAX_LISTING)] = MAX_LISTING


class SharesReply(Message):
    shares: list[ShareLink]
    next_after: str | None = None


class RevokeShareRequest(Message):
    """Revoke a link: its maker, the bucket's owner or an administrator."""

    credential: Credential
    id: ShareId


class OpenShareRequest(Message):
    """A visitor opens a link. `credential` is its proof; `password` is what the visitor typed, if anything."""

    credential: Credential
    password: SharePassword = ""
    address: Text = ""


class OpenShareReply(Message):
    """What the visitor may know. Only `locked` is set while the password is missing."""

    locked: bool = False
    id: str = ""
    bucket: str = ""
    path: str = ""
    mode: ShareMode = "read"
    expires_at: float | None = None
    max_bytes: int | None = None
    limited: bool = False
    """Downloads are counted."""
    used_up: bool = False
    unlock: str = ""
    """For later requests of a visitor who sent the right password."""
    unlock_seconds: float = 0.0


class UseShareRequest(Message):
    """Count a download or an upload, before it begins. `path` is the file, `what` the word for the audit."""

    credential: Credential
    path: PathText
    what: Literal["download", "zip", "upload"]
    address: Text = ""
    resumes: bool = False
    """The request asks for a part of a file: it is not counted again at an address that began the download before."""
    undo: bool = False
    """An upload that was counted failed."""


class UseShareReply(Message):
    """Whether the link was good for this use."""

    allowed: bool


class ShareRuleReply(Message):
    """The rule of a bucket."""

    links: LinkRule


CREATE_SHARE = Call("/v1/shares/create", CreateShareRequest, ShareLink)
SHARES = Call("/v1/shares", SharesRequest, SharesReply)
REVOKE_SHARE = Call("/v1/shares/revoke", RevokeShareRequest, ShareLink)
OPEN_SHARE = Call("/v1/shares/open", OpenShareRequest, OpenShareReply)
USE_SHARE = Call("/v1/shares/use", UseShareRequest, UseShareReply)
