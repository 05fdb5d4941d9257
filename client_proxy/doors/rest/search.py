"""The route that searches for files."""

from __future__ import annotations

from datetime import UTC, datetime

from client_proxy.core.directory_calls import Directory
from client_proxy.doors.rest.operation import GIVEN, NUMBER, Answer, Content, Operation, Parameter, between
from client_proxy.doors.rest.reply import json_reply
from client_proxy.doors.rest.request import RestRequest
from client_proxy.doors.rest.schemas import BUCKET
from lockstep_store.runtime.http.api import RawReply
from lockstep_store.wire import errors
from lockstep_store.wire.errors import BadRequest
from lockstep_store.wire.messages.search import (
    MAX_QUERY,
    MAX_RESULTS,
    SEARCH,
    SearchFilters,
    SearchReply,
    SearchRequest,
)
from lockstep_store.wire.names import MAX_PATH_BYTES

PAGE = 50
LARGEST = 10**18 - 1


class SearchRoutes:
    """The route /search."""

    def __init__(self, directory: Directory) -> None:
        self._directory = directory

    def operations(self) -> list[Operation]:
        when = "as `2026-03-01` or `2026-03-01T10:00:00Z`; without a zone it is UTC"
        return [
            Operation(
                id="search",
                method="GET",
                template="/search",
                handler=self.search,
                tag="Files",
                summary="Search for files by name, and by description, type, author, tag, size and date",
                description=(
                    "Finds the current files that you may list. `q` has words that the path must contain, in any case "
                    "and order. Files of that very name come first, then those whose names begin with it, then others; "
                    "if there are none, names that one typing error leads to. Without `q`, a filter is needed, and the "
                    "newest paths come first. For the next page, send `next_after` as `cursor`. A page may be short, "
                    "even empty, although there are more."
                ),
                parameters=(
                    Parameter("q", "query", "What to search for.", GIVEN | {"maxLength": MAX_QUERY}),
                    Parameter("bucket", "query", "Only in this bucket, not in all that you may list.", BUCKET),
                    Parameter("prefix", "query", "Only paths that begin with this, such as `plans/`."),
                    Parameter("type", "query", "Only this content type, or its first half, such as `image`."),
                    Parameter("author", "query", "Only files whose current version this account wrote."),
                    Parameter("tag", "query", "Only files with this tag: `key`, or `key=value`."),
                    Parameter(
                        "description",
                        "query",
                        "Only files whose description has these words, in any case and order.",
                        GIVEN | {"maxLength": MAX_QUERY},
                    ),
                    Parameter("min_size", "query", "Only files of at least so many bytes.", NUMBER),
                    Parameter("max_size", "query", "Only files of at most so many bytes.", NUMBER),
                    Parameter("since", "query", f"Only files written at this time or later, {when}."),
                    Parameter("until", "query", f"Only files written before this time, {when}."),
                    Parameter("limit", "query", "Maximum number of files in a page.", between(1, MAX_RESULTS)),
                    Parameter("cursor", "query", "`next_after` of the previous page."),
                ),
                answers={200: Answer("One page, the best first.", Content(SearchReply))},
                refusals=(errors.BadName, errors.Forbidden, errors.NotFound),
            )
        ]

    def search(self, request: RestRequest) -> RawReply:
        """GET /search."""
        wanted = SearchRequest(
            request.access(),
            request.argument("q", limit=MAX_QUERY),
            request.bucket_argument(),
            _prefix(request),
            SearchFilters(
                request.argument("type", limit=256),
                request.argument("author", limit=256),
                request.argument("tag", limit=256),
                _size(request, "min_size"),
                _size(request, "max_size"),
                _time(request, "since"),
                _time(request, "until"),
                request.argument("description", limit=MAX_QUERY).strip(),
            ),
            request.number_argument("limit", PAGE, 1, MAX_RESULTS),
            request.argument("cursor", limit=8192),
        )
        return json_reply(self._directory.call(SEARCH, wanted))


def _prefix(request: RestRequest) -> str:
    prefix = request.argument("prefix", limit=MAX_PATH_BYTES)
    if len(prefix.encode()) > MAX_PATH_BYTES:
        raise BadRequest(f"the argument prefix has more than {MAX_PATH_BYTES} bytes")
    return prefix


def _size(request: RestRequest, name: str) -> int | None:
    return request.number_argument(name, 0, 0, LARGEST) if request.argument(name) else None


def _time(request: RestRequest, name: str) -> float | None:
    text = request.argument(name, limit=64)
    if not text:
        return None
    try:
        found = datetime.fromisoformat(text)
        return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        raise BadRequest(
            f"the argument {name} must be a date such as 2026-03-01, or a time such as 2026-03-01T10:00:00Z, "
            f"not {text[:40]!r}"
        ) from None
