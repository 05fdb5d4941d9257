"""Searching for files by their names, and by what else a listing shows of them."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from lockstep_store.wire.codec import Call
from lockstep_store.wire.messages.base import Credential, FrozenMessage, Message, PathText, Size, Text
from lockstep_store.wire.messages.files import FileVersion

MAX_RESULTS = 200
MAX_QUERY = 256

Match = Literal["name", "beginning", "part", "similar", "listed"]
"""The name is what was searched for, or begins with it; path or name contain it; the name is one typing error away
from it; or nothing was searched for and the file fits the filters."""


class SearchFilters(FrozenMessage, frozen=True):
    """What the files must be in addition; what is empty or None asks for nothing."""

    type: Text = ""
    """A content type, or its first half: `image` or `image/*`."""
    author: Text = ""
    tag: Text = ""
    """`key`, or `key=value`."""
    min_size: Size | None = None
    max_size: Size | None = None
    since: float | None = None
    """The current version was made at or after this time, in seconds since 1970."""
    until: float | None = None
    """It was made before this time."""
    description: Annotated[str, Meta(max_length=MAX_QUERY)] = ""
    """Words that the description must contain, in any case and order."""


class SearchRequest(Message):
    """A page of the files that the person may list. Empty `bucket`: in all buckets."""

    credential: Credential
    text: Annotated[str, Meta(max_length=MAX_QUERY)] = ""
    """Words that the path must contain, in any case and order."""
    bucket: Annotated[str, Meta(max_length=63)] = ""
    prefix: PathText = ""
    filters: SearchFilters = SearchFilters()
    limit: Annotated[int, Meta(ge=1, le=MAX_RESULTS)] = 50
    after: Annotated[str, Meta(max_length=8192)] = ""
    """`next_after` of the page before."""


class SearchHit(Message, omit_defaults=False):
    """A file, and what of it fits."""

    match: Match
    file: FileVersion


class SearchReply(Message, omit_defaults=False):
    """A page: the best hits first. It may be short, even empty, although there are more: go on while `next_after` is
    not null."""

    hits: list[SearchHit]
    next_after: str | None = None
    complete: bool = True
    """False while the index is being filled after an upgrade or a restore: some older files are not found yet."""


SEARCH = Call("/v1/search", SearchRequest, SearchReply)
