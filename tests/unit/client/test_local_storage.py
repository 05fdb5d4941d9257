"""The person's folder: which names are safe in it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from lockstep_store.client.local_storage import (
    LocalFileError,
    LocalStorage,
    NameRefused,
    make_private,
    read_text,
    walk_files,
)
from lockstep_store.wire.errors import BadRequest


@pytest.mark.parametrize(
    "name",
    [
        "",
        "/etc/passwd",
        "..",
        "../out.txt",
        "a/../../out.txt",
        "a/./b",
        "a//b",
        "folder/",
        "bell\a.txt",
        "line\nbreak",
        "nul\0",
        ".lockstep-1234.part",
        "a/.lockstep-x",
        "x" * 256,
        "é" * 128,
        "\udce4",
    ],
)
def test_names_that_lead_outside_or_cannot_be_files_are_refused(tmp_path: Path, name: str) -> None:
    """Every such name is refused for reading and for writing, and nothing is made."""
    storage = LocalStorage(tmp_path / "local_storage")
    for ask in (storage.resolve, storage.for_writing):
        with pytest.raises(NameRefused):
            ask(name)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["notes.txt", "a/b/c.txt", "…", "sp ace", "emoji 🦊", "..txt", "-r", "x" * 255])
def test_ordinary_names_are_kept_as_given(tmp_path: Path, name: str) -> None:
    """Any other name is a file below the folder, spelled as it was given."""
    storage = LocalStorage(tmp_path)
    assert storage.for_writing(name) == tmp_path / name
    assert (tmp_path / name).parent.is_dir()


def test_a_link_to_outside_is_refused_at_any_level(tmp_path: Path) -> None:
    """A link in the folder that leads out of it is neither read through nor written through."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_text("secret")
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "file").symlink_to(outside / "secret")
    (folder / "dir").symlink_to(outside)
    storage = LocalStorage(folder)
    for name in ("file", "dir/secret", "dir/new"):
        with pytest.raises(NameRefused):
            storage.resolve(name)
        with pytest.raises(NameRefused):
            storage.for_writing(name)


def test_a_link_inside_is_read_but_not_written_through(tmp_path: Path) -> None:
    """A link to another place inside the folder may be read, and is never replaced or written through."""
    (tmp_path / "real").write_text("x")
    (tmp_path / "link").symlink_to("real")
    storage = LocalStorage(tmp_path)
    assert storage.resolve("link").read_text() == "x"
    with pytest.raises(NameRefused):
        storage.for_writing("link")


def test_the_folder_itself_may_be_a_link(tmp_path: Path) -> None:
    """Names are judged against where the folder really is."""
    (tmp_path / "real").mkdir()
    (tmp_path / "shortcut").symlink_to("real")
    assert LocalStorage(tmp_path / "shortcut").for_writing("a.txt") == tmp_path / "shortcut" / "a.txt"


def test_a_file_and_a_folder_do_not_replace_each_other(tmp_path: Path) -> None:
    """A name that needs a folder where there is a file, or the reverse, is refused and both stay."""
    (tmp_path / "file").write_text("x")
    (tmp_path / "folder").mkdir()
    storage = LocalStorage(tmp_path)
    for name in ("file/below", "folder"):
        with pytest.raises(NameRefused):
            storage.for_writing(name)
    assert (tmp_path / "file").read_text() == "x"


def test_walking_follows_no_links_and_names_what_it_leaves_out(tmp_path: Path) -> None:
    """Regular files come in order; links and pipes come with a reason; temporary files do not come."""
    (tmp_path / "b").mkdir()
    for name in ("a", "b/c", ".lockstep-x.part"):
        (tmp_path / name).write_text(name)
    (tmp_path / "loop").symlink_to(tmp_path)
    os.mkfifo(tmp_path / "pipe")
    found = {relative: bool(reason) for _, relative, reason in walk_files(tmp_path)}
    assert found == {"a": False, "b/c": False, "loop": True, "pipe": True}
    assert LocalStorage(tmp_path).names() == ["a", "b/c"]


def test_copies_get_names_that_are_free(tmp_path: Path) -> None:
    """A copy that must not be overwritten never takes a name that exists."""
    storage = LocalStorage(tmp_path)
    first = storage.keep_copy_name("n.txt", "unsaved-1")
    (tmp_path / first).write_text("kept")
    assert storage.keep_copy_name("n.txt", "unsaved-1") not in (first, "n.txt")


def test_a_text_file_is_read_or_named_with_what_is_wrong(tmp_path: Path) -> None:
    """A missing file and one that is not text are refused by name."""
    file = tmp_path / "secret.txt"
    with pytest.raises(LocalFileError, match=r"secret\.txt .*check the name"):
        read_text(file)
    file.write_bytes(b"caf\xe9")
    with pytest.raises(BadRequest, match=r"secret\.txt is not text"):
        read_text(file)
    file.write_text("café\n", "utf-8")
    assert read_text(file) == "café\n"


def test_every_folder_that_is_missing_is_made_for_this_user_only(tmp_path: Path) -> None:
    """Those that are there stay as they are."""
    there = tmp_path / "there"
    there.mkdir()
    there.chmod(0o755)
    make_private(there / "new" / "inside")
    make_private(there / "new" / "inside")
    folders = (there, there / "new", there / "new" / "inside")
    assert [folder.stat().st_mode & 0o777 for folder in folders] == [0o755, 0o700, 0o700]
