"""What programs' work costs in requests: bounds that no change may raise without a reason."""

from __future__ import annotations

import contextlib
import os
from collections import Counter
from collections.abc import Callable

import pytest

from tests.unit.client.mount.mount_rig import MountRig

SAVE = "PUT /api/v1/files/files/{path}"
READ = "GET /api/v1/files/files/{path}"
REMOVE = "DELETE /api/v1/files/files/{path}"
LIST = "GET /api/v1/files/files"
MOVE = "POST /api/v1/copy"
NEW_FOLDER = "POST /api/v1/folders"
FILES = 5


def _cost(rig: MountRig, work: Callable[[], object]) -> Counter[str]:
    """The requests that work causes, also when the journal has told of it and the names are looked at again."""
    rig.asked()
    work()
    rig.follow()
    rig.names()
    routes = Counter[str]()
    for method, path in rig.asked():
        is_file = path.startswith("/api/v1/files/files/")
        routes[f"{method} {'/api/v1/files/files/{path}' if is_file else path}"] += 1
    return routes


def _exists(rig: MountRig, path: str) -> bool:
    """What the kernel asks before each call that names a file."""
    with contextlib.suppress(FileNotFoundError):
        return bool(rig.writing.getattr(path))
    return False


def _create(rig: MountRig, path: str, *, sync: bool = False) -> None:
    """As a program does: the kernel looks the name up, and asks for the attributes of the open file."""
    assert not _exists(rig, path)
    handle = rig.writing.create(path, 0o644, os.O_WRONLY)
    rig.writing.getattr(path, handle)
    rig.writing.write(path, path.encode(), 0, handle)
    if sync:
        rig.writing.fsync(path, 0, handle)
    rig.writing.flush(path, handle)
    rig.writing.release(path, handle)


@pytest.fixture(autouse=True)
def _looked_at(rig: MountRig) -> None:
    rig.server.core.save("other", b"")
    rig.names()


def test_a_new_file_costs_its_save(rig: MountRig) -> None:
    assert _cost(rig, lambda: [_create(rig, f"/f{number}") for number in range(FILES)]) == {SAVE: FILES}


def test_an_archive_costs_one_request_for_each_file_and_folder(rig: MountRig) -> None:
    """A folder that was created here is not listed: it is known to be empty."""

    def extract() -> None:
        for folder in ("/d", "/d/e"):
            assert not _exists(rig, folder)
            rig.writing.mkdir(folder, 0o755)
            for number in range(FILES):
                _create(rig, f"{folder}/f{number}")
        assert sorted(name for name, _, _ in rig.writing.readdir("/d")) == [
            ".",
            "..",
            "e",
            *map("f{}".format, range(5)),
        ]

    assert _cost(rig, extract) == {NEW_FOLDER: 2, SAVE: 2 * FILES}


def test_saving_by_rename_costs_two_commits(rig: MountRig) -> None:
    """Also again and again with the same name in between, which the journal reports as deleted: Git's lock files."""
    rig.server.core.save("f", b"before")
    rig.follow()
    rig.names()

    def save() -> None:
        _create(rig, "/f.lock", sync=True)
        assert _exists(rig, "/f")
        rig.writing.rename("/f.lock", "/f")
        assert _exists(rig, "/f")
        rig.follow()

    assert _cost(rig, lambda: [save() for _ in range(3)]) == {SAVE: 3, MOVE: 3}


def test_a_removed_name_costs_its_removal(rig: MountRig) -> None:
    _create(rig, "/f")
    rig.follow()

    def remove() -> None:
        assert _exists(rig, "/f")
        rig.writing.unlink("/f")
        rig.follow()
        assert not _exists(rig, "/f")

    assert _cost(rig, remove) == {REMOVE: 1}


def test_reading_a_small_file_costs_one_request(rig: MountRig) -> None:
    """Each time: opening it asks whether it is current. Looking at it costs nothing."""
    _create(rig, "/f")
    rig.follow()

    def read() -> None:
        assert _exists(rig, "/f")
        handle = rig.writing.open("/f", os.O_RDONLY)
        assert rig.writing.read("/f", 100, 0, handle) == b"/f"
        rig.writing.release("/f", handle)

    assert _cost(rig, lambda: [read(), read()]) == {READ: 2}


def test_looking_at_a_folder_costs_one_listing(rig: MountRig) -> None:
    for number in range(FILES):
        rig.server.core.save(f"d/f{number}", b"x")
    rig.follow()

    def look() -> None:
        for name in [name for name, _, _ in rig.writing.readdir("/d")][2:]:
            assert _exists(rig, f"/d/{name}")

    rig.names()
    assert _cost(rig, lambda: [look(), look()]) == {LIST: 1}
