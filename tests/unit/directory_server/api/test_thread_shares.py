"""Which call of the directory occupies which threads."""

from __future__ import annotations

import msgspec

from directory_server.api.thread_shares import ENDING, OF_PROGRAMS, DirectoryShares
from lockstep_store.wire.messages import cluster, files, locks
from tests.unit.directory_server.api.directory_calls import ALL_CALLS, FROM_FILE_SERVERS


def test_what_people_ask_for_has_a_share() -> None:
    """Calls in a person's name are bounded, and so is each new call until somebody lists it."""
    shares = DirectoryShares(8)
    for call in ALL_CALLS:
        in_a_name = any(
            word in field.name for field in msgspec.structs.fields(call.request) for word in ("credential", "password")
        )
        assert not (in_a_name and shares.of(call.path) is None), call.path
    assert shares.of("/v1/added-later") is shares.of(files.LIST.path) is shares.people


def test_calls_of_file_servers_are_not_bounded() -> None:
    """They take part in no flood: each program makes few of them at a time."""
    shares = DirectoryShares(8)
    assert all(shares.of(call.path) is None for call in FROM_FILE_SERVERS)
    assert {call.path for call in FROM_FILE_SERVERS} < OF_PROGRAMS
    assert all(path in {call.path for call in ALL_CALLS} for path in OF_PROGRAMS | ENDING)


def test_locks_and_ends_have_shares_of_their_own() -> None:
    """Joining the cluster is no one's in the name of a program yet, so it is bounded with people's calls."""
    shares = DirectoryShares(8)
    assert shares.of(locks.ACQUIRE.path) is shares.locking
    assert shares.of(locks.RENEW.path) is shares.of(locks.RELEASE.path) is shares.ending
    assert shares.of(cluster.ENROL.path) is shares.people
