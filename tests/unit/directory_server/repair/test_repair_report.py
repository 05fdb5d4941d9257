"""The repair report, and reading what is damaged: every lost file by its name, with its last good version."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from directory_server.repair import report as reports
from directory_server.repair.planner import RECENTLY_GIVEN_UP_SECONDS, RepairPlanner
from directory_server.repair.report import RepairReports
from lockstep_store.wire.errors import LockstepError
from lockstep_store.wire.messages.cluster import LostFile, RepairReportRequest
from lockstep_store.wire.messages.files import FileVersion
from tests.fakes.directory_rig import DirectoryRig


class Rig(DirectoryRig):
    def __init__(self, folder: Path) -> None:
        super().__init__(folder, servers=3)
        self.repair = RepairPlanner(self.store, self.clock, self.membership, self.collector, self.copies, grace=60)
        self.reports = RepairReports(self.store, self.repair)

    def settle(self) -> None:
        while self.repair.step() < 1.0:
            pass

    def damage(self, version: FileVersion) -> None:
        """Every copy fails its check."""
        for holder in self.lookup(version.path, version=version.version).holders:
            self.repair.damaged(holder.id, [version.digest])

    def lost(self, limit: int = 100) -> list[LostFile]:
        """All pages."""
        found, after = [], None
        while True:
            page = self.reports.report(RepairReportRequest("admin", after, limit))
            found += page.lost
            after = page.next_after
            if after is None:
                return found

    def pass_time(self, seconds: int, *ids: str) -> None:
        for _ in range(seconds):
            self.time.advance(1.0)
            for id in ids:
                self.server_up(id)


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    rig = Rig(tmp_path)
    yield rig
    rig.close()


def test_nothing_lost_is_told_at_once(rig: Rig) -> None:
    """A report is finished when every blob was looked at; nothing is walked over when nothing is lost."""
    rig.write("a.txt", b"one")
    assert not rig.reports.report(RepairReportRequest("admin")).finished
    rig.settle()
    report = rig.reports.report(RepairReportRequest("admin"))
    assert (report.finished, report.lost, report.next_after) == (True, [], None)
    assert not report.repair.walking


def test_a_server_that_is_silent_and_still_counts_is_told(rig: Rig) -> None:
    """Until the grace is over nothing is short of copies, though some cannot be reached; nobody shall think so."""
    rig.write("a.txt", b"one")
    rig.settle()
    assert rig.repair.info().silent == []
    rig.pass_time(20, "1", "2")
    rig.settle()
    assert rig.repair.info().silent == ["3"]
    rig.pass_time(60, "1", "2")
    rig.settle()
    assert rig.repair.info().silent == []


def test_damaged_files_are_named_with_their_last_good_version(rig: Rig) -> None:
    """Each version whose every copy is damaged stands in the report, with the newest of its path that can be read."""
    old = rig.write("a.txt", b"old")
    good = rig.write("a.txt", b"good")
    bad = rig.write("a.txt", b"bad")
    only = rig.write("b.txt", b"only")
    rig.write("c.txt", b"fine")
    for version in (bad, only):
        rig.damage(version)
    rig.settle()
    report = {(file.path, file.version): file for file in rig.lost()}
    assert set(report) == {("a.txt", bad.version), ("b.txt", only.version)}
    file = report["a.txt", bad.version]
    assert (file.current, file.damaged, file.last_good_version) == (True, True, good.version)
    assert (file.digest, file.size, len(file.file_servers)) == (bad.digest, 3, 2)
    assert report["b.txt", only.version].last_good_version == ""
    rig.damage(good)
    assert {file.last_good_version for file in rig.lost() if file.version == bad.version} == {old.version}


def test_files_whose_servers_are_away_are_named_too(rig: Rig) -> None:
    """Copies on servers that are down past the grace are not damaged, only away; they are named until one returns."""
    version = rig.write("a.txt", b"content")
    holders = {holder.id for holder in rig.lookup("a.txt").holders}
    rig.pass_time(75, *({"1", "2", "3"} - holders))
    rig.settle()
    (file,) = rig.lost()
    assert (file.version, file.damaged, set(file.file_servers)) == (version.version, False, holders)
    rig.server_up(holders.pop())
    rig.settle()
    assert rig.lost() == []


@pytest.mark.parametrize(("page", "looked_at"), [(1000, 50_000), (3, 50_000), (3, 4)])
def test_pages_join_without_gap_or_repeat(rig: Rig, monkeypatch: pytest.MonkeyPatch, page: int, looked_at: int) -> None:
    """However small the pages and the steps of the walk are, every lost version is named exactly once."""
    monkeypatch.setattr(reports, "PAGE", page)
    monkeypatch.setattr(reports, "MAX_LOOKED_AT", looked_at)
    expected = set()
    for n in range(8):
        for edit in range(3):
            version = rig.write(f"f{n}.txt", b"%d %d" % (n, edit))
            if (n + edit) % 2:
                rig.damage(version)
                expected.add((version.path, version.version))
    rig.settle()
    for limit in (1, 2, 5, 100):
        found = [(file.path, file.version) for file in rig.lost(limit)]
        assert len(found) == len(set(found))
        assert set(found) == expected


def test_a_lookup_says_when_nothing_is_good_any_more(rig: Rig) -> None:
    """With one good copy left a lookup is as always, the damaged holder last; with none it names the last good one."""
    good = rig.write("a.txt", b"good")
    bad = rig.write("a.txt", b"bad")
    first, second = (holder.id for holder in rig.lookup("a.txt").holders)
    rig.repair.damaged(first, [bad.digest])
    found = rig.lookup("a.txt")
    assert ([holder.id for holder in found.holders], found.damaged) == ([second, first], False)
    rig.repair.damaged(second, [bad.digest])
    found = rig.lookup("a.txt")
    assert (found.damaged, found.last_good_version) == (True, good.version)
    assert len(found.holders) == 2
    rig.time.advance(RECENTLY_GIVEN_UP_SECONDS + 1)  # until then it may have been said before the damage was found
    rig.repair.held(first, [bad.digest])
    assert not rig.lookup("a.txt").damaged


def test_a_new_write_of_damaged_content_makes_it_whole(rig: Rig) -> None:
    """Content all of whose copies are damaged is not linked but sent again, and its commit heals the copies."""
    bad = rig.write("a.txt", b"bad")
    rig.damage(bad)
    begun = rig.begin("b.txt", digest=bad.digest, size=3)
    assert begun.ticket is not None
    assert rig.commit(begun, b"bad").copies == 2
    assert not rig.lookup("a.txt").damaged
    assert not rig.lookup("b.txt").damaged


def test_a_commit_cannot_count_on_a_copy_that_was_given_up_since(rig: Rig) -> None:
    """A ticket from before the drop names that server in vain; a ticket from after it does not."""
    content = b"content"
    before = rig.begin("b.txt")
    version = rig.write("a.txt", content)
    victim = rig.lookup("a.txt").holders[0].id
    rig.store.write(lambda tx: rig.repair.surplus.remember(tx, victim, version.digest))
    rig.commits._given_up = rig.repair.surplus.given_up
    others = [id for id in ("1", "2", "3") if id != victim]
    with pytest.raises(LockstepError, match="1 of 2 promised copies"):
        rig.commit(before, content, holders=[victim, others[0]])
    rig.time.advance(1.0)
    assert rig.commit(rig.begin("b.txt"), content, holders=[victim, others[0]]).copies == 2
