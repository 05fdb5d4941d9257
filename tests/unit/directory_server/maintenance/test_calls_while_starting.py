"""Calls before the directory knows that its metadata is current: held unless listed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from directory_server.maintenance.calls_while_starting import ANSWERED_WHILE_STARTING
from lockstep_store.runtime.tls.identity import ensure_authority
from lockstep_store.wire.errors import OutOfDate, Starting
from lockstep_store.wire.messages import (
    buckets,
    files,
    locks,
    programs,
    recovery,
    s3,
    servers,
    targets,
    uploads,
    writes,
)
from lockstep_store.wire.messages.servers import RegisterRequest, SeenMarks
from tests.unit.directory_server.api.directory_calls import Directory

HELD_WHILE_STARTING = {
    call.path
    for call in (
        writes.BEGIN,
        writes.GIVE_UP,
        files.DELETE,
        files.DELETE_MANY,
        files.COPY,
        buckets.CREATE_BUCKET,
        buckets.CHANGE_BUCKET,
        buckets.DELETE_BUCKET,
        locks.ACQUIRE,
        locks.RELEASE,
        uploads.CREATE_UPLOAD,
        uploads.ABORT_UPLOAD,
        s3.PUT_BUCKET_SETTING,
        s3.PUT_OBJECT_SETTING,
        targets.PUT_NOTIFICATION,
        recovery.RECOVER,
        programs.REVOKE_PROGRAM,
        servers.COMMIT,
        servers.COLLECT,
        servers.FOUND,
    )
}
BACKUP = "/v1/backup"
"""A stream, which `admit` does not see; it changes nothing."""


@pytest.fixture
def restarted(tmp_path: Path) -> Iterator[Directory]:
    """A directory that was started again and has heard of none of its three file servers yet."""
    authority = ensure_authority(tmp_path / "certs")
    first = Directory(tmp_path, authority)
    first.file_servers_up("1", "2", "3")
    first.server.stop()
    directory = Directory(tmp_path, authority)
    yield directory
    directory.server.stop()


def test_each_registered_call_is_answered_or_held(restarted: Directory) -> None:
    """A call that is added must be put into one of the two lists; until then it is held."""
    calls = {path for method, path in restarted.server.wsgi.routes if method == "POST" and path.startswith("/v1/")}
    assert calls - {BACKUP} == ANSWERED_WHILE_STARTING | HELD_WHILE_STARTING
    assert not ANSWERED_WHILE_STARTING & HELD_WHILE_STARTING


@pytest.mark.parametrize("path", [*sorted(HELD_WHILE_STARTING), "/v1/added-later"])
def test_calls_that_are_not_listed_are_held(restarted: Directory, path: str) -> None:
    """Until enough file servers have registered, unknown calls included."""
    admit = restarted.server.wsgi.admit
    assert admit is not None
    with pytest.raises(Starting, match="waiting for file servers"):
        admit(path)


def test_listed_calls_are_answered(restarted: Directory) -> None:
    """Reads and registering go on."""
    admit = restarted.server.wsgi.admit
    assert admit is not None
    for path in ANSWERED_WHILE_STARTING:
        admit(path)


def test_an_open_directory_checks_no_call(restarted: Directory) -> None:
    """Once enough file servers have registered, the check is off the path of calls and of lock grants."""
    restarted.file_servers_up("1", "2")
    assert restarted.server.wsgi.admit is None
    assert restarted.server.locks.may_grant is None


def test_a_server_that_is_ahead_puts_the_check_back(restarted: Directory) -> None:
    """If it registers after the directory opened, every call is refused from then on."""
    restarted.file_servers_up("1", "2")
    ahead = RegisterRequest("https://server-3", "store-3", seen=SeenMarks(epoch=99, mark=7))
    with pytest.raises(OutOfDate):
        restarted.call(servers.REGISTER, ahead, "file_server", "3")
    with pytest.raises(OutOfDate):
        restarted.call(files.LOOKUP, files.LookupRequest([]))
    admit = restarted.server.wsgi.admit
    assert admit is not None
    with pytest.raises(OutOfDate):
        admit("/v1/added-later")


def test_a_server_that_is_ahead_wins_over_the_end_of_the_wait(
    restarted: Directory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If it registers at the very moment at which the wait ends, the directory stays closed."""
    epochs = restarted.server.epochs
    ahead = RegisterRequest("https://server-3", "store-3", seen=SeenMarks(epoch=99, mark=7))

    def since_start() -> float:
        with pytest.raises(OutOfDate):
            epochs.compare("3", ahead)
        return 1e9

    monkeypatch.setattr(restarted.server.clock, "since_start", since_start)
    assert not epochs.is_open
    assert restarted.server.wsgi.admit is not None
