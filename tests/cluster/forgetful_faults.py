"""Faults in which programs come back knowing less than they did, for histories of a running cluster.

A file server gets an older disk. The directory gets an older copy of its metadata, or none, and refuses to go on; then
its newest comes back, or an administrator accepts the older one. Before that, people are cut off: every acknowledged
change must be in file servers' records.
"""

from __future__ import annotations

import random
import shutil
import sqlite3
import time
from contextlib import closing
from pathlib import Path

from lockstep_store.runtime.storage.redo_files import RedoFile, files_in
from tests.cluster.faults import Fault, FaultMaker
from tests.cluster.history import Traffic
from tests.cluster.placed_cluster import PlacedCluster
from tests.cluster.test_forgetful_programs import accept_older, marks_written, problem_of, refused_start
from tests.linearizability import Operation, Outcome
from tests.waiting import wait_until

FRAGILE = 1
"""The file server with the older disks: two at once would be nobody's fault."""
UNDER_WAY_SECONDS = 1.0
"""For requests that were sent before a cut."""


class ForgetfulFaults(FaultMaker):
    """Makes faults for one cluster, whose copies of earlier moments go to `folder`."""

    def __init__(self, cluster: PlacedCluster, rng: random.Random, traffic: Traffic, folder: Path) -> None:
        super().__init__(cluster, rng)
        self.traffic = traffic
        self._folder = folder
        self._copies = 0

    def any(self) -> Fault:
        """One by chance."""
        return self.rng.choice((self.older_disk, self.older_metadata, self.no_metadata, self.accepted_metadata))()

    def older_disk(self) -> Fault:
        """A file server comes back with its disk of some seconds ago."""
        data, older = self.cluster.data_dir("file_server", FRAGILE), self._place()
        seconds = self._seconds(long=True)

        def begin() -> None:
            self.cluster.kill("file_server", FRAGILE)
            shutil.copytree(data, older)
            self.cluster.start("file_server", FRAGILE)

        def end() -> None:
            self.cluster.kill("file_server", FRAGILE)
            shutil.rmtree(data)
            older.rename(data)
            self.cluster.start("file_server", FRAGILE, wait=False)

        text = f"file_server-{FRAGILE} has its disk of {seconds:.1f} s ago"
        return Fault("older disk", text, seconds, begin, end)

    def older_metadata(self) -> Fault:
        """A snapshot is put in place, refused, and replaced by the newest metadata."""
        older, newest, seconds = self._place(), self._place(), self._seconds(long=True)

        def end() -> None:
            self._await_changes(after=older)
            marks_written(self.cluster)
            self._lose_metadata(newest)
            shutil.copytree(older, self._metadata)
            self._see_it_refused()
            self._put(newest)
            self._go_on()

        return Fault("older metadata", f"metadata of {seconds:.1f} s ago", seconds, lambda: self._snapshot(older), end)

    def no_metadata(self) -> Fault:
        """The metadata's folder is empty: an unmounted disk. The directory ends with a sentence, until it is back."""
        newest, seconds = self._place(), self._seconds(long=False)

        def begin() -> None:
            self._lose_metadata(newest)
            said = refused_start(self.cluster)
            assert "there is no metadata in" in said, said

        def end() -> None:
            self._put(newest)
            self._go_on()

        return Fault("no metadata", "no metadata", seconds, begin, end)

    def accepted_metadata(self) -> Fault:
        """A snapshot is put in place, refused, and accepted: file servers' records have everything since."""
        older, newest, seconds = self._place(), self._place(), self._seconds(long=True)

        def end() -> None:
            self._cut_people_off(after=older)
            wait_until(self._records_are_kept, what="a file server with every record")
            lost_at = time.monotonic()
            self._lose_metadata(newest)
            shutil.rmtree(newest)
            older.rename(self._metadata)
            self._see_it_refused()
            accept_older(self.cluster)
            for path in self.traffic.paths:  # no lock outlives it
                ended = Operation("administrator", "break", path, lost_at, time.monotonic(), Outcome.OK)
                self.traffic.record(ended)
            self._go_on()

        text = f"metadata of {seconds:.1f} s ago, accepted"
        return Fault("accepted metadata", text, seconds, lambda: self._snapshot(older), end)

    # ------------------------------------------------------------ steps

    @property
    def _metadata(self) -> Path:
        return self.cluster.data_dir("directory_server")

    def _place(self) -> Path:
        self._copies += 1
        return self._folder / f"copy-{self._copies}"

    def _snapshot(self, older: Path) -> None:
        self.cluster.kill("directory_server")
        shutil.copytree(self._metadata, older)
        self.cluster.start("directory_server", wait=False)

    def _cut_people_off(self, after: Path) -> None:
        """Let nobody ask the directory, once it has done more than the snapshot `after`; file servers learn of all."""
        self._await_changes(after)
        for number in range(1, len(self.cluster.proxy_urls) + 1):
            self.cluster.place.cut(f"client_proxy-{number}", "directory_server-1", refuse=True)
        time.sleep(UNDER_WAY_SECONDS)
        marks_written(self.cluster)

    def _await_changes(self, after: Path) -> None:
        seen = _newest_cursor(after)

        def changed() -> bool:
            self.traffic.keep_busy()
            return _newest_cursor(self._metadata) > seen

        wait_until(changed, what="a change that the snapshot lacks")

    def _lose_metadata(self, newest: Path) -> None:
        self.cluster.kill("directory_server")
        self._metadata.rename(newest)

    def _put(self, newest: Path) -> None:
        shutil.rmtree(self._metadata, ignore_errors=True)
        newest.rename(self._metadata)

    def _see_it_refused(self) -> None:
        self.cluster.start("directory_server", wait=False)
        wait_until(
            lambda: "older than the records of file_server-" in problem_of(self.cluster),
            what="the directory's refusal of older metadata",
        )
        self.cluster.kill("directory_server")

    def _go_on(self) -> None:
        self.cluster.start("directory_server", wait=False)
        self.cluster.place.heal()

    def _records_are_kept(self) -> bool:
        """Whether a file server whose disk stays has every record of the directory."""
        with closing(sqlite3.connect(f"file:{self._metadata / 'metadata.db'}?mode=ro", uri=True)) as db:
            newest = db.execute("SELECT max(sequence) FROM redo_record").fetchone()[0]
        for record in self.cluster.programs:
            files = files_in(Path(record.data_dir) / "redo") if record.program == "file_server" else []
            if files and record.id != str(FRAGILE):
                last = RedoFile(files[-1])
                if max([last.place.sequence, *(batch.through.sequence for batch in last.batches())]) == newest:
                    return True
        return False


def _newest_cursor(metadata: Path) -> int:
    with closing(sqlite3.connect(f"file:{metadata / 'metadata.db'}?mode=ro", uri=True)) as db:
        return db.execute("SELECT coalesce(max(cursor), 0) FROM journal").fetchone()[0]
