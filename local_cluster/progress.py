"""Output for people: one line for each program during the start, the table of programs, the next steps.

Progress goes to standard error. The table and the next steps are the command's result and go to standard output.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TextIO

from local_cluster.plan import HAS_CHECKOUT, Folder
from lockstep_store.wire.cluster_file import ProgramEntry

REMIND_SECONDS = 5.0
_SPINNER = "|/-\\"


def tell(text: str, stream: TextIO | None = None) -> None:
    """Print for the user, by default on standard output.

    A closed terminal or pipe (`| head`) must not interrupt a start or a stop.
    """
    with contextlib.suppress(OSError, ValueError):
        print(text, file=stream or sys.stdout, flush=True)


def remark(text: str) -> None:
    """Print a message on standard error."""
    tell(text, sys.stderr)


class StartProgress:
    """One line for each program. On a terminal the lines are redrawn in place; otherwise each event is a new line."""

    def __init__(self, names: Sequence[str], stream: TextIO | None = None) -> None:
        stream = stream or sys.stderr
        self._stream = stream
        self._state = {name: "starting" for name in names}
        size = shutil.get_terminal_size()
        roomy = stream.isatty() and len(names) < size.lines  # lines that have scrolled away cannot be redrawn
        self._live = roomy and os.environ.get("TERM", "dumb") != "dumb"
        self._width = size.columns - 1
        self._started = time.monotonic()
        self._reminded = self._started
        self._drawn = 0
        if not self._live:
            for name in names:
                tell(f"  {name:<20} starting", stream)

    @property
    def seconds(self) -> float:
        return time.monotonic() - self._started

    def healthy(self, name: str) -> None:
        self._state[name] = f"healthy after {self.seconds:.1f} s"
        if not self._live:
            tell(f"  {name:<20} {self._state[name]}", self._stream)
        self.tick({})

    def sick(self, name: str, fault: str) -> None:
        """Show that a program is given up for now."""
        self._state[name] = f"NOT healthy: {fault}"
        if not self._live:
            tell(f"  {name:<20} {self._state[name]}", self._stream)
        self.tick({})

    def tick(self, faults: dict[str, str]) -> None:
        """Show that time passes, and what late programs are waiting for."""
        if self._live:
            self._redraw(faults)
        elif faults and time.monotonic() - self._reminded > REMIND_SECONDS:
            self._reminded = time.monotonic()
            for name, fault in faults.items():
                tell(f"  {name:<20} {self.seconds:.0f} s: {fault}", self._stream)

    def _redraw(self, faults: dict[str, str]) -> None:
        lines = []
        for name, state in self._state.items():
            waiting = state == "starting"
            done = "+" if state.startswith("healthy") else "!"
            sign = _SPINNER[int(self.seconds * 10) % len(_SPINNER)] if waiting else done
            late = f": {faults[name]}" if waiting and name in faults and self.seconds > 2 else ""
            lines.append("\x1b[2K" + f"{sign} {name:<20} {state}{late}"[: self._width])
        up = f"\x1b[{self._drawn}F" if self._drawn else ""
        self._drawn = len(lines)
        tell(up + "\n".join(lines), self._stream)


def sick_lines(faults: Mapping[str, str], entries: Sequence[ProgramEntry]) -> str:
    """What is wrong with each program, in full, and what to do."""
    logs = {entry.name: entry.log_file for entry in entries}
    lines = []
    for name, fault in faults.items():
        advice = "" if "Last lines of" in fault or "--base-port" in fault else f" (see {logs.get(name, 'its log')})"
        lines.append(f"{name}: {fault}{advice}")
    return "\n".join(lines)


def program_table(entries: Sequence[ProgramEntry], states: Sequence[str] | None = None) -> str:
    """Format program, URL, process id and log file as aligned columns, with a state column if `states` is given."""
    logs = short_path(Path(entries[0].log_file).parent) if entries else ""
    header = ["PROGRAM", "URL", "PID", *(["STATE"] if states is not None else []), f"LOG IN {logs}/"]
    rows = [header]
    for number, entry in enumerate(entries):
        state = [states[number]] if states is not None else []
        rows.append([entry.name, entry.url, str(entry.pid), *state, Path(entry.log_file).name])
    widths = [max(len(row[column]) for row in rows) for column in range(len(header))]
    return "\n".join("  ".join(f"{cell:<{widths[at]}}" for at, cell in enumerate(row)).rstrip() for row in rows)


def next_step(folder: Folder, root: Path, default_data: Path, proxy_url: str, console: str = "") -> str:
    """Return what a person can do with the running cluster, as commands to copy. `console` is a remark on its page."""
    lockstep = shlex.quote(short_path(Path(sys.executable).with_name("lockstep")))
    run = shlex.quote(short_path(root / "run_cluster.sh"))
    run = run if "/" in run else f"./{run}"
    run = run if HAS_CHECKOUT else f"{lockstep} cluster"
    data = "" if folder.data == default_data else f" --data {shlex.quote(short_path(folder.data))}"
    remark_on_page = f"  ({console})" if console else ""
    page = f"Browser:        {proxy_url}/{remark_on_page}\n" if folder.console is not None else ""
    return (
        f"{page}"
        f"Menu:           {run}{data} --menu\n"
        f"Command line:   {lockstep} --url {proxy_url} --ca {shlex.quote(short_path(folder.ca_file))} login\n"
        f"Stop:           {run}{data} --stop\n"
        f"Administrator:  {short_path(folder.credentials_file)}"
    )


def short_path(path: Path) -> str:
    """Return the path relative to the current folder if it is inside, otherwise absolute."""
    try:
        return str(path.relative_to(Path.cwd()))
    except (ValueError, OSError):
        return str(path)
