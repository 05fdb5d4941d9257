"""The actions on a cluster: start, stop, status, menu, reset. `cli` reads the options."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click
import msgspec

from local_cluster.console import build_in_background, console_folder
from local_cluster.detached import Handover, WatchLog, keep_running
from local_cluster.failures import (
    INTERRUPTED,
    AlreadyRunning,
    ClusterFailure,
    Declined,
    ImpossibleCluster,
    NotRunning,
    UnsuitableFolder,
)
from local_cluster.foreground import (
    WAKE_SIGNAL,
    HeldBack,
    StopSignals,
    input_is_for_menu,
    is_sure_to_stop,
    run_menu,
    wait_for_signal,
)
from local_cluster.health import HealthProbe
from local_cluster.kept_program import KeptProgram, is_removed
from local_cluster.lifecycle import STOP_PATIENCE_SECONDS, StartWait, start_programs, stop_programs
from local_cluster.plan import CHECKOUT, COMMAND, HAS_CHECKOUT, ClusterSettings, Folder, plan_programs
from local_cluster.processes import end_processes, process_mark, send
from local_cluster.progress import StartProgress, remark, short_path, tell
from local_cluster.records import RunLock, RunRecord, forget_record, load_records, load_settings, save_settings
from local_cluster.reset import check_folder, remove, what_would_go
from local_cluster.start_report import counted, say_started
from local_cluster.status import FollowedProgram, show_status
from local_cluster.supervisor import Supervisor
from lockstep_store.wire.errors import LockstepError

HOLDER_PATIENCE_SECONDS = 45.0


def _root() -> Path:
    """Return the checkout; the current folder when Lockstep is installed without one."""
    return CHECKOUT if HAS_CHECKOUT else Path.cwd()


def folder_for(data: Path | None, *, console: bool = False) -> Folder:
    """Return the folders of the cluster in `data`. Only the default cluster uses the checkout's `certs/`."""
    default = _root() / ".cluster"
    chosen = (data or default).expanduser().absolute()
    certs = _root() / "certs" if chosen == default else chosen / "certs"
    return Folder(chosen, certs, console_folder(_root()) if console else None)


class Cluster:
    """The cluster in one data folder. Every action returns the command's exit code or raises ClusterFailure.

    `umask` is the person's own, for what the menu saves.
    """

    def __init__(self, folder: Folder, umask: int) -> None:
        self.folder = folder
        self._umask = umask
        self.lock = RunLock(folder)
        self.signals = StopSignals()

    def start(
        self,
        wanted: dict[str, Any],
        wait_seconds: float,
        detach: bool,
        menu: int | None,
        new_metadata: bool = False,
        restart: bool = True,
    ) -> int:
        """Start what does not run, and with `restart` keep all running.

        With `detach` it returns when every program is healthy or sick, otherwise when the user has stopped the cluster.
        """
        self._make_folder()
        holder = self.lock.holder()
        if holder:
            return self._repeat(holder, wanted, wait_seconds, detach)
        if not (detach and restart):
            return self._start(wanted, wait_seconds, detach, menu, new_metadata, restart)
        self.signals.install()
        handover = Handover()
        if not handover.stays:
            return handover.wait(self.signals)
        return self._start(wanted, wait_seconds, detach, menu, new_metadata, restart, handover)

    def _start(
        self,
        wanted: dict[str, Any],
        wait_seconds: float,
        detach: bool,
        menu: int | None,
        new_metadata: bool,
        restart: bool,
        handover: Handover | None = None,
    ) -> int:
        with self.lock.held():
            self.signals.install()
            settings = self._settle(wanted)
            if menu is not None and menu > settings.proxies:
                raise NotRunning(
                    f"there is no proxy {menu}: the cluster has {counted(settings.proxies, 'proxy', 'proxies')}"
                )
            programs = self._programs(settings)
            self._refuse_what_runs(programs, takes_over=handover is not None)
            save_settings(self.folder, settings)
            progress = StartProgress([one.name for one in programs])
            sick = start_programs(
                programs,
                self.folder,
                progress,
                wait_seconds=wait_seconds,
                interrupted=self.signals.came,
                new_metadata=new_metadata,
            )
            console = self._build_console()
            code = say_started(self.folder, _root(), programs, sick, progress.seconds, console)
            if handover is not None:
                handover.release(code, self.folder.watch_log)
                return self._keep_running(programs, settings)
            return code if detach else self._stay(programs, menu, restart)

    def _programs(self, settings: ClusterSettings) -> list[KeptProgram]:
        """The programs that should run, with their processes. Removed ones are left out."""
        records = {record.name: record for record in load_records(self.folder)}
        programs = []
        for plan in plan_programs(settings, self.folder):
            record = records.pop(plan.name, None)
            if not is_removed(self.folder, plan.program, plan.id, plan.data_dir):
                programs.append(KeptProgram(plan, self.folder, record))
                continue
            if record is not None and record.running:
                end_processes([(record.pid, record.mark)], STOP_PATIENCE_SECONDS)
            if record is not None:
                forget_record(self.folder, record)
            remark(
                f"{plan.name} is left out, because it was removed from the cluster. To add it again as a new one, "
                f"delete its folder {short_path(plan.data_dir)}"
            )
        for record in records.values():
            if not record.running:
                forget_record(self.folder, record)
        return programs

    def _refuse_what_runs(self, programs: Sequence[KeptProgram], takes_over: bool) -> None:
        """Raise AlreadyRunning if all runs (unless this start takes over watching), or runs with other settings."""
        running = [record for record in load_records(self.folder) if record.running]
        planned = {one.name: list(one.plan.command) for one in programs}
        other = [record.name for record in running if planned.get(record.name) != record.command]
        if other:
            raise AlreadyRunning(
                f"{', '.join(other)} of the cluster in {self.folder.data} "
                f"{'run' if len(other) > 1 else 'runs'} with other settings: stop the cluster with --stop first"
            )
        if running and not takes_over and all(one.running for one in programs) and self.folder.cluster_file.exists():
            raise AlreadyRunning(
                f"the cluster in {self.folder.data} is already running ({len(running)} programs): "
                "show it with --status, use it with --menu, or stop it with --stop"
            )

    def _keep_running(self, programs: Sequence[KeptProgram], settings: ClusterSettings) -> int:
        """In the process that stays: keep the programs running until a signal arrives, then stop them."""
        log = WatchLog(self.folder.watch_log, in_json=settings.log_format == "json")
        log.say(f"keeps {len(programs)} programs running (process {os.getpid()})")
        supervisor = Supervisor(programs, self.folder, log.say)
        # An error here must not stop the programs: people go on working, and the next start takes over.
        keep_running(supervisor, self.signals, lambda: self._start_now(supervisor, log.say))
        stop_programs(self.folder, reap=supervisor.reap)
        log.say("stopped")
        return 0

    def _start_now(self, supervisor: Supervisor, say: Callable[[str], None]) -> None:
        """Start what is missing for a repeated start, whose plan may be larger."""
        try:
            programs = self._programs(load_settings(self.folder) or ClusterSettings())
        except (ClusterFailure, LockstepError, OSError) as error:
            say(f"cannot look for new programs: {error}")
            programs = []
        supervisor.start_now(programs)

    def _repeat(self, holder: int, wanted: dict[str, Any], wait_seconds: float, detach: bool) -> int:
        """A start while another process keeps the cluster running: have it start what is missing now."""
        console = self._build_console()
        before = load_settings(self.folder)
        settings = self._settle(wanted)
        programs = self._programs(settings)
        missing = [one for one in programs if not one.running]
        grows = before is not None and _only_grows(before, settings)
        if not (missing and grows and detach and self.folder.cluster_file.exists()):
            advice = "show it with --status, use it with --menu, or stop it with --stop"
            if not grows:
                advice = "stop it with --stop before you start it with other settings"
            elif missing and not detach:
                advice += "; --detach starts what is missing"
            raise AlreadyRunning(
                f"the cluster in {self.folder.data} is already running ({COMMAND}, process {holder}): {advice}"
            )
        self.signals.install()
        save_settings(self.folder, settings)
        progress = StartProgress([one.name for one in programs])
        followed = [FollowedProgram(one.plan, self.folder, one.record) for one in programs]
        send(holder, process_mark(holder), WAKE_SIGNAL)
        wait = StartWait(followed, HealthProbe(self.folder), progress, wait_seconds, self.signals.came, owns=False)
        sick = wait.until_settled()
        return say_started(self.folder, _root(), self._programs(settings), sick, progress.seconds, console)

    def _build_console(self) -> str:
        """Build the web console's page if it is not there. Only now: the programs' start must not wait for it."""
        return build_in_background(_root(), self.folder.console) if self.folder.console is not None else ""

    def _make_folder(self) -> None:
        check_folder(self.folder)
        try:
            self.folder.data.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UnsuitableFolder(
                f"cannot create {self.folder.data} ({error.strerror}): choose another folder with --data"
            ) from error

    def _settle(self, wanted: dict[str, Any]) -> ClusterSettings:
        """Return the settings of this start: the options given, else those of the last start, else the defaults."""
        before = load_settings(self.folder)
        known = before or ClusterSettings()
        settings = ClusterSettings(
            directories=wanted.get("directories", known.directories),
            file_servers=wanted.get("file_servers", known.file_servers),
            proxies=wanted.get("proxies", known.proxies),
            copies=wanted.get("copies", known.copies),
            base_port=wanted.get("base_port", known.base_port),
            log_format=wanted.get("log_format", known.log_format),
            host=wanted.get("host", known.host),
            advertise=wanted.get("advertise", known.advertise),
            metadata=wanted.get("metadata", known.metadata),
        )
        fault = settings.fault()
        if fault:
            raise ImpossibleCluster(fault)
        left_out = [id for id in self.folder.ids_with_data("file_server") if int(id) > settings.file_servers]
        if left_out:
            several = len(left_out) > 1
            remark(
                f"File server{'s' if several else ''} {', '.join(left_out)} {'have' if several else 'has'} data from "
                "an earlier start but will not run now; files are read from their other copies. "
                f"To start {'them' if several else 'it'} again, use --file-servers {left_out[-1]}."
            )
        if before and before.copies != settings.copies:
            remark(f"Each new write is now stored in {settings.copies} copies (before: {before.copies}).")
        return settings

    def _stay(self, programs: Sequence[KeptProgram], menu: int | None, restart: bool) -> int:
        held = HeldBack()
        supervisor = Supervisor(programs, self.folder, held.hold, restart=restart)
        code = 0
        try:
            proxies = [one.record for one in programs if one.plan.program == "client_proxy" and one.running]
            if proxies and (menu is not None or input_is_for_menu()):
                proxy = next((one for one in proxies if one.id == str(menu or 1)), proxies[0])
                tell(f"\nMenu on proxy {proxy.id}; leaving it stops the cluster.\n")
                code = self._run_menu(proxy, lambda: self._look(supervisor))
                while not self._may_stop(supervisor):
                    code = self._run_menu(proxy, lambda: self._look(supervisor))
            else:
                tell("\nThe cluster runs until Ctrl-C or SIGTERM.")
                wait_for_signal(self.signals, lambda: self._look(supervisor, held))
        finally:
            held.say()
            stop_programs(self.folder, reap=supervisor.reap)
            remark("Stopped. The data is kept for the next start.")
        return 0 if self.signals.came() or code in (-2, INTERRUPTED) else code

    def _may_stop(self, supervisor: Supervisor) -> bool:
        """Whether to stop now that the menu has ended, which has released its own locks: ask if others have some."""
        before = self.signals.interrupts  # now: a further Ctrl-C may come before the question is printed
        if not os.isatty(0) or self.signals.came_except_interrupt():
            return True
        probe = HealthProbe(self.folder)
        directories = [one for one in supervisor.programs if one.plan.program == "directory_server"]
        locks, waiters = max((probe.work(one.record) for one in directories), default=(0, 0))
        if not locks and not waiters:
            return True
        held, places = counted(locks, "lock is", "locks are"), counted(waiters, "place", "places")
        question = f"Others are working: {held} held, and {places} in line taken. Stop anyway? [y/N]"
        return is_sure_to_stop(question, self.signals, before, lambda: self._look(supervisor))

    def _look(self, supervisor: Supervisor, held: HeldBack | None = None) -> None:
        if self.signals.take_wake():
            self._start_now(supervisor, remark)
        supervisor.look()
        if held is not None:
            held.say()

    def stop(self) -> int:
        """Stop the cluster, whichever command started it. Safe to repeat."""
        if not self.folder.data.is_dir():
            tell(f"No cluster is running in {self.folder.data}.")
            return 0
        was_held = self._ask_holder_to_stop()
        with self.lock.held():
            ended = stop_programs(self.folder)
        tell("Stopped." if ended or was_held else f"No cluster is running in {self.folder.data}.")
        return 0

    def _ask_holder_to_stop(self) -> bool:
        """Make the command that runs the cluster in the foreground stop it; return whether there was one."""
        holder = self.lock.holder()
        if not holder:
            return False
        send(holder, process_mark(holder), signal.SIGTERM)
        deadline = time.monotonic() + HOLDER_PATIENCE_SECONDS
        while self.lock.holder() == holder:
            if time.monotonic() > deadline:
                raise AlreadyRunning(
                    f"process {holder} did not stop the cluster within {HOLDER_PATIENCE_SECONDS:g} s: "
                    f"end it with kill -9 {holder}, then run --stop again"
                )
            time.sleep(0.05)
        return True

    def status(self) -> int:
        """Print the table with every program's state; raises NotRunning or Degraded unless all are healthy."""
        return show_status(self.folder, self.lock.holder())

    def running_proxy(self, number: int) -> RunRecord | None:
        """Return proxy `number` of the running cluster; None when no cluster is running."""
        running = [record for record in load_records(self.folder) if record.running]
        if not running:
            return None
        proxies = {record.id: record for record in running if record.program == "client_proxy"}
        if str(number) not in proxies:
            raise NotRunning(
                f"proxy {number} is not running: choose one of {', '.join(proxies)}"
                if proxies
                else "no proxy is running: stop the cluster with --stop, then start it again"
            )
        return proxies[str(number)]

    def menu(self, proxy: RunRecord) -> int:
        """Open the menu on a proxy of a running cluster; leaving the menu stops nothing."""
        self.signals.install()
        code = self._run_menu(proxy, lambda: None)
        return 0 if code == -signal.SIGINT else code

    def _run_menu(self, proxy: RunRecord, meanwhile: Callable[[], None]) -> int:
        storage = _root() / "local_storage"
        return run_menu(proxy, self.folder.ca_file, storage, self._umask, self.signals, meanwhile)

    def reset(self, sure: bool) -> None:
        """Ask for confirmation, then stop the cluster and remove its data and certificates."""
        doomed = what_would_go(self.folder)
        if not doomed:
            tell(f"Nothing to remove: there is no cluster in {self.folder.data}.")
            return
        if not sure:
            self._ask_to_remove(doomed)
        self._ask_holder_to_stop()
        with self.lock.held():
            stop_programs(self.folder)
            remove(self.folder)
            self.folder.lock_file.unlink(missing_ok=True)
        if not any(self.folder.data.iterdir()):
            self.folder.data.rmdir()
        tell(f"Removed the cluster in {self.folder.data}: its data, accounts and certificates.")

    def _ask_to_remove(self, doomed: Sequence[Path]) -> None:
        tell("This stops the cluster and permanently removes all files stored in it, with:")
        beside = [path for path in doomed if path.parent == self.folder.data]
        for path in [*beside, self.folder.log_dir, self.folder.certs_dir]:
            tell(f"  {short_path(path)}{'' if path in beside else ' (only what Lockstep created there)'}")
        try:
            sure = click.confirm("Remove all this?", default=False)
        except click.Abort:
            sure = False
        if not sure:
            raise Declined("nothing was removed: answer y to confirm, or use --yes")


def _only_grows(before: ClusterSettings, after: ClusterSettings) -> bool:
    """Whether a running cluster can become `after` without stopping a program."""
    same = msgspec.structs.replace(after, file_servers=before.file_servers, proxies=before.proxies) == before
    return same and before.file_servers <= after.file_servers and before.proxies <= after.proxies
