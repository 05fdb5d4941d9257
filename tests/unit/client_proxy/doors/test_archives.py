"""Zip files made while they are sent."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator

import pytest

from client_proxy.doors import archives
from client_proxy.doors.archives import MISSING, Archives
from client_proxy.doors.shown_names import beside
from lockstep_store.wire.errors import Forbidden, NotFound, Overloaded, TooLarge, Unavailable
from tests.fakes.rest_core import TOKEN, FakeFiles

BLOCK = 64 * 1024


def _files(*paths: str) -> FakeFiles:
    files = FakeFiles()
    for path in paths:
        files.put("files", path, path.encode())
    return files


def _pieces(files: FakeFiles, base: str, *paths: str) -> Iterator[bytes]:
    return Archives(files).make("192.0.2.1", lambda: TOKEN, "files", base, paths or [base])  # type: ignore[arg-type]


def _entries(files: FakeFiles, base: str, *paths: str) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(b"".join(_pieces(files, base, *paths)))) as found:
        assert found.testzip() is None
        return {name: found.read(name) for name in found.namelist()}


def test_a_selection_is_packed_with_its_folders() -> None:
    """Files and folders, each file once, with the names that they have below the folder; empty folders stay."""
    files = _files("in/a.txt", "in/b/c.txt", "in/b/d.txt", "in/e/", "in/f.txt", "g.txt")
    assert _entries(files, "in/", "in/a.txt", "in/b/", "in/b/c.txt", "in/e/") == {
        "a.txt": b"in/a.txt",
        "b/c.txt": b"in/b/c.txt",
        "b/d.txt": b"in/b/d.txt",
        "e/": b"",
    }
    assert set(_entries(files, "")) == {"g.txt", "in/a.txt", "in/b/c.txt", "in/b/d.txt", "in/e/", "in/f.txt"}


def test_every_system_can_unpack_it() -> None:
    """A file with the name of a folder, and names that differ in case, get names of their own."""
    assert set(_entries(_files("a", "a/b", "a/c", "A", "x/y", "X", "p?", "p_"), "")) == {
        *("A", "a (2)", "a (3)/b", "a (3)/c"),
        *("X", "x (2)/y", "p_", "p_ (2)"),
    }


def test_names_that_collide_cost_no_more_than_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever stores many of them must not keep a proxy busy with finding numbers for them."""
    tried = []

    def counting(name: str, mark: str) -> str:
        tried.append(mark)
        return beside(name, mark)

    monkeypatch.setattr(archives, "beside", counting)
    same = [first + second for first in '<>:|"*' for second in '<>:|"*']
    numbered = ["plan", *(f"plan ({number})" for number in range(2, 40))]
    folders = [f"{name}/file" for name in ("plan", "PLAN", "Plan", "pLan", "plAn", "plaN")]
    paths = [*same, *numbered, *folders]
    assert len(_entries(_files(*paths), "")) == len(paths)
    assert len(tried) < 2 * len(paths)


@pytest.mark.parametrize(("path", "error"), [("in/a.txt", NotFound), ("in/none", NotFound), ("none/", NotFound)])
def test_what_is_not_there_is_refused_before_the_first_byte(path: str, error: type[Exception]) -> None:
    """A chosen file, and a folder without files."""
    with pytest.raises(error):
        next(_pieces(_files("a.txt", "in/b.txt"), "", "a.txt", path))


def test_too_many_files_are_refused_before_the_first_byte(monkeypatch: pytest.MonkeyPatch) -> None:
    """The archive's table is in memory until its end, so it is bounded."""
    monkeypatch.setattr(archives, "MAX_FILES", 3)
    assert len(_entries(_files("a", "b", "c"), "")) == 3
    with pytest.raises(TooLarge, match="at most 3 files"):
        next(_pieces(_files("a", "b", "c", "d"), ""))


def test_a_file_that_ends_meanwhile_is_named() -> None:
    """The others are packed, and the last entry names what is not."""
    files = _files("a.txt", "b.txt", "c.txt")
    pieces = _pieces(files, "")
    packed = next(pieces)
    del files.contents["files", "b.txt"]
    with zipfile.ZipFile(io.BytesIO(packed + b"".join(pieces))) as found:
        assert found.namelist() == ["a.txt", "c.txt", MISSING]
        assert b"\nb.txt\n" in found.read(MISSING)
    assert all(opened.closed for opened in files.opened)


def test_an_archive_is_cut_off_when_a_read_fails() -> None:
    """It never looks whole: the table at its end is missing."""
    files = _files("a.txt", "b.txt")
    files.read_error, files.break_after = Unavailable("no server has it"), 0
    with pytest.raises(Unavailable):
        next(_pieces(files, ""))
    assert files.opened[0].closed


def test_no_more_is_kept_than_a_block() -> None:
    """Each piece is sent before the next block is read, and leaving early closes the file."""
    files = FakeFiles()
    files.block = BLOCK
    files.put("files", "large", b"x" * (20 * BLOCK))
    pieces = _pieces(files, "")
    for number in range(1, 11):
        assert len(next(pieces)) < BLOCK + 200
        assert files.opened[0].given == number
    pieces.close()  # type: ignore[attr-defined]
    assert files.opened[0].closed


def test_a_refusal_to_list_is_a_refusal() -> None:
    """Nothing is sent of a folder that may not be listed."""
    files = _files("in/a.txt")
    files.error = Forbidden("you may not list it")
    with pytest.raises(Forbidden):
        next(_pieces(files, "in/"))


def test_archives_that_are_being_sent_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """For each client and for all, by their files; one that ends, or is given up, makes room."""
    monkeypatch.setattr(archives, "MAX_OF_A_CLIENT", 3)
    monkeypatch.setattr(archives, "MAX_UNDER_WAY", 4)
    made = Archives(_files("a/1", "a/2", "b/1"))  # type: ignore[arg-type]

    def begin(client: str, folder: str) -> Iterator[bytes]:
        return archives.first_then(made.make(client, lambda: TOKEN, "files", "", [folder]))

    first, second = begin("ann", "a/"), begin("ann", "b/")
    for client, folder in (("ann", "b/"), ("ben", "a/")):
        with pytest.raises(Overloaded, match="retry when some of them have ended"):
            begin(client, folder)
    assert b"".join(second)
    begin("ann", "b/")  # given up at once
    third = begin("ben", "a/")
    assert b"".join(first)
    assert b"".join(third)
    assert not made._listed
