"""Content that is not in the cluster is never lost."""

from __future__ import annotations

from pathlib import Path

from lockstep_store.client.mount.unsaved import Unsaved


def _files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def _written(path: Path) -> Path:
    path.write_text("x")
    return path


def test_what_was_saved_leaves_nothing(tmp_path: Path) -> None:
    unsaved = Unsaved(tmp_path)
    path = unsaved.new_file("files", "a")
    path.write_text("x")
    unsaved.drop(path)
    assert _files(tmp_path) == []
    assert (tmp_path / "spool").stat().st_mode & 0o077 == 0


def test_what_is_kept_has_its_own_name(tmp_path: Path) -> None:
    """Below a folder of the moment, so nothing that was kept is replaced; and never outside."""
    unsaved = Unsaved(tmp_path)
    places = []
    for content in ("one", "two"):
        path = unsaved.new_file("files", "plans/../a.txt")
        path.write_text(content)
        places.append(unsaved.keep(path))
    assert [place.read_text() for place in places] == ["one", "two"]
    assert [str(place).endswith("/files/plans/a.txt") for place in places] == [True, True]
    assert all(place.is_relative_to(tmp_path / "unsaved") for place in places)
    assert _files(tmp_path / "spool") == []


def test_other_users_do_not_see_the_names(tmp_path: Path) -> None:
    """Every folder that is made is closed to them, also those above the content."""
    unsaved = Unsaved(tmp_path / "state" / "mount")
    kept = unsaved.keep(_written(unsaved.new_file("files", "plans/merger/offer.txt")))
    made = [place for place in kept.parents if place.is_relative_to(tmp_path / "state")]
    assert len(made) == 7
    assert [place for place in [*made, tmp_path / "state/mount/spool"] if place.stat().st_mode & 0o077] == []


def test_a_note_is_replaced_as_a_whole(tmp_path: Path) -> None:
    """The one of a renamed file, whose content is there already, must never be half a note."""
    unsaved = Unsaved(tmp_path)
    path = unsaved.new_file("files", "old name")
    with path.with_suffix(".json").open("rb") as old:
        unsaved.note(path, "files", "new name")
        assert b"old name" in old.read()
    assert unsaved.keep(_written(path)).name == "new name"
    assert _files(tmp_path / "spool") == []


def test_the_next_process_keeps_what_the_last_one_left(tmp_path: Path) -> None:
    """Under the last name that the file had; a note without content, or half a note, is removed."""
    before = Unsaved(tmp_path)
    path = before.new_file("files", "old name")
    path.write_text("half written")
    before.note(path, "files", "new name")
    before.new_file("files", "never begun")
    (path.parent / "7.json").write_text("{")
    assert Unsaved(tmp_path).keep_what_was_left() == []  # it may still be saved by the process that has it
    before.close()
    (kept,) = Unsaved(tmp_path).keep_what_was_left()
    assert (kept.name, kept.read_text()) == ("new name", "half written")
    assert _files(tmp_path / "spool") == []
    assert Unsaved(tmp_path).keep_what_was_left() == []
