"""Deletions of one call: each with its own outcome, in order, in short transactions, and safe to repeat."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from directory_server.files import many_deletions
from lockstep_store.runtime.tls.identity import ensure_authority
from lockstep_store.wire.messages.files import DELETE_MANY, DeleteManyRequest, DeleteRequest
from lockstep_store.wire.messages.locks import ACQUIRE, AcquireRequest, LockPath
from tests.unit.directory_server.api.directory_calls import Directory


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[Directory]:
    directory = Directory(tmp_path, ensure_authority(tmp_path / "certs"))
    directory.file_servers_up("1", "2")
    yield directory
    directory.server.stop()


def deletion(directory: Directory, path: str, credential: str = "") -> DeleteRequest:
    return DeleteRequest(credential or directory.admin, f"write-id-of-deletion-{path}"[:64], "files", path)


def test_each_deletion_succeeds_or_fails_by_itself(directory: Directory) -> None:
    """A locked file, an unknown person, a bad name and a missing file do not hold up the others."""
    for name in ("a", "locked", "b"):
        directory.write(directory.admin, name, name.encode(), f"write-id-of-{name:0>9}")
    other = directory.person("other")
    directory.call(ACQUIRE, AcquireRequest(other, [LockPath("files", "locked")], "request-number-1"))
    items = [
        deletion(directory, "a"),
        deletion(directory, "locked"),
        deletion(directory, "b", "nobody"),
        deletion(directory, ""),
        deletion(directory, "missing"),
        deletion(directory, "b"),
    ]
    reply = directory.call(DELETE_MANY, DeleteManyRequest(items))
    codes = [outcome.problem.code if outcome.problem else "" for outcome in reply.results]
    assert codes == ["", "locked", "not_logged_in", "bad_name", "", ""]
    assert [outcome.value.existed for outcome in reply.results if outcome.value] == [True, False, True]
    again = directory.call(DELETE_MANY, DeleteManyRequest(items))
    assert [outcome.value for outcome in again.results] == [outcome.value for outcome in reply.results]


def test_a_thousand_deletions_are_a_few_short_transactions(
    directory: Directory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Other writers wait for fifty deletions at most."""
    for number in range(120):
        directory.write(directory.admin, f"{number}", b"x", f"write-id-of-{number:0>9}")
    sizes: list[int] = []
    alone, write = many_deletions.attempt, directory.store.write

    def counted(work: object) -> object:
        before = len(done)
        result = write(work)  # type: ignore[arg-type]
        sizes.append(len(done) - before)
        return result

    done: list[object] = []

    def attempt(work: object, *arguments: object) -> object:
        if len(arguments) > 1:
            done.append(arguments)
        return alone(work, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(many_deletions, "attempt", attempt)
    monkeypatch.setattr(directory.store, "write", counted)
    items = [deletion(directory, f"{number}") for number in range(120)]
    reply = directory.call(DELETE_MANY, DeleteManyRequest(items))
    assert all(outcome.value and outcome.value.existed for outcome in reply.results)
    assert sizes == [50, 50, 20]
