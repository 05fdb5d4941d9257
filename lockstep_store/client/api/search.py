"""The calls that search. See `lockstep_store.client.api.calls`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypedDict, Unpack

from lockstep_store.client.api.caller import ApiCaller
from lockstep_store.wire.messages.search import SearchHit, SearchReply


class SearchOptions(TypedDict, total=False):
    """Which files a search finds; each option narrows it."""

    bucket: str
    """One bucket; every bucket without it."""
    prefix: str
    """How the path begins."""
    type: str
    """A content type or its first half."""
    author: str
    tag: str
    """A key, or `key=value`."""
    description: str
    """Words that the description contains."""
    min_size: int | None
    max_size: int | None
    """In bytes."""
    since: str
    until: str
    """When the file was saved, in ISO 8601."""


class SearchCalls(ApiCaller):
    """Find files by name, description, type, author, tag, size and date."""

    def search_page(
        self, text: str = "", *, limit: int = 50, cursor: str = "", **options: Unpack[SearchOptions]
    ) -> SearchReply:
        """Return one page of the files that the account may list, the best first.

        `text` has words that the path must contain, in any case. A page may be short or empty although there are more:
        `next_after` is the next page's `cursor`, and None after the last one.

        Raises BadRequest without a text and an option; Forbidden or NotFound for a `bucket` that may not be listed.
        """
        given = {"q": text, **options, "limit": limit, "cursor": cursor}
        params = {key: str(value) for key, value in given.items() if value not in ("", None)}
        return self._ask(SearchReply, "GET", "/api/v1/search", params=params)

    def search(self, text: str = "", **options: Unpack[SearchOptions]) -> Iterator[SearchHit]:
        """Yield every hit, as `search_page` describes; pages are fetched as they are needed."""
        cursor: str | None = ""
        while cursor is not None:
            page = self.search_page(text, cursor=cursor, **options)
            yield from page.hits
            cursor = page.next_after
