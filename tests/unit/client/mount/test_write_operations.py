"""Writing: one request for a new file, a lock and a condition for one that exists, and nothing lost."""

from __future__ import annotations

import errno
import logging
import os
import threading
from collections.abc import Callable

import pytest

from lockstep_store.wire.errors import Problem
from lockstep_store.wire.messages.folders import FolderChange, FolderProblem
from lockstep_store.wire.messages.locks import LockPath
from tests.unit.client.mount.mount_rig import MountRig
from tests.unit.people import noise
from tests.waiting import PATIENCE_SECONDS

MIB = 1024 * 1024


def _write(rig: MountRig, path: str, data: bytes, flags: int = os.O_WRONLY | os.O_TRUNC) -> None:
    """What a program does that opens a file, writes and closes it."""
    exists = rig.server.core.content(path[1:]) is not None
    handle = rig.writing.open(path, flags) if exists else rig.writing.create(path, 0o644, flags)
    rig.writing.write(path, data, 0, handle)
    try:
        rig.writing.flush(path, handle)
    finally:
        rig.writing.release(path, handle)


def _number(call: Callable[..., object], *args: object) -> int:
    with pytest.raises(OSError) as refused:
        call(*args)
    assert refused.value.errno is not None
    return refused.value.errno


def _kept(rig: MountRig) -> list[bytes]:
    return [path.read_bytes() for path in sorted(rig.unsaved.folder.rglob("*")) if path.is_file()]


def test_a_new_file_costs_one_request(rig: MountRig) -> None:
    """With its time and mode, and also when it is looked at afterwards and the journal has told of it."""
    rig.server.core.save("d/other", b"")
    rig.names("d")
    rig.asked()
    handle = rig.writing.create("/d/f", 0o755, os.O_WRONLY)
    for offset in range(0, 5000, 1000):
        rig.writing.write("/d/f", b"x" * 1000, offset, handle)
    rig.writing.utimens("/d/f", (5_000_000_000, 6_000_000_000))
    rig.writing.chmod("/d/f", 0o755)
    before = rig.writing.getattr("/d/f", handle)
    rig.writing.flush("/d/f", handle)
    rig.writing.release("/d/f", handle)
    rig.follow()
    after = rig.writing.getattr("/d/f")
    assert rig.asked() == [("PUT", "/api/v1/files/files/d/f")]
    assert before == after
    assert (after["st_size"], after["st_mtime"], after["st_mode"] & 0o777) == (5000, 6_000_000_000, 0o755)


def test_a_shell_that_closes_before_it_writes_saves_once(rig: MountRig) -> None:
    """It opens, duplicates the descriptor and closes the first one: readers must not see an empty file."""
    rig.server.core.save("f", b"before")
    handle = rig.writing.open("/f", os.O_WRONLY | os.O_TRUNC)
    rig.writing.flush("/f", handle)
    assert rig.server.core.content("f") == b"before"
    rig.writing.write("/f", b"after", 0, handle)
    rig.writing.flush("/f", handle)
    rig.writing.release("/f", handle)
    assert [one.size for one in rig.server.core.history["files", "f"]] == [6, 5]


def test_an_empty_file_is_saved_with_its_last_close(rig: MountRig) -> None:
    handle = rig.writing.create("/f", 0o644, os.O_WRONLY)
    assert [name for name, _, _ in rig.writing.readdir("/")] == [".", "..", "f"]
    rig.writing.flush("/f", handle)
    rig.writing.release("/f", handle)
    assert rig.server.core.content("f") == b""


def test_a_file_that_exists_is_written_under_its_lock(rig: MountRig) -> None:
    """From the first change to closing; the save itself releases it."""
    rig.server.core.save("f", b"12345")
    handle = rig.writing.open("/f", os.O_RDWR)
    assert rig.writing.read("/f", 10, 0, handle) == b"12345"
    assert rig.api.locks().locks == []
    rig.writing.write("/f", b"X", 2, handle)
    (lock,) = rig.api.locks().locks
    assert lock.paths == [LockPath("files", "f")]
    rig.asked()
    rig.writing.flush("/f", handle)
    assert rig.asked() == [("PUT", "/api/v1/files/files/f")]
    rig.writing.release("/f", handle)
    assert rig.api.locks().locks == []
    assert rig.server.core.content("f") == b"12X45"
    assert rig.server.core.history["files", "f"][-1].lock_number == lock.number


def test_a_file_that_was_only_looked_at_is_not_saved(rig: MountRig) -> None:
    rig.server.core.save("f", b"12345")
    handle = rig.writing.open("/f", os.O_RDWR)
    rig.writing.flush("/f", handle)
    rig.writing.release("/f", handle)
    assert len(rig.server.core.history["files", "f"]) == 1
    assert rig.api.locks().locks == []


@pytest.mark.parametrize("flags", [os.O_WRONLY, os.O_WRONLY | os.O_TRUNC, os.O_RDWR | os.O_TRUNC])
def test_opening_to_write_or_empty_a_file_takes_its_lock(rig: MountRig, flags: int) -> None:
    """Others are refused before the program has written anything."""
    rig.server.core.save("f", b"12345")
    handle = rig.writing.open("/f", flags)
    assert [lock.paths for lock in rig.api.locks().locks] == [[LockPath("files", "f")]]
    rig.writing.release("/f", handle)
    assert rig.api.locks().locks == []


def test_what_others_changed_since_it_was_opened_is_not_overwritten(rig: MountRig) -> None:
    """A program that appends goes on at the new end."""
    rig.server.core.save("f", b"12345")
    handle = rig.writing.open("/f", os.O_RDWR)
    appending = rig.writing.open("/f", os.O_WRONLY | os.O_APPEND)
    rig.server.core.save("f", b"theirs")
    assert _number(rig.writing.write, "/f", b"X", 2, handle) == errno.ESTALE
    rig.writing.release("/f", handle)
    rig.writing.write("/f", b"!", 5, appending)
    rig.writing.flush("/f", appending)
    rig.writing.release("/f", appending)
    assert rig.server.core.content("f") == b"theirs!"
    assert rig.api.locks().locks == []
    assert _kept(rig) == []


def test_a_mode_that_is_set_before_the_first_change_is_kept(rig: MountRig) -> None:
    rig.server.core.save("f", b"12345")
    handle = rig.writing.open("/f", os.O_RDWR)
    rig.writing.chmod("/f", 0o755)
    rig.writing.utimens("/f", (5_000_000_000, 6_000_000_000))
    assert rig.writing.getattr("/f", handle)["st_mtime"] == 6_000_000_000
    rig.writing.write("/f", b"X", 2, handle)
    rig.writing.flush("/f", handle)
    rig.writing.release("/f", handle)
    assert rig.writing.getattr("/f")["st_mode"] & 0o777 == 0o755


def test_a_lock_of_somebody_else_is_named(rig: MountRig, caplog: pytest.LogCaptureFixture) -> None:
    rig.server.core.save("f", b"12345")
    with rig.api.lock("f"), caplog.at_level(logging.WARNING, "lockstep.mount"):
        assert _number(rig.writing.open, "/f", os.O_WRONLY) == errno.EBUSY
        assert _number(rig.writing.unlink, "/f") == errno.EBUSY
    assert "ann holds the lock" in caplog.text
    _write(rig, "/f", b"now")
    assert rig.server.core.content("f") == b"now"


def test_opening_begins_with_the_newest_version(rig: MountRig) -> None:
    """Also if the journal has not told of it yet."""
    rig.server.core.save("f", b"old")
    rig.names()
    rig.server.core.save("f", b"newer")
    handle = rig.writing.open("/f", os.O_WRONLY | os.O_APPEND)
    rig.writing.write("/f", b"!", 0, handle)
    rig.writing.flush("/f", handle)
    rig.writing.release("/f", handle)
    assert rig.server.core.content("f") == b"newer!"


def test_writing_on_after_a_close_takes_the_lock_again(rig: MountRig) -> None:
    """A child process that ends closes the file, too."""
    rig.server.core.save("f", b"")
    handle = rig.writing.open("/f", os.O_WRONLY | os.O_TRUNC)
    rig.writing.write("/f", b"one", 0, handle)
    rig.writing.flush("/f", handle)
    rig.writing.write("/f", b"two", 3, handle)
    assert len(rig.api.locks().locks) == 1
    rig.writing.flush("/f", handle)
    rig.server.core.save("f", b"by somebody else")
    assert _number(rig.writing.write, "/f", b"three", 6, handle) == errno.ESTALE
    rig.writing.release("/f", handle)
    assert rig.server.core.content("f") == b"by somebody else"
    assert rig.api.locks().locks == []


def test_opening_again_finds_what_others_saved_meanwhile(rig: MountRig) -> None:
    """Even if the kernel has not told of the last close yet."""
    rig.server.core.save("f", b"")
    before = rig.writing.open("/f", os.O_WRONLY | os.O_TRUNC)
    rig.writing.write("/f", b"one", 0, before)
    rig.writing.flush("/f", before)
    rig.server.core.save("f", b"theirs")
    handle = rig.writing.open("/f", os.O_RDWR)
    rig.writing.release("/f", before)
    assert rig.writing.read("/f", 10, 0, handle) == b"theirs"
    rig.writing.write("/f", b"T", 0, handle)
    rig.writing.flush("/f", handle)
    rig.writing.release("/f", handle)
    assert rig.server.core.content("f") == b"Theirs"


def test_a_new_name_that_others_took_is_kept_aside(rig: MountRig, caplog: pytest.LogCaptureFixture) -> None:
    handle = rig.writing.create("/f", 0o644, os.O_WRONLY)
    rig.writing.write("/f", b"mine", 0, handle)
    rig.server.core.save("f", b"theirs")
    assert _number(rig.writing.flush, "/f", handle) == errno.ESTALE
    rig.writing.release("/f", handle)
    assert rig.server.core.content("f") == b"theirs"
    assert _kept(rig) == [b"mine"]
    assert "what was written is in" in caplog.text


def test_a_broken_lock_overwrites_nothing(rig: MountRig) -> None:
    """Whoever broke it and saved wins; what was written here is kept."""
    rig.server.core.save("f", b"before")
    handle = rig.writing.open("/f", os.O_WRONLY | os.O_TRUNC)
    rig.writing.write("/f", b"mine", 0, handle)
    (lock,) = rig.api.locks().locks
    rig.api.release(lock.id)
    rig.server.core.save("f", b"theirs")
    assert _number(rig.writing.flush, "/f", handle) == errno.ESTALE
    rig.writing.release("/f", handle)
    assert rig.server.core.content("f") == b"theirs"
    assert _kept(rig) == [b"mine"]


def test_a_removed_file_stays_usable_for_who_has_it_open(rig: MountRig) -> None:
    """And its name is free at once: nothing of the old file is saved under it."""
    rig.server.core.save("f", b"before")
    handle = rig.writing.open("/f", os.O_RDWR)
    rig.writing.unlink("/f")
    assert rig.api.locks().locks == []
    rig.writing.write("/f", b"gone", 0, handle)
    assert rig.writing.read("/f", 10, 0, handle) == b"gonere"
    _write(rig, "/f", b"new")
    rig.writing.flush("/f", handle)
    rig.writing.release("/f", handle)
    assert rig.server.core.content("f") == b"new"
    assert _kept(rig) == []


def test_saving_by_rename_replaces_the_file_in_one_commit(rig: MountRig) -> None:
    """As editors do: the name always has a whole content, and both files may still be open."""
    rig.server.core.save("f", b"before")
    rig.names()
    handle = rig.writing.create("/.f.new", 0o644, os.O_WRONLY)
    rig.writing.write("/.f.new", b"after", 0, handle)
    rig.writing.rename("/.f.new", "/f")
    assert rig.server.core.content("f") == b"after"
    assert rig.server.core.content(".f.new") is None
    rig.writing.write("/f", b"!", 5, handle)
    rig.writing.flush("/f", handle)
    rig.writing.release("/f", handle)
    assert rig.server.core.content("f") == b"after!"
    assert rig.names() == ["f"]


def test_a_file_is_looked_up_after_its_replacement(rig: MountRig, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not during it: libfuse would let a program look up the old file, and then not find it."""
    rig.server.core.save("f", b"before")
    handle = rig.writing.create("/new", 0o644, os.O_WRONLY)
    rig.writing.write("/new", b"afterwards", 0, handle)
    rig.writing.flush("/new", handle)
    rig.writing.release("/new", handle)
    asked, sizes = threading.Event(), list[int]()
    looking = threading.Thread(target=lambda: sizes.append(rig.writing.getattr("/f")["st_size"]))
    wait_for_arrival = rig.workspace.wait_for_arrival

    def wait(path: str) -> None:
        asked.set()
        wait_for_arrival(path)

    def look() -> None:
        looking.start()
        assert asked.wait(PATIENCE_SECONDS)

    monkeypatch.setattr(rig.workspace, "wait_for_arrival", wait)
    rig.server.core.before_commit = look
    rig.writing.rename("/new", "/f")
    looking.join(PATIENCE_SECONDS)
    assert sizes == [10]


def test_a_program_of_this_machine_reads_what_another_one_has_written(rig: MountRig) -> None:
    """Before it is saved, and on to the end after the writer has closed it."""
    handle = rig.writing.create("/f", 0o644, os.O_WRONLY)
    rig.writing.write("/f", b"12345", 0, handle)
    reader = rig.writing.open("/f", os.O_RDONLY)
    assert rig.writing.read("/f", 2, 0, reader) == b"12"
    rig.writing.flush("/f", handle)
    rig.writing.release("/f", handle)
    assert rig.writing.read("/f", 10, 2, reader) == b"345"
    rig.writing.release("/f", reader)


def test_a_file_that_is_being_saved_can_be_looked_at(rig: MountRig) -> None:
    """`ls` does not wait for a save that takes long."""
    handle = rig.writing.create("/f", 0o644, os.O_WRONLY)
    rig.writing.write("/f", b"12345", 0, handle)
    sizes: list[int] = []

    def look() -> None:
        looking = threading.Thread(target=lambda: sizes.append(rig.writing.getattr("/f")["st_size"]))
        looking.start()
        looking.join(PATIENCE_SECONDS)

    rig.server.core.before_commit = look
    rig.writing.flush("/f", handle)
    rig.server.core.before_commit = lambda: None
    rig.writing.release("/f", handle)
    assert sizes == [5]


def test_a_large_file_is_changed_and_shortened(rig: MountRig) -> None:
    data = bytearray(noise(50, 9 * MIB))
    rig.server.core.save("f", bytes(data))
    handle = rig.writing.open("/f", os.O_RDWR)
    rig.writing.write("/f", b"changed", 5 * MIB, handle)
    data[5 * MIB : 5 * MIB + 7] = b"changed"
    assert rig.writing.read("/f", 100, 5 * MIB, handle) == data[5 * MIB : 5 * MIB + 100]
    rig.writing.fsync("/f", 0, handle)
    assert rig.server.core.content("f") == data
    rig.writing.truncate("/f", 3 * MIB, handle)
    rig.writing.flush("/f", handle)
    rig.writing.release("/f", handle)
    assert rig.server.core.content("f") == data[: 3 * MIB]
    rig.writing.truncate("/f", 5)
    assert rig.server.core.content("f") == data[:5]


def test_what_is_still_open_is_saved_when_the_folder_is_unmounted(rig: MountRig) -> None:
    handle = rig.writing.create("/f", 0o644, os.O_WRONLY)
    rig.writing.write("/f", b"open", 0, handle)
    rig.writing.destroy("/")
    assert rig.server.core.content("f") == b"open"


def test_what_is_written_during_a_rename_is_saved_with_the_next_close(rig: MountRig) -> None:
    """It waits for the rename, and is not taken for saved."""
    rig.server.core.save("other", b"x")
    handle = rig.writing.create("/a", 0o644, os.O_WRONLY)
    rig.writing.write("/a", b"one", 0, handle)
    writing = threading.Thread(target=lambda: rig.writing.write("/a", b"two", 3, handle))

    def write_meanwhile() -> None:
        if rig.server.core.content("a") is not None and not writing.ident:
            writing.start()

    rig.server.core.before_commit = write_meanwhile
    rig.writing.rename("/a", "/b")
    writing.join(PATIENCE_SECONDS)
    rig.server.core.before_commit = lambda: None
    rig.writing.flush("/a", handle)
    rig.writing.release("/a", handle)
    assert rig.server.core.content("b") == b"onetwo"
    assert rig.server.core.content("a") is None


def test_files_that_stay_when_their_folder_is_renamed_are_named(
    rig: MountRig, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A large folder moves file by file, and a locked one stays."""
    rig.server.core.save("d/f", b"x")
    stays = FolderProblem("d/f", Problem("locked", 423, "ben holds the lock"))
    change = FolderChange("1", "move", "files", "d/", "ann", "incomplete", 900, 899, 1, 0.0, problems=[stays])
    monkeypatch.setattr(rig.api, "move_folder", lambda *_, **__: change)
    assert _number(rig.writing.rename, "/d", "/e") == errno.EBUSY
    assert "1 of 900 files stay in d, such as d/f: ben holds the lock" in caplog.text


def test_refused_operations_have_their_numbers(rig: MountRig) -> None:
    rig.server.core.save("d/f", b"x")
    rig.server.core.save("f", b"x")
    writing = rig.writing
    assert _number(writing.open, "/d", os.O_WRONLY) == errno.EISDIR
    assert _number(writing.rmdir, "/d") == errno.ENOTEMPTY
    assert _number(writing.rename, "/f", "/d") == errno.EISDIR
    assert _number(writing.rename, "/d", "/f") == errno.ENOTDIR
    assert _number(writing.create, "/f", 0o644, os.O_WRONLY) == errno.EEXIST
    assert _number(writing.chown, "/f", os.getuid() + 1, -1) == errno.EPERM
    assert writing.chown("/f", os.getuid(), -1) == 0
    assert _number(writing.unlink, "/missing") == errno.ENOENT


@pytest.mark.parametrize(("name", "number"), [("/" + "n" * 300, errno.ENAMETOOLONG), ("/a\nb", errno.EINVAL)])
def test_no_name_is_given_that_the_folder_cannot_show(rig: MountRig, name: str, number: int) -> None:
    """A file would disappear with its new name, and a folder with all that is in it."""
    rig.server.core.save("d/f", b"x")
    rig.server.core.save("f", b"x")
    rig.asked()
    for refused in (
        lambda: rig.writing.create(name, 0o644, os.O_WRONLY),
        lambda: rig.writing.mkdir(name, 0o755),
        lambda: rig.writing.rename("/f", name),
        lambda: rig.writing.rename("/d", name),
    ):
        assert _number(refused) == number
    assert {method for method, _ in rig.asked()} <= {"GET"}
