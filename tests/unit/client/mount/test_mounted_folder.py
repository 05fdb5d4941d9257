"""What can be mounted, and where a mounted folder keeps what it needs on this machine."""

from __future__ import annotations

from pathlib import Path

import pytest

from lockstep_store.client.client import Client
from lockstep_store.client.mount.mounted_folder import cache_folder, check_source, state_folder
from lockstep_store.wire.errors import NotFound
from tests.fakes.rest import RestServer


def test_a_folder_in_a_bucket_must_exist_and_a_bucket_may_be_empty(server: RestServer, api: Client) -> None:
    check_source(api, "files", "")
    with pytest.raises(NotFound, match="lockstep mkdir"):
        check_source(api, "files", "plans/")
    server.core.save("plans/a", b"x")
    check_source(api, "files", "plans/")


def test_each_mounted_folder_has_places_of_its_own(tmp_path: Path) -> None:
    """In the home folder, or where the standard variables say."""
    home = {"HOME": str(tmp_path)}
    first, second = Path("/home/ada/team"), Path("/home/ada/other")
    assert state_folder(home, first).parent == tmp_path / ".local" / "state" / "lockstep"
    assert cache_folder(home, first).parent == tmp_path / ".cache" / "lockstep"
    assert state_folder(home, first) != state_folder(home, second)
    moved = {**home, "XDG_STATE_HOME": str(tmp_path / "state"), "XDG_CACHE_HOME": str(tmp_path / "cache")}
    assert state_folder(moved, first).parent == tmp_path / "state" / "lockstep"
    assert cache_folder(moved, first).parent == tmp_path / "cache" / "lockstep"
