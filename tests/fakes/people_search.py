"""The searching half of the cluster in memory: a text anywhere in a path, in path order."""

from __future__ import annotations

from lockstep_store.wire.messages.files import FileVersion
from lockstep_store.wire.messages.search import SearchHit, SearchReply, SearchRequest


class SearchCore:
    """Keeps the requests, for tests of what is sent."""

    def __init__(self) -> None:
        self.history: dict[tuple[str, str], list[FileVersion]] = {}
        self.searches: list[SearchRequest] = []
        self.index_is_complete = True

    def _who(self, credential: str, what: str) -> str:
        raise NotImplementedError

    def _search(self, request: SearchRequest) -> SearchReply:
        self._who(request.credential, "search")
        self.searches.append(request)
        found = [
            versions[-1]
            for (bucket, path), versions in sorted(self.history.items())
            if versions and not versions[-1].delete_marker and request.text.casefold() in path.casefold()
            if request.bucket in ("", bucket) and path.startswith(request.prefix)
        ]
        first = int(request.after or 0)
        page = [SearchHit("part", file) for file in found[first : first + request.limit]]
        behind = first + len(page)
        return SearchReply(page, str(behind) if behind < len(found) else None, self.index_is_complete)
