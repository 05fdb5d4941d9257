"""Keeps the programs of a cluster running: starts again what ends, after growing pauses.

It looks at processes and not at health: starting a sick program again would interrupt what still works.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Mapping, Sequence

from local_cluster.kept_program import KeptProgram, is_removed
from local_cluster.lifecycle import busy_port, port_is_free
from local_cluster.plan import Folder
from local_cluster.records import forget_record, save_cluster_file
from lockstep_store.runtime.backoff import pause_after
from lockstep_store.wire.errors import LockstepError

FIRST_PAUSE_SECONDS = 1.0
LONGEST_PAUSE_SECONDS = 300.0
"""A program that ends at every start costs a second of processor time and a few lines of log in each pause."""
STEADY_SECONDS = 60.0
"""A program that ran this long did start: the pauses begin again."""


class Supervisor:
    """Keeps `programs` running; without `restart` it only reports what ends. `say` gets a sentence for each event."""

    def __init__(
        self,
        programs: Sequence[KeptProgram],
        folder: Folder,
        say: Callable[[str], None],
        *,
        restart: bool = True,
        env: Mapping[str, str] | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.programs = list(programs)
        self._folder, self._say, self._env, self._monotonic = folder, say, env, monotonic
        self._restart = restart
        self._due: dict[str, float] = {}
        self._started_at = {one.name: monotonic() for one in programs}
        self._given_up: set[str] = set()

    def look(self) -> None:
        """Notice what has ended, and start what is due."""
        now = self._monotonic()
        for one in list(self.programs):
            if one.name in self._given_up:
                continue
            if one.name not in self._due:
                if one.running:
                    continue
                self._has_ended(one, now)
            if now >= self._due.get(one.name, now + 1):
                self._start(one, now)

    def seconds_to_next_start(self) -> float | None:
        """The seconds until the next program is due; None if none is."""
        return max(0.0, min(self._due.values()) - self._monotonic()) if self._due else None

    def start_now(self, programs: Sequence[KeptProgram] = ()) -> None:
        """End all pauses, because a person may have mended the cause; `programs` are new ones of the plan."""
        known = {one.name for one in self.programs}
        new = [one for one in programs if one.name not in known]
        self.programs += new
        for one in self.programs:
            if not one.running:
                self._given_up.discard(one.name)
                one.record.failures = 0
                self._due[one.name] = self._monotonic()

    def reap(self) -> list[bool]:
        """Let ended children go; returns which programs run."""
        return [one.running for one in self.programs]

    def _has_ended(self, one: KeptProgram, now: float) -> None:
        if self._is_out(one):
            return
        lived = now - self._started_at.get(one.name, now)
        failures = 1 if lived >= STEADY_SECONDS else one.record.failures + 1
        record = one.record
        ended, reason = (record.ended, record.reason) if record.ended else (one.ending(), one.reason())
        self._wait_after(one, ended, failures, now, reason)

    def _wait_after(self, one: KeptProgram, ended: str, failures: int, now: float, reason: str = "") -> None:
        pause = pause_after(failures, FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS)
        self._record(one, ended, reason, failures, now + pause if self._restart else 0.0)
        if not self._restart:
            self._given_up.add(one.name)
            self._say(f"{one.name} {one.record.ending}: see its log {one.plan.log_file}")
            return
        self._due[one.name] = now + pause
        self._say(f"{one.name} {one.record.ending}; it is started again in {pause:g} s. Its log: {one.plan.log_file}")

    def _record(self, one: KeptProgram, ended: str, reason: str, failures: int, next_start: float) -> None:
        try:
            one.note_not_running(ended, reason, failures, next_start)
        except OSError as error:
            self._say(f"cannot write the record of {one.name} ({error.strerror}): check the disk")

    def _start(self, one: KeptProgram, now: float) -> None:
        del self._due[one.name]
        if self._is_out(one):
            return
        self._started_at[one.name] = now
        if not port_is_free(one.plan):
            one.record.starts += 1
            self._wait_after(one, "cannot start", one.record.failures + 1, now, busy_port(one.plan))
            return
        try:
            one.start(self._env)
            save_cluster_file(self._folder, [other.record for other in self.programs if other.running])
        except (OSError, subprocess.SubprocessError) as error:
            one.record.starts += 1
            self._wait_after(one, "cannot start", one.record.failures + 1, now, f"{error}: check the disk")
            return
        self._say(f"{one.name} was started again (process {one.record.pid})")

    def _is_out(self, one: KeptProgram) -> bool:
        try:
            if not is_removed(self._folder, one.plan.program, one.plan.id, one.plan.data_dir):
                return False
        except LockstepError:  # the list of programs cannot be read: every program that starts reports it
            return False
        self.programs.remove(one)
        forget_record(self._folder, one.record)
        self._say(f"{one.name} ended and is not started again, because it was removed from the cluster")
        return True
