"""Searches: one page of the files that a person may list, the best first, at a bounded cost.

A file is found exactly where a listing with the same prefix would show it, and what a listing hides is not compared
with the filters. So neither hits nor pages nor the time tell anything that listings do not.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator
from typing import NamedTuple

import msgspec

from directory_server.access.decisions import Standing, standing
from directory_server.access.known_content import hide_unreadable, may_hide
from directory_server.files.moment import WallClock
from directory_server.files.search_text import SearchText
from directory_server.files.search_walks import Part, WalkPlace, Walks
from directory_server.metadata.statements import buckets, files, listings, s3_settings
from directory_server.metadata.statements import search as rows
from directory_server.metadata.store import MetadataStore, Reader
from directory_server.people.person import People, Person
from lockstep_store.wire.content_types import type_of
from lockstep_store.wire.errors import BadRequest, Forbidden, NotFound
from lockstep_store.wire.file_facts import description_of, tags_of
from lockstep_store.wire.messages.files import FileVersion
from lockstep_store.wire.messages.s3 import DESCRIPTION, TAGS
from lockstep_store.wire.messages.search import SearchFilters, SearchHit, SearchReply, SearchRequest

PAGE_COST = 2500.0
"""What a page may cost, in files looked at: some 15 µs each."""
PART_COST = 4.0
SMALL = 2000
"""A folder of so many files is read rather than searched for in the index of the whole bucket."""


class _Token(NamedTuple):
    """Where the next page begins: behind `place` in a bucket, or behind that bucket."""

    walk: int
    bucket: str
    place: WalkPlace | None
    found: bool
    """Something was found, so names that are only similar are not wanted."""


_tokens = msgspec.json.Decoder(_Token)


class _Scope(NamedTuple):
    """A part of a bucket, and what the person may do there."""

    part: Part
    standing: Standing
    hides: bool


class Searches:
    """Finds files by name. Thread-safe."""

    def __init__(self, store: MetadataStore, clock: WallClock, people: People) -> None:
        self._store = store
        self._clock = clock
        self._people = people

    def search(self, request: SearchRequest) -> SearchReply:
        """Return a page. Forbidden for a key with limits.

        BadRequest for a search without text and filters, Forbidden or NotFound for a bucket that the
        person may not list; of all buckets, those are left out.
        """
        person = self._people.authenticate(request.credential)
        text = SearchText(request.text)
        if not text.words and request.filters == SearchFilters():
            raise BadRequest("a search needs a text, or a filter such as type, author, tag or description")
        token = _decoded(request.after) if request.after else None
        with self._store.read() as reader:
            scopes = self._scopes(reader, person, request)
            return _Page(reader, text, request, scopes).read(token)

    def _scopes(self, reader: Reader, person: Person, request: SearchRequest) -> list[_Scope]:
        """The parts that the person may list, by bucket."""
        at, numbers = self._clock.wall(), rows.bucket_numbers(reader)
        if request.bucket:
            place = standing(reader, request.bucket, person, at)
            place.demand("s3:ListBucket", keys=_listing_keys(request, request.prefix))
            return [_scope(reader, place, request, numbers)]
        found = []
        for bucket in buckets.all_buckets(reader):
            try:
                place = standing(reader, bucket.name, person, at)
            except (Forbidden, NotFound):  # the request names another owner, or it is another tenant's
                continue
            if place.may("s3:ListBucket", keys=_listing_keys(request, request.prefix)):
                found.append(_scope(reader, place, request, numbers))
        return found


class _Page:
    """One page, as it is read."""

    def __init__(self, reader: Reader, text: SearchText, request: SearchRequest, scopes: list[_Scope]) -> None:
        self._reader = reader
        self._text = text
        self._request = request
        self._scopes = scopes
        self._hits: list[SearchHit] = []

    def read(self, start: _Token | None) -> SearchReply:
        next_after = None
        for token in self._tokens(start):
            if token is not None:
                next_after = _encoded(token)
        return SearchReply(self._hits, next_after, rows.is_filled(self._reader))

    def _tokens(self, start: _Token | None) -> Iterator[_Token | None]:
        """Add hits; yield the token of the next page when this one is full or has cost enough."""
        cost = 0.0
        found = start is not None and start.found
        for number, (match, walk) in enumerate(Walks(self._reader, self._text).in_order):
            if (start is not None and number < start.walk) or (match == "similar" and found):
                continue
            done = start.bucket if start is not None and number == start.walk else ""
            for scope in self._scopes:
                bucket, place = scope.part.bucket, None
                if start is not None and number == start.walk and bucket <= start.bucket:
                    if bucket < start.bucket or start.place is None:
                        continue
                    place = start.place
                if cost >= PAGE_COST:
                    yield _Token(number, done, None, found)
                    return
                cost, done = cost + PART_COST, bucket
                for step in walk(scope.part, place):
                    cost += step.cost
                    if step.path is not None and step.path.startswith(self._request.prefix):
                        cost += 1
                        file = self._fitting(scope, step.path)
                        if file is not None:
                            self._hits.append(SearchHit(match, file))
                            found |= match != "similar"
                    if len(self._hits) >= self._request.limit or cost >= PAGE_COST:
                        yield _Token(number, bucket, step.place, found)
                        return

    def _fitting(self, scope: _Scope, path: str) -> FileVersion | None:
        """The file as a listing shows it, if it fits the filters."""
        row = self._reader.one(files.CURRENT, bucket=scope.part.bucket, path=path)
        if row is None:
            return None
        file = files.as_version(row)
        if scope.hides:
            hide_unreadable(scope.standing, [file])
        return file if self._fits(scope, file, str(row[2])) else None

    def _fits(self, scope: _Scope, file: FileVersion, version: str) -> bool:
        wanted = self._request.filters
        sizes = wanted.min_size is not None or wanted.max_size is not None
        if wanted.type or wanted.tag or wanted.description or sizes:
            if not file.readable:
                return False
            kind = type_of(file.path, file.content_type, file.metadata).casefold()
            half = wanted.type.casefold().removesuffix("*").removesuffix("/")
            if half and kind.partition(";")[0].strip() != half and kind.partition("/")[0] != half:
                return False
            if file.size < (wanted.min_size or 0):
                return False
            if wanted.max_size is not None and file.size > wanted.max_size:
                return False
        if wanted.author and file.author != wanted.author:
            return False
        if wanted.since is not None and file.created_at < wanted.since:
            return False
        if wanted.until is not None and file.created_at >= wanted.until:
            return False
        if not wanted.tag and not wanted.description:
            return True
        facts = s3_settings.facts_of_version(self._reader, version)
        if wanted.description and not self._is_described(facts):
            return False
        return not wanted.tag or self._has_tag(scope.standing, file.path, facts)

    def _is_described(self, facts: dict[str, str]) -> bool:
        description = description_of(facts.get(DESCRIPTION)).casefold()
        return all(word in description for word in self._request.filters.description.casefold().split())

    def _has_tag(self, place: Standing, path: str, facts: dict[str, str]) -> bool:
        if not place.may("s3:GetObjectTagging", path):
            return False
        key, equals, value = self._request.filters.tag.partition("=")
        return any(key == name and (not equals or value == found) for name, found in tags_of(facts.get(TAGS)))


def _scope(reader: Reader, place: Standing, request: SearchRequest, numbers: dict[str, int]) -> _Scope:
    name, prefix = place.bucket.name, request.prefix
    by_path = bool(prefix) and not place.may("s3:ListBucket", keys=_listing_keys(request, ""))
    if prefix and not by_path:
        bounds = {"bucket": name, "start": prefix, "end": prefix + listings.LAST}
        by_path = reader.one(listings.BEHIND, count=SMALL, **bounds) is None
    return _Scope(Part(name, prefix, numbers.get(name), by_path), place, may_hide(place))


def _listing_keys(request: SearchRequest, prefix: str) -> dict[str, list[str]]:
    """Condition keys of a listing."""
    return {"s3:prefix": [prefix], "s3:max-keys": [str(request.limit)]}


def _encoded(token: _Token) -> str:
    return base64.urlsafe_b64encode(msgspec.json.encode(token)).decode().rstrip("=")


def _decoded(text: str) -> _Token:
    try:
        return _tokens.decode(base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True))
    except (binascii.Error, ValueError, msgspec.MsgspecError):
        raise BadRequest("the cursor is not one that a search returned: begin again without it") from None
