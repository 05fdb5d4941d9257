"""Reading a file of which the directory knows that every copy is damaged."""

from __future__ import annotations

import msgspec
import pytest

from lockstep_store.wire.errors import Damaged, Unavailable, to_problem
from lockstep_store.wire.messages.base import Nothing
from lockstep_store.wire.messages.files import FileVersion
from lockstep_store.wire.messages.servers import DamagedRequest
from tests.fakes.proxy_rig import ProxyRig, noise


def call_damaged(rig: ProxyRig, path: str, last_good: str = "") -> None:
    """The directory's metadata says so from now on."""
    versions = rig.directory.versions["files", path]
    versions[-1] = msgspec.structs.replace(versions[-1], damaged=True, last_good_version=last_good)


@pytest.mark.parametrize("size", [5000, 9_000_000])
@pytest.mark.parametrize("last_good", ["0000000000000007", ""])
def test_the_error_names_the_file_and_its_last_good_version(rig: ProxyRig, size: int, last_good: str) -> None:
    """When no server gives the bytes and the metadata says that all copies are damaged, reading ends in a refusal that
    trying again cannot mend, never in bytes."""
    rig.publish("report.txt", noise(1, size))
    call_damaged(rig, "report.txt", last_good)
    rig.one.down = rig.two.down = True
    with pytest.raises(Damaged) as refused:
        rig.read("report.txt")
    problem = to_problem(refused.value)
    assert (problem.code, problem.status, problem.retry) == ("damaged", 500, False)
    assert problem.facts["path"] == "report.txt"
    assert problem.facts["last_good_version"] == last_good
    assert "report.txt" in problem.detail
    assert (last_good or "no version can be read") in problem.detail


@pytest.mark.parametrize("size", [5000, 9_000_000])
def test_a_wrong_report_loses_nothing(rig: ProxyRig, size: int) -> None:
    """As long as some server does give the right bytes, they are served, whatever was said about them."""
    content = noise(2, size)
    rig.publish("report.txt", content)
    call_damaged(rig, "report.txt")
    rig.one.down = True
    assert rig.read("report.txt")[0] == content


def test_servers_that_are_only_away_are_worth_another_try(rig: ProxyRig) -> None:
    """Without the metadata's word that all is damaged, the refusal says: try again."""
    rig.publish("report.txt", noise(3, 5000))
    rig.one.down = rig.two.down = True
    with pytest.raises(Unavailable):
        rig.read("report.txt")


@pytest.mark.parametrize("size", [5000, 900_000])
def test_the_first_read_of_a_wholly_damaged_file_says_so(
    rig: ProxyRig, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The directory learns from this read that no copy is good, so nobody is told to try again."""
    content = noise(4, size)
    version = rig.publish("report.txt", content)
    for server in (rig.one, rig.two):
        server.flip(next(iter(server.manifests[version.digest].chunks))[0])
    learn_from_reports(rig, monkeypatch, version)
    with pytest.raises(Damaged, match="0000000000000007"):
        rig.read("report.txt")


@pytest.mark.parametrize("place", [0, 1, 5, -1])
@pytest.mark.parametrize("size", [900_000, 9_000_000])
def test_damage_anywhere_in_a_file_is_said_at_once(
    rig: ProxyRig, size: int, place: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """File servers find a chunk damaged while their reply is under way, so that it breaks off without a reason: the
    first read ends with the reason all the same, whichever window of it the chunk is in."""
    version = rig.publish("report.txt", noise(5, size))
    chunks = list(rig.one.manifests[version.digest].chunks)
    damaged = chunks[min(place, len(chunks) - 1)][0]
    for server in (rig.one, rig.two):
        server.found_damaged = {damaged}
    learn_from_reports(rig, monkeypatch, version)
    with pytest.raises(Damaged, match="0000000000000007"):
        rig.read("report.txt")
    assert sorted(rig.directory.damaged) == [("1", version.digest), ("2", version.digest)], "each is reported once"


def test_damage_at_one_server_and_another_that_is_away_is_worth_another_try(
    rig: ProxyRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only the directory knows whether a good copy is left."""
    version = rig.publish("report.txt", noise(6, 9_000_000))
    rig.one.found_damaged = {list(rig.one.manifests[version.digest].chunks)[1][0]}
    rig.two.down = True
    learn_from_reports(rig, monkeypatch, version)
    with pytest.raises(Unavailable):
        rig.read("report.txt")


def learn_from_reports(rig: ProxyRig, monkeypatch: pytest.MonkeyPatch, version: FileVersion) -> None:
    """Let the directory call the version damaged once both holders are reported."""
    note = rig.directory._damaged

    def damaged(request: DamagedRequest) -> Nothing:
        reply = note(request)
        if {holder for holder, digest in rig.directory.damaged if digest == version.digest} == {"1", "2"}:
            call_damaged(rig, "report.txt", "0000000000000007")
        return reply

    monkeypatch.setattr(rig.directory, "_damaged", damaged)
