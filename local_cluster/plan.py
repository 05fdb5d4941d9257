"""The plan of a cluster on one machine: programs, ports, folders and command lines.

Nothing here starts a process, opens a socket or writes a file.
"""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import msgspec

CHECKOUT = Path(__file__).resolve().parent.parent
HAS_CHECKOUT = (CHECKOUT / "run_cluster.sh").exists()
COMMAND = "run_cluster.sh" if HAS_CHECKOUT else "lockstep cluster"
"""How people call it: an installed wheel has no shell script."""
HOST = "127.0.0.1"
EVERY_NETWORK = ("0.0.0.0", "::")  # noqa: S104 - compared, not bound
_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?|[0-9A-Fa-f]*:[0-9A-Fa-f:.]+")
DIRECTORY_OFFSET = 50
FILE_SERVER_OFFSET = 60
PORT_STEP = 10
MAX_DIRECTORIES = FILE_SERVER_OFFSET - DIRECTORY_OFFSET
PROXIES_BELOW_DIRECTORY = DIRECTORY_OFFSET // PORT_STEP
MAX_PROGRAMS = 64

Program = Literal["directory_server", "file_server", "client_proxy"]
LOG_FILE_VARIABLES: dict[Program, str] = {
    "directory_server": "LOCKSTEP_DIRECTORY_LOG_FILE",
    "file_server": "LOCKSTEP_FILE_SERVER_LOG_FILE",
    "client_proxy": "LOCKSTEP_PROXY_LOG_FILE",
}


class ClusterSettings(msgspec.Struct, frozen=True):
    """The shape of a cluster. Stored beside its data, so that the next start resumes the same cluster."""

    directories: int = 1
    file_servers: int = 3
    proxies: int = 2
    copies: int = 2
    base_port: int = 5000
    log_format: Literal["text", "json"] = "text"
    host: str = HOST
    advertise: str = ""
    metadata: str = ""
    format: int = 1

    @property
    def reached_at(self) -> str:
        """The name or address at which others reach this machine, as it stands in a URL."""
        name = self.advertise or self.host
        return f"[{name}]" if ":" in name else name

    def fault(self) -> str:
        """Return why this cluster is impossible, as a sentence; empty when it is possible."""
        if self.copies > self.file_servers:
            return (
                f"{self.copies} copies of every file need at least {self.copies} file servers, "
                f"not {self.file_servers}: use --file-servers {self.copies} or --copies {self.file_servers}"
            )
        if self.directories > 1 and not self.metadata:
            return (
                f"{self.directories} directory servers need metadata that all of them can reach: give the address of a "
                "PostgreSQL database with --metadata"
            )
        if self.directories > MAX_DIRECTORIES:
            return f"there are ports for {MAX_DIRECTORIES} directory servers, not for {self.directories}"
        if self.host in EVERY_NETWORK and not self.advertise:
            return (
                f"other machines cannot connect to {self.host}: with --host {self.host}, give the name or address of "
                "this machine with --advertise"
            )
        if not _NAME.fullmatch(self.advertise or self.host):
            return (
                f"{self.advertise or self.host!r} is not the name or address of a machine: give it without https:// "
                "and port, such as first.example.org"
            )
        highest = max(port for _, _, port in self.ports())
        if highest > 65535:
            return (
                f"with --base-port {self.base_port} the last port would be {highest}, above 65535: "
                f"use at most --base-port {self.base_port + 65535 - highest}"
            )
        return ""

    def ports(self) -> list[tuple[Program, str, int]]:
        """Return (program, id, port) of every program, in reading order."""
        base = self.base_port
        programs: list[tuple[Program, str, int]] = [
            ("directory_server", str(number), base + DIRECTORY_OFFSET + number - 1)
            for number in range(1, self.directories + 1)
        ]
        for number in range(1, self.file_servers + 1):
            port = base + FILE_SERVER_OFFSET + PORT_STEP * (number - 1)
            programs.append(("file_server", str(number), port))
        after_file_servers = base + FILE_SERVER_OFFSET + PORT_STEP * self.file_servers
        for number in range(1, self.proxies + 1):
            beyond = number - 1 - PROXIES_BELOW_DIRECTORY
            port = base + PORT_STEP * (number - 1) if beyond < 0 else after_file_servers + PORT_STEP * beyond
            programs.append(("client_proxy", str(number), port))
        return programs


@dataclass(frozen=True)
class Folder:
    """The files and folders of a cluster: `data` is DIR, `certs_dir` has its certificates, `console` the web console's
    page if there is one. All are absolute paths."""

    data: Path
    certs_dir: Path
    console: Path | None = None

    @property
    def cluster_file(self) -> Path:
        return self.data / "cluster.json"

    @property
    def credentials_file(self) -> Path:
        return self.data / "admin-credentials.json"

    @property
    def settings_file(self) -> Path:
        return self.data / "settings.json"

    @property
    def lock_file(self) -> Path:
        return self.data / "run.lock"

    @property
    def run_dir(self) -> Path:
        """One record for each running program, written as soon as it has a process id."""
        return self.data / "run"

    @property
    def log_dir(self) -> Path:
        return self.data / "logs"

    @property
    def ca_file(self) -> Path:
        return self.certs_dir / "ca.pem"

    def data_dir(self, program: Program, id: str) -> Path:
        """Return the folder to which only this program writes."""
        return self.data / (program if (program, id) == ("directory_server", "1") else f"{program}-{id}")

    @property
    def watch_log(self) -> Path:
        """What the process that stays after --detach has done."""
        return self.log_dir / "run_cluster.log"

    def log_file(self, program: Program, id: str) -> Path:
        return self.log_dir / f"{program}-{id}.log"

    def ids_with_data(self, program: Program) -> list[str]:
        """Return the ids of programs that have a folder here, from this or an earlier start."""
        found = re.compile(rf"{program}-(\d+)")
        names = [entry.name for entry in self.data.iterdir()] if self.data.is_dir() else []
        return sorted((match[1] for name in names if (match := found.fullmatch(name))), key=int)


@dataclass(frozen=True)
class ProgramPlan:
    """One program to start. `command` is complete, so it can also be run by hand."""

    program: Program
    id: str
    port: int
    data_dir: Path
    log_file: Path
    command: tuple[str, ...]
    host: str = HOST
    reached_at: str = HOST

    @property
    def name(self) -> str:
        return f"{self.program} {self.id}"

    @property
    def url(self) -> str:
        return f"https://{self.reached_at}:{self.port}"

    @property
    def environment(self) -> dict[str, str]:
        """Variables for a process whose output is in `log_file`. Not in `command`: by hand it logs to the terminal."""
        return {LOG_FILE_VARIABLES[self.program]: str(self.log_file)}


def plan_programs(settings: ClusterSettings, folder: Folder) -> list[ProgramPlan]:
    """Return every program of the cluster, the directory first."""
    return [_plan(settings, folder, program, id, port) for program, id, port in settings.ports()]


def _plan(settings: ClusterSettings, folder: Folder, program: Program, id: str, port: int) -> ProgramPlan:
    data_dir = folder.data_dir(program, id)
    directory_urls = ",".join(
        f"https://{settings.reached_at}:{port}" for one, _, port in settings.ports() if one == "directory_server"
    )
    options: dict[str, str | int | Path] = {"--host": settings.host, "--port": port}
    options |= {"--data": data_dir, "--certs": folder.certs_dir}
    if program == "directory_server":
        options |= {"--id": id, "--copies": settings.copies, "--admin-credentials": folder.credentials_file}
        options |= {"--metadata": settings.metadata} if settings.metadata else {}
    else:
        options |= {"--id": id, "--directory": directory_urls}
    if settings.advertise:
        name = settings.reached_at.strip("[]")
        options |= (
            {"--name": name} if program == "client_proxy" else {"--advertise": f"https://{settings.reached_at}:{port}"}
        )
    # -P: a folder `file_server` or a file `json.py` in the user's current folder must not be imported.
    command = [sys.executable, "-P", "-m", program]
    command += [word for option, value in options.items() for word in (option, str(value))]
    if program == "client_proxy":
        command.append("--no-menu")
        command += ["--console", str(folder.console)] if folder.console is not None else []
    if settings.log_format == "json":
        command += ["--log-format", "json"]
    log_file = folder.log_file(program, id)
    return ProgramPlan(
        program, id, port, data_dir, log_file, tuple(command), host=settings.host, reached_at=settings.reached_at
    )
