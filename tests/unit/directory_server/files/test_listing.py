"""Listings against the simplest possible model: all names in a sorted list."""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import closing
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from sqlalchemy.dialects import postgresql

from directory_server.files import listing
from directory_server.metadata.statement import Statement
from directory_server.metadata.statements import files, listings
from lockstep_store.wire.codec import decoder, encode
from lockstep_store.wire.digest import Digest
from lockstep_store.wire.errors import BadName
from lockstep_store.wire.messages.files import (
    ListedFiles,
    ListedVersions,
    ListPage,
    ListRequest,
    VersionsPage,
    VersionsRequest,
)
from lockstep_store.wire.messages.s3 import ETAG_ENTRY
from tests.fakes.directory_rig import DirectoryRig
from tests.fakes.listed_rows import ListedRows

pytestmark = pytest.mark.usefixtures("every_engine")
only_sqlite = pytest.mark.parametrize("every_engine", ["sqlite"], indirect=True)

LETTERS = 'ab/-"\\é\U0001f600\uffee\U0010ffff'
paths = st.lists(st.text(LETTERS, min_size=1, max_size=7), unique=True, max_size=40)
short = st.text(LETTERS, max_size=3)
delimiters = st.sampled_from(["", "/", "-", "ab", "\U0010ffff", '"', "é/"])
_list_pages = decoder(ListPage)
_version_pages = decoder(VersionsPage)


class Entries(msgspec.Struct):
    """A page, whatever form it came in."""

    files: list[str]
    prefixes: list[str]
    next_after: str | None


def as_rows(names: list[str], request: ListRequest) -> Entries:
    with closing(ListedRows(names)) as reader:
        page = listing.list_files(reader, request)
    return Entries([file.path for file in page.files], page.prefixes, page.next_after)


def as_columns(names: list[str], request: ListRequest) -> Entries:
    """As the proxy reads it."""
    with closing(ListedRows(names)) as reader:
        page = _list_pages.decode(encode(listing.list_columns(reader, request)))
    assert page.columns is not None
    assert {len(page.columns.paths)} == {len(column) for column in columns_in(page.columns)}
    return Entries(page.columns.paths, page.prefixes, page.next_after)


def columns_in(listed: ListedFiles) -> list[list[Any]]:
    return [listed.sizes, listed.created_at, listed.milliseconds, listed.metadata, listed.digests]


FORMS = (as_rows, as_columns)


def model(names: list[str], request: ListRequest) -> Entries:
    """What a listing means: entries in order, those after `after`, cut to the limit."""
    entries: dict[str, bool] = {}
    continued = listing.common_prefix(request.after, request.prefix, request.delimiter) == request.after
    for name in sorted(name for name in names if name.startswith(request.prefix)):
        if name <= request.after or (request.after and continued and name.startswith(request.after)):
            continue
        folder = listing.common_prefix(name, request.prefix, request.delimiter)
        entries.setdefault(folder or name, folder is not None)
    page = list(entries.items())[: request.limit]
    return Entries(
        [name for name, is_folder in page if not is_folder],
        [name for name, is_folder in page if is_folder],
        page[-1][0] if len(entries) > request.limit else None,
    )


@given(paths, short, delimiters, short, st.integers(1, 6))
@example(["a/", "a/b", "a0"], "", "/", "a/", 1)
@example(["a/", "a/b"], "a/", "/", "a/", 1)
@example(["\U0010ffff/a", "\U0010ffff/b"], "", "/", "", 1)
@example(["\U0010ffff", "\U0010ffff" * 256, "b"], "", "\U0010ffff", "", 9)
@example(["a/" + "\U0010ffff" * 255, "a/b", "a0"], "", "/", "", 1)
@settings(max_examples=200, deadline=None)
def test_a_page_is_what_the_model_says(names: list[str], prefix: str, delimiter: str, after: str, limit: int) -> None:
    """Every prefix, delimiter, limit and place to continue from gives the entries a sorted list would."""
    request = ListRequest("ann", "files", prefix, delimiter, limit, after)
    for page in FORMS:
        assert page(names, request) == model(names, request)


@given(paths, short, st.sampled_from(["", "/", "ab"]), st.integers(1, 4))
@settings(max_examples=100, deadline=None)
def test_pages_together_are_the_whole_listing(names: list[str], prefix: str, delimiter: str, limit: int) -> None:
    """Following next_after gives every entry once, in order, however long the pages."""
    whole = model(names, ListRequest("ann", "files", prefix, delimiter, 1000))
    for form in FORMS:
        got = Entries([], [], "")
        while got.next_after is not None:
            page = form(names, ListRequest("ann", "files", prefix, delimiter, limit, got.next_after))
            assert page.next_after is None or len(page.files) + len(page.prefixes) == limit
            got = Entries(got.files + page.files, got.prefixes + page.prefixes, page.next_after)
        assert got == whole


@given(
    st.lists(
        st.fixed_dictionaries(
            {
                "path": st.text(LETTERS, min_size=1, max_size=5),
                "size": st.integers(0, 1 << 50),
                "created_at": st.floats(0, 4e9),
                "author": st.text(LETTERS, min_size=1, max_size=3),
                "digest": st.binary(min_size=32, max_size=32),
                "metadata": st.dictionaries(
                    st.sampled_from([ETAG_ENTRY, "own", f'"{ETAG_ENTRY}":', f'":{ETAG_ENTRY}"']),
                    st.text(LETTERS + "{}[],:\n", max_size=9),
                ).map(files.encode_metadata),
            }
        ),
        unique_by=lambda row: row["path"],
        max_size=9,
    ),
    st.sampled_from(["", "/", "a"]),
    st.booleans(),
    st.sampled_from(["", "olga"]),
)
@settings(max_examples=150, deadline=None)
def test_columns_say_what_rows_say(rows: list[dict[str, Any]], delimiter: str, owners: bool, owner: str) -> None:
    """The same values in the same order, times to the millisecond, and a digest wherever there is no ETag."""
    request = ListRequest("ann", "files", delimiter=delimiter, owners=owners)
    with closing(ListedRows(rows)) as reader:
        plain = listing.list_files(reader, request)
        page = _list_pages.decode(encode(listing.list_columns(reader, request, owner)))
    listed = page.columns
    assert listed is not None
    assert (page.prefixes, page.next_after) == (plain.prefixes, plain.next_after)
    assert listed.paths == [file.path for file in plain.files]
    assert listed.sizes == [file.size for file in plain.files]
    assert listed.metadata == [file.metadata for file in plain.files]
    times = [(int(file.created_at), int(file.created_at % 1 * 1000)) for file in plain.files]
    assert list(zip(listed.created_at, listed.milliseconds, strict=True)) == times
    for digest, file in zip(listed.digests, plain.files, strict=True):
        assert digest == file.digest.hex() or (digest == "" and ETAG_ENTRY in file.metadata)
    assert listed.owner == (owner if owners else "")
    assert listed.owners == ([file.author for file in plain.files] if owners and not owner else [])


@given(st.text(LETTERS + "z\ud7ff\ue000", min_size=1, max_size=4), st.text(LETTERS, max_size=4))
@settings(max_examples=150, deadline=None)
def test_the_end_of_a_prefix(prefix: str, rest: str) -> None:
    """after_prefix is greater than everything under the prefix, is valid UTF-8, and skips nothing beside it."""
    end = listing.after_prefix(prefix)
    if end is None:
        assert set(prefix) == {"\U0010ffff"}
        return
    assert (prefix + rest).encode() < end.encode()
    assert (prefix + "\U0010ffff" * 3).encode() < end.encode()
    assert not end.startswith(prefix)


# ---------------------------------------------------------------- costs, in steps of the database


def pages_cost(names: list[str], **fields: Any) -> tuple[int, int]:
    """The steps of a page in each form."""
    request = ListRequest("ann", "files", **fields)
    with closing(ListedRows(names)) as reader:
        return (
            reader.steps_of(lambda: listing.list_files(reader, request)),
            reader.steps_of(lambda: listing.list_columns(reader, request)),
        )


def test_folders_are_skipped_not_walked() -> None:
    """The first page of 20 folders costs the same whether each has 5 files or 5,000."""
    few, many = (
        pages_cost([f"d{folder:02}/{number:04}" for folder in range(20) for number in range(count)], delimiter="/")
        for count in (5, 5000)
    )
    assert max(many) <= max(few) + 1


def test_a_page_costs_what_it_shows() -> None:
    """A page in the middle of a large bucket costs no more than in a small one, also with a delimiter."""
    for delimiter in ("", "/"):
        small, large = (
            pages_cost([f"{number:06}" for number in range(count)], delimiter=delimiter, limit=100, after="000050")
            for count in (200, 20_000)
        )
        assert max(large) <= max(small) + 1


@pytest.mark.parametrize("read", [listing.list_files, listing.list_columns])
@pytest.mark.parametrize(
    ("names", "folders"),
    [
        ([f"{number:04}" + "/x" * (number % 2) for number in range(3000)], 500),
        (["a/1", "a/2", *(f"b{number:04}" for number in range(3000)), "c/1"], 1),
    ],
    ids=["in turns", "a folder in front"],
)
def test_files_beside_folders_are_read_at_once(read: Any, names: list[str], folders: int) -> None:
    """A delimiter does not make a listing of plain files slow: few statements, and two rows more than are shown."""
    with closing(ListedRows(names)) as reader:
        page = read(reader, ListRequest("ann", "files", delimiter="/"))
        assert len(page.prefixes) == folders
        assert len(reader.statements) <= 5
        assert reader.rows_read <= (1002 if read is listing.list_files else 5)


def test_a_page_reads_what_it_shows() -> None:
    """A page in the middle of a large bucket reads no more rows than its length and one, and folders one row each."""
    for names, length, fields in (
        ([f"{number:06}" for number in range(20_000)], 10, {"limit": 10, "after": "010000"}),
        ([f"d{folder:02}/{number:03}" for folder in range(20) for number in range(500)], 20, {"delimiter": "/"}),
    ):
        with closing(ListedRows(names)) as reader:
            page = listing.list_files(reader, ListRequest("ann", "files", **fields))
            assert len(page.files) + len(page.prefixes) == length
            assert reader.rows_read == length + 1


@pytest.mark.parametrize("has_etags", [True, False])
def test_a_page_is_two_statements(has_etags: bool) -> None:
    """What is behind it, and its columns; a third one only for digests, where no ETag replaces them."""
    metadata = files.encode_metadata({ETAG_ENTRY: "e"} if has_etags else {})
    with closing(ListedRows([{"path": f"{number}", "metadata": metadata} for number in range(9)])) as reader:
        listing.list_columns(reader, ListRequest("ann", "files", limit=5))
        assert len(reader.statements) == (2 if has_etags else 3)


@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
@given(paths, short, st.sampled_from(["", "/"]), st.integers(1, 5))
def test_the_store_agrees_with_the_model(
    rig: DirectoryRig, names: list[str], prefix: str, delimiter: str, limit: int
) -> None:
    """The same on the whole directory, in both forms."""
    writable = [name for name in names if not name.startswith("/")]
    bucket = rig.bucket(f"bucket-{rig.write_id()}")
    for name in writable:
        rig.write(name, b"", bucket=bucket)
    request = ListRequest(credential="ann", bucket=bucket, prefix=prefix, delimiter=delimiter, limit=limit)
    expected, got = model(writable, request), rig.lookups.list(request)
    assert [file.path for file in got.files] == expected.files
    assert (got.prefixes, got.next_after) == (expected.prefixes, expected.next_after)
    listed = _list_pages.decode(encode(rig.lookups.list(msgspec.structs.replace(request, columns=True))))
    assert listed.columns is not None
    assert listed.columns.paths == expected.files
    assert (listed.prefixes, listed.next_after) == (expected.prefixes, expected.next_after)


STATEMENTS = (
    *listings.FILES,
    *listings.FILES_AND_FOLDERS,
    listings.DIGESTS,
    listings.BEHIND,
    listings.IN_A_FOLDER,
    listings.VERSIONS,
    listings.VERSIONS_AFTER,
    listings.MORE_VERSIONS,
    files.VERSIONS_FROM,
    files.VERSIONS_OLDER,
    files.NEWEST,
)


@pytest.mark.parametrize("statement", STATEMENTS)
def test_pages_are_found_by_their_key(statement: Statement) -> None:
    """The database seeks and sorts nothing, or a listing would cost what the bucket holds. SQLite's aggregates rely on
    that order."""
    with closing(ListedRows()) as reader:
        plan = reader.plan(statement)
    assert "SEARCH" in plan, plan
    if statement is not listings.FILES_AND_FOLDERS.rows:  # sorts what it has found
        assert "TEMP B-TREE" not in plan
    assert "SCAN current" not in plan
    assert "SCAN version" not in plan


@only_sqlite
def test_seeks_use_a_key(rig: DirectoryRig) -> None:
    """Nothing that a write or a lookup asks scans a table."""
    with rig.store.read() as reader:
        for statement in (files.NULL_VERSION, files.WRITE_BEFORE, files.CURRENT_HELD, files.CURSOR):
            assert "SCAN" not in ListedRows.plan(reader, statement)  # type: ignore[arg-type]


def test_other_engines_sort_in_their_aggregates() -> None:
    """PostgreSQL promises no order of rows that were not sorted."""
    for statement in (listings.FILES.columns, listings.FILES_AND_FOLDERS.columns, listings.VERSIONS):
        sql, _ = statement.for_dialect(postgresql.dialect())  # type: ignore[no-untyped-call]
        in_order = re.findall(r" ORDER BY [\w.]+(?:, [\w.]+ DESC)?\)", sql)
        assert len(in_order) == sql.count("_agg(") >= 5


# ---------------------------------------------------------------- versions


def _version_rows(names: list[str]) -> list[dict[str, Any]]:
    """One to three versions of each path; some are delete markers, some null versions."""
    return [
        {
            "path": name,
            "id": f"{number}-{index}",
            "write_id": f"{number}-{index}",
            "null_version": index == 0 and len(name) % 2 == 0,
            "delete_marker": (number + index) % 3 == 0,
            "digest": None if (number + index) % 3 == 0 else bytes([index]) * 32,
            "created_at": index + 0.5,
        }
        for number, name in enumerate(names)
        for index in range(1 + len(name) % 3)
    ]


def _newest_first(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return sorted(sorted(rows, key=lambda row: str(row["id"]), reverse=True), key=lambda row: str(row["path"]).encode())


Seen = str | tuple[str, str, bool, bool]
ReadVersions = Callable[[ListedRows, VersionsRequest], tuple[list[Seen], tuple[str, str] | None]]


def versions_as_rows(reader: ListedRows, request: VersionsRequest) -> tuple[list[Seen], tuple[str, str] | None]:
    page = listing.list_versions(reader, request)
    assert len(page.versions) + len(page.prefixes) <= request.limit
    shown = [
        (one.path, "null" if one.null_version else one.version, one.current, one.delete_marker) for one in page.versions
    ]
    return [*shown, *page.prefixes], page.next_after


def versions_as_columns(reader: ListedRows, request: VersionsRequest) -> tuple[list[Seen], tuple[str, str] | None]:
    page = _version_pages.decode(encode(listing.list_version_columns(reader, request)))
    listed = page.columns or ListedVersions([], [], [], [], [], [])
    assert len(listed.paths) <= request.limit
    assert {len(listed.paths)} == {len(column) for column in columns_in(listed)}
    before = [listed.continued, *listed.paths]
    is_latest = [path != other for path, other in zip(listed.paths, before, strict=False)]
    return list(zip(listed.paths, listed.ids, is_latest, listed.delete_markers, strict=True)), page.next_after


@pytest.mark.parametrize("read", [versions_as_rows, versions_as_columns])
@given(paths, short, st.sampled_from(["", "/", "ab", "\U0010ffff"]), st.integers(1, 4), st.booleans())
@example(["a/", "a/b", "a0"], "", "/", 1, False)
@settings(max_examples=150, deadline=None)
def test_pages_of_versions_together_are_all_of_them(
    read: ReadVersions, names: list[str], prefix: str, delimiter: str, limit: int, says_null: bool
) -> None:
    """Whatever the page size, every version outside folders comes once, newest first, and every folder once."""
    if read is versions_as_columns:
        delimiter = ""
    rows = _newest_first(_version_rows(names))
    nulls = {(str(row["path"]), str(row["id"])) for row in rows if row["null_version"]}
    seen: list[Seen] = []
    after = None
    with closing(ListedRows((), rows)) as reader:
        for _ in range(400):
            request = VersionsRequest("", "files", prefix=prefix, delimiter=delimiter, limit=limit, after=after)
            found, after = read(reader, request)
            seen += found
            if after is None:
                break
            if says_null and after in nulls:  # as S3's clients do
                after = (after[0], "null")
    expected: list[Seen] = []
    last = ""
    for row in rows:
        if row["path"].startswith(prefix):
            folder = listing.common_prefix(row["path"], prefix, delimiter)
            id = "null" if row["null_version"] else row["id"]
            entry = folder or (row["path"], id, row["path"] != last, row["delete_marker"])
            last = row["path"]
            if entry not in expected:
                expected.append(entry)
    for kind in (tuple, str):
        assert [one for one in seen if isinstance(one, kind)] == [one for one in expected if isinstance(one, kind)]
    assert after is None


@given(paths, short, short, st.sampled_from(["", "0-1", "null", "~"]))
@settings(max_examples=100, deadline=None)
def test_both_forms_continue_from_anywhere(names: list[str], prefix: str, path: str, id: str) -> None:
    """Also from a path or a version that does not exist, or not any more, or is outside the prefix."""
    after = (path or "a", id)
    with closing(ListedRows((), _newest_first(_version_rows(names)))) as reader:
        request = VersionsRequest("", "files", prefix=prefix, limit=3, after=after)
        assert versions_as_columns(reader, request) == versions_as_rows(reader, request)


def test_columns_of_versions_say_what_rows_say() -> None:
    """Sizes, times, digests and owners; a delete marker has no digest."""
    rows = _newest_first(_version_rows(["a", "bb", "ccc"]))
    request = VersionsRequest("", "files")
    with closing(ListedRows((), rows)) as reader:
        for owner in ("", "olga"):
            listed = _version_pages.decode(encode(listing.list_version_columns(reader, request, owner))).columns
            assert listed is not None
            assert (listed.owner, listed.owners) == (owner, [] if owner else ["ann"] * len(rows))
            assert listed.digests == ["" if row["digest"] is None else Digest(row["digest"]).hex() for row in rows]
            assert listed.sizes == [1] * len(rows)
            assert listed.milliseconds == [500] * len(rows)
            assert listed.created_at == [int(row["created_at"]) for row in rows]


@pytest.mark.parametrize("field", ["prefix", "delimiter", "after"])
def test_broken_unicode_is_refused(field: str) -> None:
    """A lone surrogate is no place in any listing."""
    request = msgspec.structs.replace(ListRequest("ann", "files"), **{field: "\ud800"})
    with closing(ListedRows()) as reader:
        for read in (listing.list_files, listing.list_columns):
            with pytest.raises(BadName):
                read(reader, request)
