"""Searches find what listings show, the best first, in pages, and nothing else."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from directory_server.files import search_walks, searches
from directory_server.files.searches import Searches
from directory_server.maintenance.search_filling import SearchFilling
from directory_server.metadata.engines.sqlite.transactions import SqliteReader
from directory_server.metadata.statements import s3_settings, search
from directory_server.metadata.statements.access import POLICY
from lockstep_store.wire.errors import BadRequest, Forbidden, NotFound
from lockstep_store.wire.file_facts import stored_description
from lockstep_store.wire.messages.s3 import DESCRIPTION, TAGS
from lockstep_store.wire.messages.search import SearchFilters, SearchReply, SearchRequest
from tests.fakes.directory_rig import DirectoryRig, PeopleByName

pytestmark = pytest.mark.usefixtures("every_engine")
only_sqlite = pytest.mark.parametrize("every_engine", ["sqlite"], indirect=True)


class Finder:
    """Searches in a rig's directory."""

    def __init__(self, rig: DirectoryRig) -> None:
        self.rig = rig
        self.searches = Searches(rig.store, rig.clock, PeopleByName())

    def page(self, text: str = "", who: str = "ann", **fields: Any) -> SearchReply:
        return self.searches.search(SearchRequest(who, text, **fields))

    def pages(self, text: str = "", who: str = "ann", **fields: Any) -> Iterator[SearchReply]:
        page = self.page(text, who, **fields)
        yield page
        while page.next_after is not None:
            page = self.page(text, who, after=page.next_after, **fields)
            yield page

    def hits(self, text: str = "", who: str = "ann", **fields: Any) -> list[tuple[str, str]]:
        return [(hit.match, hit.file.path) for page in self.pages(text, who, **fields) for hit in page.hits]

    def paths(self, text: str = "", who: str = "ann", **fields: Any) -> list[str]:
        return [path for _, path in self.hits(text, who, **fields)]


@pytest.fixture
def finder(rig: DirectoryRig) -> Finder:
    return Finder(rig)


def test_the_best_come_first(finder: Finder) -> None:
    """The name itself, names that begin with it, whole words, parts of words, and at last folders."""
    for path in ("report/x", "a/myreports.txt", "q3 report.txt", "b/Report-7.pdf", "b/report", "other"):
        finder.rig.write(path)
    assert finder.hits("REPORT") == [
        ("name", "b/report"),
        ("beginning", "b/Report-7.pdf"),
        ("part", "q3 report.txt"),
        ("part", "a/myreports.txt"),
        ("part", "report/x"),
    ]


def test_every_word_must_be_in_the_path(finder: Finder) -> None:
    """In any case and order, in the name or a folder, however short."""
    for path in ("acme/Budget 2026 v7.ods", "acme/budget 2025 v7.ods", "other/budget 2026 v7.ods"):
        finder.rig.write(path)
    assert finder.paths("2026 acme V7") == ["acme/Budget 2026 v7.ods"]
    assert finder.paths("acme/budget 2026") == ["acme/Budget 2026 v7.ods"]
    assert finder.paths("budget nobody") == []


@pytest.mark.parametrize("text", ["é", "Ö", "7", "年度", 'a"b', "%", "it's", "*", "OR", "NEAR(a b)", "x^y", "-x"])
def test_short_and_odd_texts_are_found(finder: Finder, text: str) -> None:
    """Two letters of Chinese are a word, and nothing that is typed is an operator."""
    finder.rig.write(f"folder/before {text} behind")
    finder.rig.write("folder/without")
    assert finder.paths(text) == [f"folder/before {text} behind"]


@pytest.mark.parametrize("typed", ["repotr", "rport", "reeport", "repost", "eport", "reports"])
def test_one_typing_error_is_forgiven(finder: Finder, typed: str) -> None:
    """Swapped, missing, additional and wrong letters; only where nothing else fits."""
    finder.rig.write("plans/Report.txt")
    finder.rig.write("plans/Budget.txt")
    expected = "part" if typed == "eport" else "similar"
    assert finder.hits(typed) == [(expected, "plans/Report.txt")]
    assert finder.hits(f"{typed} plans") == [(expected, "plans/Report.txt")]


def test_two_typing_errors_are_not(finder: Finder) -> None:
    finder.rig.write("report.txt")
    assert finder.hits("repptr") == []
    finder.rig.write("quarterly numbers.ods")
    for typed in ("qurterly", "quatrerly", "quarteryl", "uarterly", "quartefly", "quartterly", "quarterlx"):
        assert finder.hits(typed) == [("similar" if typed != "uarterly" else "part", "quarterly numbers.ods")], typed
    for typed in ("quortarly", "qaurteryl", "qarteely"):
        assert finder.hits(typed) == [], typed
    assert finder.hits("xyz") == finder.hits("x\0yz") == finder.hits("r" * 200) == []


def test_what_is_deleted_moved_or_written_again(finder: Finder) -> None:
    """The index is never behind: each change is found, or not any more, by the next search."""
    rig = finder.rig
    rig.write("first.txt")
    rig.write("first.txt", b"again")
    assert finder.paths("first") == ["first.txt"]
    rig.copy("first.txt", "second.txt", move=True)
    assert finder.paths("first") == []
    assert finder.paths("second") == ["second.txt"]
    rig.delete("second.txt")
    assert finder.paths("second") == []
    rig.write("second.txt")
    assert finder.paths("econ") == ["second.txt"]


@pytest.mark.parametrize("text", ["file", "le 1", "1", "flie"])
@pytest.mark.parametrize("limit", [1, 3, 200])
def test_pages_have_everything_once(finder: Finder, text: str, limit: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the limit, the size of a block and the bound on the cost are, and in the same order."""
    monkeypatch.setattr(search_walks, "BLOCK", 4)
    monkeypatch.setattr(search_walks, "READ_BLOCK", 5)
    finder.rig.bucket("more")
    for number in range(20):
        finder.rig.write(f"folder {number % 3}/file {number}", bucket=("files", "more")[number % 2])
    whole = finder.hits(text)
    words = "file" if text == "flie" else text
    names = [f"folder {number % 3}/file {number}" for number in range(20)]
    assert sorted(path for _, path in whole) == sorted(
        name for name in names if all(word in name for word in words.split())
    )
    for cost in (1e9, 3.0):
        monkeypatch.setattr(searches, "PAGE_COST", cost)
        assert finder.hits(text, limit=limit) == whole
        inside = sorted(hit for hit in whole if hit[1].startswith("folder 1/"))
        by_path = sorted((match.replace("beginning", "part"), path) for match, path in inside)
        assert sorted(finder.hits(text, prefix="folder 1/", limit=limit)) == by_path


def said(description: str, project: str) -> dict[str, str]:
    """The settings of a described and tagged version."""
    return {TAGS: json.dumps({"project": project}), DESCRIPTION: stored_description(description) or ""}


def test_filters(finder: Finder) -> None:
    """Type, author, size, date, tag and description, with a text and without one."""
    rig = finder.rig
    rig.write("a.png", b"1234", content_type="image/png")
    rig.time.advance(1)
    rig.write(
        "b.jpg", b"12345678", who="ben", content_type="image/jpeg; q=1", settings=said("Picture of the roof", "roof")
    )
    middle = rig.lookup("b.jpg").created_at
    rig.time.advance(1)
    rig.write("c.txt", b"", who="ben", content_type="text/plain", settings=said("Notes of the attic", "attic"))
    cases: list[tuple[SearchFilters, list[str]]] = [
        (SearchFilters(type="image"), ["b.jpg", "a.png"]),
        (SearchFilters(type="IMAGE/*"), ["b.jpg", "a.png"]),
        (SearchFilters(type="image/jpeg"), ["b.jpg"]),
        (SearchFilters(type="ima"), []),
        (SearchFilters(author="ben"), ["c.txt", "b.jpg"]),
        (SearchFilters(min_size=4), ["b.jpg", "a.png"]),
        (SearchFilters(min_size=1, max_size=7), ["a.png"]),
        (SearchFilters(max_size=0), ["c.txt"]),
        (SearchFilters(since=middle), ["c.txt", "b.jpg"]),
        (SearchFilters(until=middle), ["a.png"]),
        (SearchFilters(tag="project"), ["c.txt", "b.jpg"]),
        (SearchFilters(tag="project=roof"), ["b.jpg"]),
        (SearchFilters(tag="project="), []),
        (SearchFilters(author="ben", type="text"), ["c.txt"]),
        (SearchFilters(description="ROOF of"), ["b.jpg"]),
        (SearchFilters(description="roof cellar"), []),
        (SearchFilters(description="of", tag="project=attic"), ["c.txt"]),
    ]
    for filters, expected in cases:
        assert finder.paths(filters=filters) == expected, filters
        assert finder.paths("jpg", filters=filters) == [path for path in expected if path == "b.jpg"], filters


def test_nothing_to_search_for_is_refused(finder: Finder) -> None:
    for text in ("", "   "):
        with pytest.raises(BadRequest, match="needs a text, or a filter"):
            finder.page(text)
    finder.rig.write("a")
    for token in ("x", "!!", "bnVsbA", "WzEsMl0"):
        with pytest.raises(BadRequest, match="begin again without it"):
            finder.page("a", after=token)


def test_only_buckets_that_may_be_listed(finder: Finder) -> None:
    """Others' private buckets are left out, by whatever is searched, and named ones refused."""
    finder.rig.bucket("secret", who="ben", shared=False)
    finder.rig.write("plan", bucket="secret", who="ben")
    finder.rig.write("plan of all")
    for text in ("plan", "pl", "paln"):
        assert {hit.file.bucket for hit in finder.page(text).hits} == {"files"}
        assert {hit.file.bucket for hit in finder.page(text, "ben").hits} == {"files", "secret"}
        assert {hit.file.bucket for hit in finder.page(text, "admin").hits} == {"files", "secret"}
    with pytest.raises(Forbidden):
        finder.page("plan", bucket="secret")
    with pytest.raises(NotFound):
        finder.page("plan", bucket="nowhere")


def test_who_may_list_a_folder_finds_what_is_in_it(finder: Finder, monkeypatch: pytest.MonkeyPatch) -> None:
    """A policy that allows listings of one prefix allows searches there, which read nothing else."""
    rig = finder.rig
    rig.bucket("team", who="ben", shared=False)
    allowed = {
        "Effect": "Allow",
        "Principal": {"AWS": ["ann"]},
        "Action": ["s3:ListBucket"],
        "Resource": ["arn:aws:s3:::team"],
        "Condition": {"StringLike": {"s3:prefix": ["ann/*"]}},
    }
    policy = json.dumps({"Version": "2012-10-17", "Statement": [allowed]})
    rig.store.write(lambda tx: s3_settings.put_bucket_value(tx, "team", POLICY, policy))
    for path in ("ann/plan a", "ann/x/plan b", "ben/plan c", "ann0/plan"):
        rig.write(path, bucket="team", who="ben", content_type="text/plain")

    def refuse(*_: Any) -> Any:
        raise AssertionError("the index of the whole bucket was read")

    with monkeypatch.context() as patched:
        patched.setattr(search_walks.Walks, "_newest_first", refuse)
        assert finder.paths("plan", prefix="ann/") == ["ann/plan a", "ann/x/plan b"]
        assert finder.paths("paln", prefix="ann/", bucket="team") == ["ann/plan a", "ann/x/plan b"]
    assert finder.paths("plan") == []
    with pytest.raises(Forbidden):
        finder.page("plan", bucket="team")
    with pytest.raises(Forbidden):
        finder.page("plan", bucket="team", prefix="ben/")
    # The right to list is no right to read: nothing is found by what listings hide.
    found = finder.page("plan", prefix="ann/").hits[0].file
    assert (found.readable, found.size, found.content_type) == (False, 0, "")
    for filters in (SearchFilters(type="text"), SearchFilters(min_size=1), SearchFilters(max_size=9)):
        assert finder.paths("plan", prefix="ann/", filters=filters) == []
        assert len(finder.paths("plan", "ben", prefix="ann/", filters=filters)) == 2


@only_sqlite
def test_a_search_reads_only_the_entries_of_its_buckets(finder: Finder, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even their number costs time: every read of the index is in the range of a bucket that may be listed."""
    finder.rig.bucket("secret", who="ben", shared=False)
    for number in range(3):
        finder.rig.write(f"plan {number}", bucket="secret", who="ben")
        finder.rig.write(f"plan {number}")
    read: list[tuple[int, str]] = []
    looked_up = SqliteReader.containing

    def noted(reader: SqliteReader, *arguments: Any) -> Any:
        found = looked_up(reader, *arguments)
        read.extend(found)
        return found

    monkeypatch.setattr(SqliteReader, "containing", noted)
    assert len(finder.hits("lan")) == 3
    assert len(finder.hits("plam")) == 3
    with finder.rig.store.read() as reader:
        low, high = search.ids_of(search.bucket_numbers(reader)["files"])
    assert read
    assert all(low <= id <= high for id, _ in read)


def test_a_part_of_a_large_folder(finder: Finder, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a prefix, the index and the paths themselves lead to the same files."""
    for number in range(12):
        finder.rig.write(f"{'ab'[number % 2]}/file {number}")
    expected = {f"b/file {number}" for number in range(1, 12, 2)}
    assert set(finder.paths("file", prefix="b/")) == expected
    monkeypatch.setattr(searches, "SMALL", 2)
    assert set(finder.paths("file", prefix="b/")) == expected
    assert finder.paths("file", prefix="c/") == []
    assert finder.paths("file", prefix="b/file 1") == ["b/file 1", "b/file 11"]


def test_a_reply_says_while_the_index_is_filled(finder: Finder) -> None:
    finder.rig.write("a")
    assert not finder.page("a").complete
    SearchFilling(finder.rig.store).step()
    assert finder.page("a").complete
