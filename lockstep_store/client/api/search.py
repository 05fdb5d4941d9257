"""The calls that search. See `lockstep_store.client.api.calls`."""

from __future__ import annotations

from collections.abc import Iterator

from lockstep_store.client.api.caller import ApiCaller
from lockstep_store.wire.messages.search import SearchHit, SearchReply


class SearchCalls(ApiCaller):
    """Find files by name, type, author, tag, size and date."""

    def search_page(
        self,
        text: str = "",
        *,
        bucket: str = "",
        prefix: str = "",
        type: str = "",
        author: str = "",
        tag: str = "",
        min_size: int | None = None,
        max_size: int | None = None,
        since: str = "",
        until: str = "",
        limit: int = 50,
        cursor: str = "",
    ) -> SearchReply:
        """Return one page of the files that the account may list, the best first.

        `text` has words that the path must contain, in any case; `type` is a content type or its first half, `tag` a
        key or `key=value`, `since` and `until` are times in ISO 8601. Without `bucket`, in every bucket. A page may be
        short or empty although there are more: `next_after` is the next page's `cursor`, and None behind the last one.

        Raises BadRequest without a text and a filter; Forbidden or NotFound for a `bucket` that may not be listed.
        """
        given = {
            "q": text,
            "bucket": bucket,
            "prefix": prefix,
            "type": type,
            "author": author,
            "tag": tag,
            "min_size": "" if min_size is None else str(min_size),
            "max_size": "" if max_size is None else str(max_size),
            "since": since,
            "until": until,
            "limit": str(limit),
            "cursor": cursor,
        }
        params = {key: value for key, value in given.items() if value}
        return self._ask(SearchReply, "GET", "/api/v1/search", params=params)

    def search(
        self,
        text: str = "",
        *,
        bucket: str = "",
        prefix: str = "",
        type: str = "",
        author: str = "",
        tag: str = "",
        min_size: int | None = None,
        max_size: int | None = None,
        since: str = "",
        until: str = "",
    ) -> Iterator[SearchHit]:
        """Yield every hit, as `search_page` describes; pages are fetched as they are needed."""
        cursor: str | None = ""
        while cursor is not None:
            page = self.search_page(
                text,
                bucket=bucket,
                prefix=prefix,
                type=type,
                author=author,
                tag=tag,
                min_size=min_size,
                max_size=max_size,
                since=since,
                until=until,
                cursor=cursor,
            )
            yield from page.hits
            cursor = page.next_after
