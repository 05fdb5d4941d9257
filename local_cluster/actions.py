"""The actions on a cluster: start, stop, status, menu, reset. `cli` reads the options."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import click

from local_cluster.failures import (
    INTERRUPTED,
    AlreadyRunning,
    Declined,
    Degraded,
    ImpossibleCluster,
    NotRunning,
    UnsuitableFolder,
)
from local_cluster.foreground import LossWatch, StopSignals, input_is_for_menu, run_menu, wait_for_signal
from local_cluster.health import HealthProbe
from local_cluster.lifecycle import Started, check_ports, start_programs, stop_programs
from local_cluster.plan import ClusterSettings, Folder, plan_programs
from local_cluster.processes import process_mark, send
from local_cluster.progress import StartProgress, next_step, program_table, remark, short_path, tell
from local_cluster.records import RunLock, RunRecord, load_records, load_settings, save_settings
from local_cluster.reset import check_folder, remove, what_would_go

HOLDER_PATIENCE_SECONDS = 45.0


def _root() -> Path:
    """Return the checkout; the current folder when Lockstep is installed without one."""
    checkout = Path(__file__).resolve().parent.parent
    return checkout if (checkout / "run_cluster.sh").exists() else Path.cwd()


def folder_for(data: Path | None) -> Folder:
    """Return the folders of the cluster in `data`. Only the default cluster uses the checkout's `certs/`."""
    default = _root() / ".cluster"
    chosen = (data or default).expanduser().absolute()
    return Folder(chosen, _root() / "certs" if chosen == default else chosen / "certs")


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
        self, wanted: dict[str, int], wait_seconds: float, detach: bool, menu: int | None, new_metadata: bool = False
    ) -> int:
        """Start the cluster. Returns when it is healthy with `detach`, otherwise when the user has stopped it."""
        self._make_folder()
        with self.lock.held():
            self.signals.install()
            self._clean_up_earlier_start()
            settings = self._settle(wanted)
            if menu is not None and menu > settings.proxies:
                raise NotRunning(
                    f"there is no proxy {menu}: the cluster has {_count(settings.proxies, 'proxy', 'proxies')}"
                )
            plans = plan_programs(settings, self.folder)
            check_ports(plans)
            save_settings(self.folder, settings)
            progress = StartProgress([plan.name for plan in plans])
            started = start_programs(
                plans,
                self.folder,
                progress,
                wait_seconds=wait_seconds,
                interrupted=self.signals.came,
                new_metadata=new_metadata,
            )
            remark(f"\nThe cluster is healthy after {progress.seconds:.1f} s.\n")
            tell(program_table([one.record for one in started]))
            proxy_url = next(plan.url for plan in plans if plan.program == "client_proxy")
            tell(f"\n{next_step(self.folder, _root(), _root() / '.cluster', proxy_url)}")
            return 0 if detach else self._stay(started, menu)

    def _make_folder(self) -> None:
        check_folder(self.folder)
        try:
            self.folder.data.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UnsuitableFolder(
                f"cannot create {self.folder.data} ({error.strerror}): choose another folder with --data"
            ) from error

    def _clean_up_earlier_start(self) -> None:
        records = load_records(self.folder)
        running = [record for record in records if record.running]
        if running and len(running) == len(records) and self.folder.cluster_file.exists():
            raise AlreadyRunning(
                f"the cluster in {self.folder.data} is already running ({len(running)} programs): "
                "show it with --status, use it with --menu, or stop it with --stop"
            )
        if running:
            names = ", ".join(record.name for record in running)
            remark(f"Some programs of an earlier start are still running ({names}): stopping them first.")
        stop_programs(self.folder)

    def _settle(self, wanted: dict[str, int]) -> ClusterSettings:
        """Return the settings of this start: the options given, else those of the last start, else the defaults."""
        before = load_settings(self.folder)
        known = before or ClusterSettings()
        settings = ClusterSettings(
            file_servers=wanted.get("file_servers", known.file_servers),
            proxies=wanted.get("proxies", known.proxies),
            copies=wanted.get("copies", known.copies),
            base_port=wanted.get("base_port", known.base_port),
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

    def _stay(self, started: list[Started], menu: int | None) -> int:
        watch = LossWatch(started)
        code = 0
        try:
            proxies = [one.record for one in started if one.record.program == "client_proxy"]
            if proxies and (menu is not None or input_is_for_menu()):
                proxy = next((one for one in proxies if one.id == str(menu or 1)), proxies[0])
                tell(f"\nMenu on proxy {proxy.id}; leaving it stops the cluster.\n")
                code = self._run_menu(proxy, watch.look)
            else:
                tell("\nThe cluster runs until Ctrl-C or SIGTERM.")
                wait_for_signal(self.signals, watch.say)
        finally:
            watch.say()
            stop_programs(self.folder, reap=lambda: [one.process.poll() for one in started])
            remark("Stopped. The data is kept for the next start.")
        return 0 if self.signals.came() or code in (-2, INTERRUPTED) else code

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
        records = load_records(self.folder)
        alive = [record.running for record in records]
        if not any(alive):
            raise NotRunning(f"no cluster is running in {self.folder.data}: start it with run_cluster.sh")
        faults = HealthProbe(self.folder).faults(records)
        states = [fault or "healthy" if lives else "not running" for fault, lives in zip(faults, alive, strict=True)]
        tell(program_table(records, states))
        ill = [record.name for record, state in zip(records, states, strict=True) if state != "healthy"]
        if ill:
            raise Degraded(
                f"{len(ill)} of {len(records)} programs {'are' if len(ill) > 1 else 'is'} not healthy "
                f"({', '.join(ill)}): see {'their logs' if len(ill) > 1 else 'its log'}"
            )
        return 0

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


def _count(number: int, one: str, many: str) -> str:
    return f"{number} {one if number == 1 else many}"
