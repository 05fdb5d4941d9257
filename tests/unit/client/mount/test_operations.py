"""What the kernel asks: attributes, numbers of errors, and space."""

from __future__ import annotations

import errno
import logging
import os
import stat

import pytest

from lockstep_store.client.mount.errnos import number_of
from lockstep_store.wire import errors
from tests.unit.client.mount.mount_rig import MountRig


def _number(call, *args: object) -> int:  # type: ignore[no-untyped-def]
    with pytest.raises(OSError) as refused:
        call(*args)
    assert refused.value.errno is not None
    return refused.value.errno


def test_attributes_are_what_is_known(rig: MountRig) -> None:
    rig.api.put("plans/a.txt", b"12345", metadata={"mtime": "1700000000"})
    found = rig.operations.getattr("/plans/a.txt")
    assert stat.S_ISREG(found["st_mode"])
    assert found["st_mode"] & 0o777 == 0o444
    assert (found["st_size"], found["st_nlink"], found["st_uid"]) == (5, 1, os.getuid())
    assert found["st_mtime"] == found["st_ctime"] == 1_700_000_000_000_000_000
    folder = rig.operations.getattr("/plans")
    assert stat.S_ISDIR(folder["st_mode"])
    assert folder["st_mode"] & 0o777 == 0o555
    assert stat.S_ISDIR(rig.operations.getattr("/")["st_mode"])


def test_permissions_are_as_they_are_shown(rig: MountRig) -> None:
    """The kernel asks for programs such as `test -x`, and before it changes to a folder."""
    rig.api.put("d/plain", b"1")
    rig.api.put("d/run.sh", b"1", metadata={"mode": str(0o100755)})
    assert rig.operations.access("/d", os.R_OK | os.X_OK) == 0
    assert rig.operations.access("/d/run.sh", os.R_OK | os.X_OK) == 0
    assert rig.operations.access("/d/plain", os.R_OK) == 0
    assert _number(rig.operations.access, "/d/plain", os.X_OK) == errno.EACCES
    assert _number(rig.operations.access, "/d/plain", os.W_OK) == errno.EACCES
    assert rig.writing.access("/d/plain", os.R_OK | os.W_OK) == 0
    assert _number(rig.operations.access, "/d/missing", os.F_OK) == errno.ENOENT


def test_inode_numbers_stay_and_agree(rig: MountRig) -> None:
    """A listing and the file itself show one number, which a new version does not change."""
    rig.server.core.save("plans/a", b"")
    rig.server.core.save("plans/b", b"")
    listed = {name: attributes["st_ino"] for name, attributes, _ in rig.operations.readdir("/plans")}
    before = rig.operations.getattr("/plans/a")["st_ino"]
    rig.server.core.save("plans/a", b"new")
    rig.follow()
    assert rig.operations.getattr("/plans/a")["st_ino"] == before == listed["a"] != listed["b"]


def test_a_file_is_opened_read_and_released(rig: MountRig) -> None:
    rig.server.core.save("a", b"12345")
    handle = rig.operations.open("/a", os.O_RDONLY)
    assert rig.operations.read("/a", 3, 1, handle) == b"234"
    assert rig.operations.release("/a", handle) == 0


def test_refusals_have_their_numbers(rig: MountRig) -> None:
    rig.server.core.save("folder/a", b"")
    operations = rig.operations
    assert _number(operations.getattr, "/missing") == errno.ENOENT
    assert _number(operations.getattr, "/not-utf8-\udcff") == errno.ENOENT
    assert _number(operations.readdir, "/missing") == errno.ENOENT
    assert _number(operations.open, "/folder", os.O_RDONLY) == errno.EISDIR
    assert _number(operations.open, "/folder/a", os.O_RDWR) == errno.EROFS


def test_a_file_that_may_not_be_read_says_so(rig: MountRig, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is listed without permissions, and opening it is refused, also if it could be read a moment ago."""
    rig.server.core.save("a", b"")
    entry = rig.tree.lookup("a").file
    assert entry is not None
    entry.readable = False
    assert rig.operations.getattr("/a")["st_mode"] & 0o777 == 0

    def forbid(_: object) -> None:
        raise errors.Forbidden("you may not read a")

    monkeypatch.setattr(rig.server.core, "open", forbid)
    assert _number(rig.operations.open, "/a", os.O_RDONLY) == errno.EACCES


def test_an_unreachable_cluster_is_named_in_the_log_once(rig: MountRig, caplog: pytest.LogCaptureFixture) -> None:
    """Programs get EHOSTDOWN at once, not one wait for each file."""
    rig.server.core.save("a", b"")
    rig.server.close()
    rig.clock.advance(9.0)
    with caplog.at_level(logging.WARNING, "lockstep.mount"):
        assert [_number(rig.operations.open, "/a", os.O_RDONLY) for _ in range(3)] == [errno.EHOSTDOWN] * 3
    assert [record.message.partition(":")[0] for record in caplog.records] == ["open /a"]


def test_space_is_what_the_cluster_has(rig: MountRig) -> None:
    """And is not asked for with each look."""
    found = rig.operations.statfs("/")
    assert 0 < found["f_bavail"] <= found["f_blocks"]
    rig.asked()
    rig.operations.statfs("/")
    assert rig.asked() == []


def test_every_error_has_a_number() -> None:
    """Classes without one of their own have that of their base."""
    assert number_of(errors.BucketNotEmpty("x")) == errno.EBUSY
    assert number_of(errors.InternalError("x")) == errno.EIO
    assert number_of(errors.SecondFactorNeeded("x")) == errno.EACCES
    assert number_of(errors.PeerUnreachable("x")) == errno.EHOSTDOWN
    assert {number_of(cls("x")) for cls in errors.BY_CODE.values()} <= set(errno.errorcode)
