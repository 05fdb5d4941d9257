"""Listings against the simplest possible model: all names in a sorted list."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from directory_server.files import listing
from directory_server.metadata.statements import files
from directory_server.metadata.store import Reader, Row
from lockstep_store.wire.errors import BadName
from lockstep_store.wire.messages.files import ListReply, ListRequest, VersionsRequest
from tests.fakes.directory_rig import DirectoryRig

LETTERS = "ab/-é\U0001f600\uffee\U0010ffff"
paths = st.lists(st.text(LETTERS, min_size=1, max_size=7), unique=True, max_size=40)
short = st.text(LETTERS, max_size=3)


class SortedNames(Reader):
    """Answers the listing's two statements from a list, and counts the rows that it gives."""

    def __init__(self, names: list[str]) -> None:
        self.names = sorted(names, key=lambda name: name.encode())
        self.reads = self.rows_read = 0

    def all(self, statement: object, **parameters: object) -> list[Row]:
        start, count = str(parameters["path"]), int(str(parameters["count"]))
        if statement is files.LIST_FROM:
            found = [name for name in self.names if name >= start]
        else:
            found = [name for name in self.names if name > start]
        self.reads += 1
        self.rows_read += len(found[:count])
        return [_row(name) for name in found[:count]]

    def one(self, statement: object, **parameters: object) -> Row | None:
        raise AssertionError("a listing reads pages only")


def _row(name: str) -> Row:
    return ("files", name, "v", bytes(32), 1, "", "{}", "ann", 0.0, 0, False, 1, False)


def model(names: list[str], request: ListRequest) -> ListReply:
    """What a listing means: entries in order, those after `after`, cut to the limit."""
    entries: dict[str, bool] = {}
    continued = listing.common_prefix(request.after, request.prefix, request.delimiter) == request.after
    for name in sorted(name for name in names if name.startswith(request.prefix)):
        if name <= request.after or (request.after and continued and name.startswith(request.after)):
            continue
        folder = listing.common_prefix(name, request.prefix, request.delimiter)
        entries.setdefault(folder or name, folder is not None)
    page = list(entries.items())[: request.limit]
    return ListReply(
        files=[files.as_version(_row(name)) for name, is_folder in page if not is_folder],
        prefixes=[name for name, is_folder in page if is_folder],
        next_after=page[-1][0] if len(entries) > request.limit else None,
    )


@given(paths, short, st.sampled_from(["", "/", "-", "ab", "\U0010ffff"]), short, st.integers(1, 6))
@example(["a/", "a/b", "a0"], "", "/", "a/", 1)
@example(["a/", "a/b"], "a/", "/", "a/", 1)
@example(["\U0010ffff/a", "\U0010ffff/b"], "", "/", "", 1)
@settings(max_examples=200, deadline=None)
def test_a_page_is_what_the_model_says(names: list[str], prefix: str, delimiter: str, after: str, limit: int) -> None:
    """Every prefix, delimiter, limit and place to continue from gives the entries a sorted list would."""
    request = ListRequest("ann", "files", prefix, delimiter, limit, after)
    assert listing.list_files(SortedNames(names), request) == model(names, request)


@given(paths, short, st.sampled_from(["", "/", "ab"]), st.integers(1, 4))
@settings(max_examples=150, deadline=None)
def test_pages_together_are_the_whole_listing(names: list[str], prefix: str, delimiter: str, limit: int) -> None:
    """Following next_after gives every entry once, in order, however long the pages."""
    whole = model(names, ListRequest("ann", "files", prefix, delimiter, 1000))
    got_files: list[str] = []
    got_prefixes: list[str] = []
    after: str | None = ""
    while after is not None:
        page = listing.list_files(SortedNames(names), ListRequest("ann", "files", prefix, delimiter, limit, after))
        assert page.next_after is None or len(page.files) + len(page.prefixes) == limit
        got_files += [file.path for file in page.files]
        got_prefixes += page.prefixes
        after = page.next_after
    assert got_files == [file.path for file in whole.files]
    assert got_prefixes == whole.prefixes


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


def test_folders_are_skipped_not_walked() -> None:
    """The first page of a bucket with 20 folders of 5,000 files reads one row a folder."""
    reader = SortedNames([f"d{folder:02}/{number:04}" for folder in range(20) for number in range(5000)])
    reply = listing.list_files(reader, ListRequest("ann", "files", delimiter="/"))
    assert len(reply.prefixes) == 20
    assert reader.rows_read == 20


def test_files_beside_folders_are_read_in_long_pages() -> None:
    """A delimiter does not make a listing of plain files slow: few reads, and not many more rows than are shown."""
    reader = SortedNames(["a/1", "a/2", *(f"b{number:04}" for number in range(3000)), "c/1"])
    reply = listing.list_files(reader, ListRequest("ann", "files", delimiter="/"))
    assert len(reply.files) + len(reply.prefixes) == 1000
    assert reader.reads <= 13
    assert reader.rows_read <= 2100


def test_a_page_reads_what_it_shows() -> None:
    """A page in the middle of a large bucket reads no more than its length and one."""
    reader = SortedNames([f"{number:06}" for number in range(20_000)])
    reply = listing.list_files(reader, ListRequest("ann", "files", limit=10, after="010000"))
    assert [file.path for file in reply.files][:2] == ["010001", "010002"]
    assert reader.rows_read == 11


@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
@given(paths, short, st.sampled_from(["", "/"]), st.integers(1, 5))
def test_the_store_agrees_with_the_model(
    rig: DirectoryRig, names: list[str], prefix: str, delimiter: str, limit: int
) -> None:
    """The same on the real engine, where the order is the database's."""
    writable = [name for name in names if not name.startswith("/")]
    bucket = rig.bucket(f"bucket-{rig.write_id()}")
    for name in writable:
        rig.write(name, b"", bucket=bucket)
    request = ListRequest("ann", bucket, prefix, delimiter, limit)
    expected, got = model(writable, request), rig.lookups.list(request)
    assert [file.path for file in got.files] == [file.path for file in expected.files]
    assert (got.prefixes, got.next_after) == (expected.prefixes, expected.next_after)


def test_seeks_use_the_primary_key(rig: DirectoryRig) -> None:
    """The database finds a page by its key and sorts nothing, or listing would cost what the bucket holds."""
    for statement in (files.LIST_FROM, files.LIST_AFTER, files.VERSIONS_FROM, files.VERSIONS_OLDER, files.NEWEST):
        plan = _plan(rig, statement)
        assert "SEARCH" in plan, plan
        assert "TEMP B-TREE" not in plan
    for statement in (files.NULL_VERSION, files.WRITE_BEFORE, files.CURRENT_HELD, files.CURSOR):
        assert "SCAN" not in _plan(rig, statement)


def _plan(rig: DirectoryRig, statement: object) -> str:
    with rig.store.read() as reader:
        sql, fixed = statement.for_dialect(_dialect())  # type: ignore[attr-defined]
        asked = ("bucket", "path", "version", "write_id", "digest")
        rows = reader._cursor.execute(  # type: ignore[attr-defined]
            f"EXPLAIN QUERY PLAN {sql}", {**fixed, **dict.fromkeys(asked, "x"), "count": 1}
        ).fetchall()
    return "; ".join(row[3] for row in rows)


def _dialect() -> object:
    from directory_server.metadata.engines.sqlite.transactions import _DIALECT

    return _DIALECT


class SortedVersions(Reader):
    """The versions' statements over paths that have one to three versions each, newest first."""

    def __init__(self, names: list[str]) -> None:
        ordered = sorted(names, key=lambda name: name.encode())
        self.rows = [_version_row(name, f"{3 - i}") for name in ordered for i in range(_version_count(name))]

    def all(self, statement: object, **parameters: object) -> list[Row]:
        path, count = str(parameters["path"]), int(str(parameters["count"]))
        found = {
            files.VERSIONS_FROM: lambda row: row[1] >= path,
            files.VERSIONS_AFTER: lambda row: row[1] > path,
            files.VERSIONS_OF_PATH: lambda row: row[1] == path,
            files.VERSIONS_OLDER: lambda row: row[1] == path and row[2] < str(parameters.get("version", "")),
        }[statement]  # type: ignore[index]
        return [row for row in self.rows if found(row)][:count]

    def one(self, statement: object, **parameters: object) -> Row | None:
        raise AssertionError("a listing reads pages only")


def _version_count(name: str) -> int:
    return 1 + len(name) % 3


def _version_row(name: str, version: str) -> Row:
    return ("files", name, version, *_row(name)[3:])


@given(paths, short, st.sampled_from(["", "/", "ab", "\U0010ffff"]), st.integers(1, 4))
@example(["a/", "a/b", "a0"], "", "/", 1)
@settings(max_examples=200, deadline=None)
def test_pages_of_versions_together_are_all_of_them(names: list[str], prefix: str, delimiter: str, limit: int) -> None:
    """Whatever the page size, every version outside folders comes once, newest first, and every folder once."""
    reader = SortedVersions(names)
    seen: list[str | tuple[str, str, bool]] = []
    after = None
    for _ in range(400):
        request = VersionsRequest("", "files", prefix=prefix, delimiter=delimiter, limit=limit, after=after)
        page = listing.list_versions(reader, request)
        assert len(page.versions) + len(page.prefixes) <= limit
        seen += [(v.path, v.version, v.current) for v in page.versions]
        seen += page.prefixes
        after = page.next_after
        if after is None:
            break
    expected: list[str | tuple[str, str, bool]] = []
    for row in reader.rows:
        if row[1].startswith(prefix):
            folder = listing.common_prefix(row[1], prefix, delimiter)
            entry = folder or (row[1], row[2], row[2] == "3")
            if entry not in expected:
                expected.append(entry)
    for kind in (tuple, str):
        assert [one for one in seen if isinstance(one, kind)] == [one for one in expected if isinstance(one, kind)]
    assert after is None


@pytest.mark.parametrize("field", ["prefix", "delimiter", "after"])
def test_broken_unicode_is_refused(field: str) -> None:
    """A lone surrogate is no place in any listing."""
    with pytest.raises(BadName):
        listing.list_files(SortedNames([]), ListRequest("ann", "files", **{field: "\ud800"}))
