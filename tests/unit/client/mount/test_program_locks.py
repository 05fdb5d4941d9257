"""flock and fcntl in a mounted folder, without a kernel: whose a lock is, what it costs, saves and shows."""

from __future__ import annotations

import errno
import fcntl
import os
import threading
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from lockstep_store.client.mount.working_file import OpenedFile
from lockstep_store.wire.messages.locks import LockPath
from tests.unit.client.mount.mount_rig import MountRig
from tests.waiting import PATIENCE_SECONDS, wait_until

ANN, BOB = 111, 222
"""Two programs, as the kernel names the owners of their locks."""
TRY = fcntl.LOCK_EX | fcntl.LOCK_NB


def _struct(kind: int, start: int = 0, length: int = 0, process: int = 0) -> SimpleNamespace:
    return SimpleNamespace(l_type=kind, l_whence=0, l_start=start, l_len=length, l_pid=process)


def _lock(rig: MountRig, handle: int, owner: int, kind: int, *span: int, command: int = fcntl.F_SETLK) -> None:
    rig.writing.lock("/f", handle, owner, command, _struct(kind, *span))


def _number(call: Callable[..., object], *args: object, **options: object) -> int | None:
    with pytest.raises(OSError) as refused:
        call(*args, **options)
    return refused.value.errno


def _locked(rig: MountRig) -> list[list[LockPath]]:
    return [lock.paths for lock in rig.api.locks().locks]


@pytest.fixture
def handle(rig: MountRig) -> int:
    """A file that is open for reading and writing."""
    rig.server.core.save("f", b"12345")
    return rig.writing.open("/f", os.O_RDWR)


def test_programs_of_this_machine_share_its_lock(rig: MountRig, handle: int) -> None:
    """Readers both, a writer alone; the cluster's lock is held until the last of them has ended its own."""
    other = rig.writing.open("/f", os.O_RDONLY)
    _lock(rig, handle, ANN, fcntl.F_RDLCK)
    _lock(rig, other, BOB, fcntl.F_RDLCK)
    assert _locked(rig) == [[LockPath("files", "f")]]
    assert _number(_lock, rig, handle, ANN, fcntl.F_WRLCK) == errno.EAGAIN
    _lock(rig, handle, ANN, fcntl.F_UNLCK)
    assert len(_locked(rig)) == 1
    _lock(rig, other, BOB, fcntl.F_UNLCK)
    assert _locked(rig) == []


def test_a_close_ends_the_locks_of_its_program_only(rig: MountRig, handle: int) -> None:
    """The kernel sends an unlock with every close, also of a child that ends and has none."""
    _lock(rig, handle, ANN, fcntl.F_WRLCK)
    rig.writing.flush("/f", handle)
    _lock(rig, handle, BOB, fcntl.F_UNLCK)
    assert len(_locked(rig)) == 1
    rig.writing.flush("/f", handle)
    _lock(rig, handle, ANN, fcntl.F_UNLCK)
    assert _locked(rig) == []


def test_a_close_ends_the_programs_locks_through_any_descriptor(rig: MountRig, handle: int) -> None:
    """As POSIX has it: also of one that only reads, and that was never locked."""
    reader = rig.writing.open("/f", os.O_RDONLY)
    _lock(rig, handle, ANN, fcntl.F_WRLCK)
    _lock(rig, reader, ANN, fcntl.F_UNLCK)
    assert _locked(rig) == []
    _lock(rig, handle, BOB, fcntl.F_WRLCK)
    _lock(rig, handle, BOB, fcntl.F_UNLCK)


def test_two_threads_that_lock_one_reader_first_share_it(rig: MountRig, handle: int) -> None:
    """It is open once, stays readable meanwhile, and nothing is left when it is closed."""
    rig.writing.write("/f", b"new", 0, handle)
    reader = rig.writing.open("/f", os.O_RDONLY)
    both = threading.Barrier(2, timeout=PATIENCE_SECONDS)
    really = rig.workspace.open

    def together(*args: Any, **options: Any) -> OpenedFile:
        opened = really(*args, **options)
        both.wait()
        return opened

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rig.workspace, "open", together)
        threads = [
            threading.Thread(target=_lock, args=(rig, reader, owner, fcntl.F_RDLCK, owner, 1)) for owner in (ANN, BOB)
        ]
        before = rig.writing._handle(reader)
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PATIENCE_SECONDS)
    assert before.read(0, 10) == b"new45"
    file = rig.workspace.find("f")
    assert file is not None
    assert file.users == 2
    for one in (reader, handle):
        rig.writing.release("/f", one)
    assert file.users == 0


def test_flock_is_of_the_open_file_and_apart_from_fcntl(rig: MountRig, handle: int) -> None:
    other = rig.writing.open("/f", os.O_RDWR)
    rig.writing.flock("/f", handle, TRY)
    assert _number(rig.writing.flock, "/f", other, fcntl.LOCK_SH | fcntl.LOCK_NB) == errno.EAGAIN
    _lock(rig, other, ANN, fcntl.F_WRLCK)
    rig.writing.flock("/f", handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    rig.writing.flock("/f", other, fcntl.LOCK_SH | fcntl.LOCK_NB)
    _lock(rig, other, ANN, fcntl.F_UNLCK)
    rig.writing.release("/f", handle)
    assert len(_locked(rig)) == 1
    rig.writing.flock("/f", other, fcntl.LOCK_UN)
    assert _locked(rig) == []


def test_a_lock_shows_what_others_wrote_and_its_end_saves(rig: MountRig, handle: int) -> None:
    """Also to a program that had it open before: it may read and write on. Names beside it are looked up again."""
    reader = rig.writing.open("/f", os.O_RDONLY)
    assert sorted(rig.names()) == ["f"]
    rig.server.core.save("f", b"theirs")
    rig.server.core.save("f-journal", b"")
    for one in (handle, reader):
        rig.writing.flock("/f", one, fcntl.LOCK_SH | fcntl.LOCK_NB)
        assert rig.writing.read("/f", 10, 0, one) == b"theirs"
    assert sorted(rig.names()) == ["f", "f-journal"]
    rig.writing.write("/f", b"OUR", 0, handle)
    rig.writing.flock("/f", reader, fcntl.LOCK_UN)
    assert rig.server.core.content("f") == b"theirs"
    rig.writing.flock("/f", handle, fcntl.LOCK_UN)
    assert rig.server.core.content("f") == b"OURirs"
    assert _locked(rig) == []


def test_somebody_elses_lock_refuses(rig: MountRig, handle: int) -> None:
    """And F_GETLK tells of it, as of one on the whole file."""
    with rig.api.lock("f"):
        assert _number(rig.writing.flock, "/f", handle, fcntl.LOCK_SH | fcntl.LOCK_NB) == errno.EAGAIN
        assert _number(_lock, rig, handle, ANN, fcntl.F_WRLCK, 5, 1) == errno.EAGAIN
        asked = _struct(fcntl.F_RDLCK, 5, 1)
        rig.writing.lock("/f", handle, ANN, fcntl.F_GETLK, asked)
        assert (asked.l_type, asked.l_start, asked.l_len, asked.l_pid) == (fcntl.F_WRLCK, 0, 0, 0)
    asked = _struct(fcntl.F_WRLCK)
    rig.writing.lock("/f", handle, ANN, fcntl.F_GETLK, asked)
    assert asked.l_type == fcntl.F_UNLCK
    assert _locked(rig) == []
    rig.writing.lock("/f", handle, ANN, fcntl.F_SETLK, _struct(fcntl.F_WRLCK, 3, 4, 4711))
    rig.writing.lock("/f", handle, BOB, fcntl.F_GETLK, asked := _struct(fcntl.F_RDLCK))
    assert (asked.l_type, asked.l_start, asked.l_len, asked.l_pid) == (fcntl.F_WRLCK, 3, 4, 4711)
    _lock(rig, handle, ANN, fcntl.F_UNLCK)


def test_who_waits_is_granted_in_turn(rig: MountRig, handle: int) -> None:
    """Behind others of the cluster, and behind a program of this machine; closing the file does not wait meanwhile."""
    other = rig.writing.open("/f", os.O_RDWR)
    with rig.api.lock("f"):
        waiting = [
            threading.Thread(target=_lock, args=(rig, one, owner, fcntl.F_WRLCK), kwargs={"command": fcntl.F_SETLKW})
            for one, owner in ((handle, ANN), (other, BOB))
        ]
        for thread in waiting:
            thread.start()
        wait_until(lambda: rig.api.locks().waiters, what="a place in line")
        third = rig.writing.open("/f", os.O_RDWR)
        rig.writing.flush("/f", third)
        rig.writing.release("/f", third)
        assert len(rig.api.locks().waiters) == 1
    wait_until(lambda: not all(thread.is_alive() for thread in waiting), what="the first of both")
    first = ANN if not waiting[0].is_alive() else BOB
    assert any(thread.is_alive() for thread in waiting)
    _lock(rig, handle, first, fcntl.F_UNLCK)
    for thread in waiting:
        thread.join(PATIENCE_SECONDS)
        assert not thread.is_alive()
    _lock(rig, handle, ANN + BOB - first, fcntl.F_UNLCK)
    assert _locked(rig) == []


@pytest.mark.parametrize("is_remote", [True, False])
def test_a_signal_ends_waiting(rig: MountRig, handle: int, is_remote: bool) -> None:
    """The place in line ends, too, and nothing is left that would take the lock later."""
    held = rig.api.lock("f")
    if not is_remote:
        held.release()
        _lock(rig, handle, BOB, fcntl.F_WRLCK)
    numbers: list[int | None] = []
    waiting = threading.Thread(target=lambda: numbers.append(_number(rig.writing.flock, "/f", handle, fcntl.LOCK_EX)))
    if not is_remote:
        waiting = threading.Thread(
            target=lambda: numbers.append(_number(_lock, rig, handle, ANN, fcntl.F_WRLCK, command=fcntl.F_SETLKW))
        )
    waiting.start()
    if is_remote:
        wait_until(lambda: rig.api.locks().waiters, what="a place in line")
    rig.interrupted.set()
    waiting.join(PATIENCE_SECONDS)
    assert numbers == [errno.EINTR]
    wait_until(lambda: not rig.api.locks().waiters, what="the end of the place in line")
    held.release()
    _lock(rig, handle, BOB, fcntl.F_UNLCK)
    wait_until(lambda: not _locked(rig), what="the end of every lock")


def test_two_programs_that_would_wait_for_each_other_are_told(rig: MountRig, handle: int) -> None:
    _lock(rig, handle, ANN, fcntl.F_WRLCK, 0, 1)
    _lock(rig, handle, BOB, fcntl.F_WRLCK, 1, 1)
    numbers: list[int | None] = []

    def wait(owner: int, start: int) -> None:
        try:
            _lock(rig, handle, owner, fcntl.F_WRLCK, start, 1, command=fcntl.F_SETLKW)
        except OSError as error:
            numbers.append(error.errno)
        _lock(rig, handle, owner, fcntl.F_UNLCK)

    threads = [threading.Thread(target=wait, args=args) for args in ((ANN, 1), (BOB, 0))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE_SECONDS)
        assert not thread.is_alive()
    assert numbers == [errno.EDEADLK]


def test_what_was_written_under_a_lost_lock_is_not_lost(rig: MountRig, handle: int) -> None:
    """Its end says so, and the next lock keeps it aside if somebody else has changed the file."""
    rig.writing.flock("/f", handle, TRY)
    rig.writing.write("/f", b"mine", 0, handle)
    (lock,) = rig.api.locks().locks
    rig.api.release(lock.id)
    rig.server.core.save("f", b"theirs")
    assert _number(rig.writing.flock, "/f", handle, fcntl.LOCK_UN) == errno.ESTALE
    rig.writing.flock("/f", handle, TRY)
    assert rig.writing.read("/f", 10, 0, handle) == b"theirs"
    kept = [path.read_bytes() for path in rig.unsaved.folder.rglob("*") if path.is_file()]
    assert kept == [b"mine5"]
    rig.writing.write("/f", b"T", 0, handle)
    rig.writing.flock("/f", handle, fcntl.LOCK_UN)
    assert rig.server.core.content("f") == b"Theirs"


def test_a_lock_file_that_is_new_here_and_elsewhere_is_one(rig: MountRig) -> None:
    """Both create it to lock it; who is second takes over the other's empty file."""
    handle = rig.writing.create("/f", 0o644, os.O_WRONLY)
    held = rig.api.lock("f")
    assert _number(rig.writing.flock, "/f", handle, TRY) == errno.EAGAIN
    rig.server.core.save("f", b"")
    held.release()
    rig.writing.flock("/f", handle, TRY)
    rig.writing.release("/f", handle)
    assert _locked(rig) == []
    assert len(rig.server.core.history["files", "f"]) == 1


def test_a_new_lock_file_is_saved_with_its_first_lock(rig: MountRig) -> None:
    """Others see it, and are refused; who created it at the same moment leaves nothing behind."""
    handle = rig.writing.create("/f", 0o644, os.O_WRONLY)
    rig.writing.flock("/f", handle, TRY)
    assert rig.server.core.content("f") == b""
    assert len(_locked(rig)) == 1
    rig.writing.flush("/f", handle)
    rig.writing.release("/f", handle)
    assert _locked(rig) == []
    with rig.api.lock("g"):
        refused = rig.writing.create("/g", 0o644, os.O_WRONLY)
        assert _number(rig.writing.flock, "/g", refused, TRY) == errno.EAGAIN
        rig.writing.flush("/g", refused)
        rig.writing.release("/g", refused)
    assert [path for path in rig.unsaved.folder.rglob("*") if path.is_file()] == []


def test_a_file_that_others_removed_cannot_be_locked(rig: MountRig, handle: int) -> None:
    rig.api.delete("f")
    assert _number(rig.writing.flock, "/f", handle, TRY) == errno.ESTALE
    assert _locked(rig) == []


def test_a_renamed_file_stays_locked_by_its_new_name(rig: MountRig, handle: int) -> None:
    rig.writing.flock("/f", handle, TRY)
    rig.writing.rename("/f", "/g")
    assert _locked(rig) == [[LockPath("files", "g")]]
    rig.writing.flock("/g", handle, fcntl.LOCK_UN)
    assert _locked(rig) == []


def test_a_folder_that_is_read_only_refuses_locks(rig: MountRig) -> None:
    """The kernel alone would grant them on each machine; what ends a lock is no error."""
    rig.server.core.save("f", b"x")
    handle = rig.operations.open("/f", os.O_RDONLY)
    assert _number(rig.operations.flock, "/f", handle, fcntl.LOCK_SH) == errno.ENOLCK
    assert _number(rig.operations.lock, "/f", handle, ANN, fcntl.F_SETLK, _struct(fcntl.F_RDLCK)) == errno.ENOLCK
    assert rig.operations.flock("/f", handle, fcntl.LOCK_UN) == 0
    assert rig.operations.lock("/f", handle, ANN, fcntl.F_SETLK, _struct(fcntl.F_UNLCK)) == 0


def test_a_lock_costs_three_requests(rig: MountRig, handle: int) -> None:
    """It is taken, the file and the names beside it are looked up, and it is released. Each further one costs none."""
    rig.follow()
    rig.asked()
    _lock(rig, handle, ANN, fcntl.F_RDLCK, 100, 10)
    _lock(rig, handle, BOB, fcntl.F_WRLCK, 0, 10)
    assert rig.writing.getattr("/f")["st_size"] == 5
    _lock(rig, handle, BOB, fcntl.F_UNLCK)
    _lock(rig, handle, ANN, fcntl.F_UNLCK)
    methods = [(method, path.split("/lock-")[0]) for method, path in rig.asked()]
    assert methods == [("POST", "/api/v1/locks"), ("GET", "/api/v1/files/files"), ("DELETE", "/api/v1/locks")]
