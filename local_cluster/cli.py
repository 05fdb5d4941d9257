"""The command behind `run_cluster.sh`: reads the options and runs one action.

A failure prints one sentence. `help.txt` is a copy of --help that `run_cluster.sh` shows before anything is installed.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from local_cluster.actions import Cluster, folder_for
from local_cluster.failures import ClusterFailure, Interrupted, UnsuitableFolder
from local_cluster.plan import COMMAND, MAX_PROGRAMS
from local_cluster.progress import remark
from lockstep_store.runtime.storage.permissions import PRIVATE_UMASK, cannot_use
from lockstep_store.wire.errors import LockstepError

DEFAULT_WAIT_SECONDS = 60.0

_EPILOG = """\b
Without --detach, standard input decides what happens next:
  a terminal         the menu opens on the first proxy
  a pipe or file     the menu reads its requests from it
  /dev/null, closed  the cluster runs until Ctrl-C or SIGTERM
When the menu ends, or on Ctrl-C or SIGTERM, everything stops. On a terminal it
asks first if people hold locks; a second Ctrl-C stops at once.

\b
Ports with base port P: proxies P, P+10, ... (five; more come after the last
file server), directory P+50, file servers P+60, P+70, ...

\b
A program that exits is restarted, after pauses that grow from one second to
five minutes. With --detach, a supervisor process does this until --stop.

\b
Exit codes: 0 success, 2 invalid option, 3 no usable Python, 4 libraries could
not be installed, 5 the directory server's port is in use, 6 already running,
7 the directory server did not start, 8 not running, 9 degraded: running, but
not all programs are healthy, 10 unsuitable data folder, 11 reset declined,
130 interrupted while starting.

Numbers, --host, --advertise and --log-format keep the value of the last start
in DIR if not given. The
programs also read their own LOCKSTEP_... variables; see `lockstep serve
file-server --help`, and the same for directory and proxy."""

_COUNT = click.IntRange(1, MAX_PROGRAMS)


class _Folder(click.Path):
    """A folder's name. An empty one (from a script with an unset variable) would mean the current folder."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if value == "":
            self.fail("the folder's name is empty: name a folder, or leave the option out", param, ctx)
        return super().convert(value, param, ctx)


@click.command(
    "run_cluster.sh", epilog=_EPILOG, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100}
)
@click.option(
    "--detach",
    is_flag=True,
    help="Return as soon as every program is healthy or sick, and keep them running. Repeat it to start "
    "missing programs.",
)
@click.option("--stop", is_flag=True, help="Stop the cluster and keep its data.")
@click.option("--status", is_flag=True, help="Show every program and its health.")
@click.option(
    "--menu",
    is_flag=False,
    flag_value="1",
    metavar="[N]",
    help="Open the menu on proxy N (default 1). Starts the cluster first if it is not running; one that was already "
    "running stays up afterwards.",
)
@click.option(
    "--data",
    type=_Folder(path_type=Path),
    metavar="DIR",
    envvar="LOCKSTEP_CLUSTER_DATA",
    show_envvar=True,
    help="Folder for data, logs and cluster.json. Default: .cluster in the checkout, with certificates in certs/; "
    "any other DIR has its certificates in DIR/certs.",
)
@click.option(
    "--directories",
    type=_COUNT,
    metavar="N",
    envvar="LOCKSTEP_CLUSTER_DIRECTORIES",
    show_envvar=True,
    help="Number of directory servers, of which one is active and the others stand by. Needs --metadata. Default: 1.",
)
@click.option(
    "--file-servers",
    type=_COUNT,
    metavar="N",
    envvar="LOCKSTEP_CLUSTER_FILE_SERVERS",
    show_envvar=True,
    help="Number of file servers. Default: 3.",
)
@click.option(
    "--proxies",
    type=_COUNT,
    metavar="N",
    envvar="LOCKSTEP_CLUSTER_PROXIES",
    show_envvar=True,
    help="Number of client proxies. Default: 2.",
)
@click.option(
    "--copies",
    type=_COUNT,
    metavar="N",
    envvar="LOCKSTEP_CLUSTER_COPIES",
    show_envvar=True,
    help="Number of file servers that must have a write on disk before it is acknowledged. Default: 2.",
)
@click.option(
    "--base-port",
    type=click.IntRange(1, 65535),
    metavar="P",
    envvar="LOCKSTEP_CLUSTER_BASE_PORT",
    show_envvar=True,
    help="First port; all others shift with it. Default: 5000.",
)
@click.option(
    "--host",
    metavar="ADDRESS",
    envvar="LOCKSTEP_CLUSTER_HOST",
    show_envvar=True,
    help="Address to listen on; 0.0.0.0 for every network. Default: 127.0.0.1.",
)
@click.option(
    "--advertise",
    metavar="NAME",
    envvar="LOCKSTEP_CLUSTER_ADVERTISE",
    show_envvar=True,
    help="Name or address at which other machines reach this one. Default: --host.",
)
@click.option(
    "--metadata",
    metavar="ADDRESS",
    envvar="LOCKSTEP_CLUSTER_METADATA",
    show_envvar=True,
    help="PostgreSQL database with the directory's metadata, such as postgresql://host/name. Default: a file in the "
    "directory's folder.",
)
@click.option(
    "--wait",
    "wait_seconds",
    type=click.FloatRange(1.0, 3600.0),
    default=DEFAULT_WAIT_SECONDS,
    show_default=True,
    metavar="SECONDS",
    envvar="LOCKSTEP_CLUSTER_WAIT_SECONDS",
    show_envvar=True,
    help="Time that the programs have to become healthy.",
)
@click.option(
    "--restart/--no-restart",
    default=True,
    envvar="LOCKSTEP_CLUSTER_RESTART",
    show_envvar=True,
    help="Restart programs that exit. Default: yes.",
)
@click.option(
    "--log-format",
    type=click.Choice(["text", "json"]),
    envvar="LOCKSTEP_CLUSTER_LOG_FORMAT",
    show_envvar=True,
    help="One line of text, or one JSON object, for each message in the logs. Default: text.",
)
@click.option(
    "--console/--no-console",
    default=True,
    envvar="LOCKSTEP_CLUSTER_CONSOLE",
    show_envvar=True,
    help="Serve the web console at every proxy's address; it is built in the background when it is new. Default: yes.",
)
@click.option(
    "--reset",
    is_flag=True,
    help="Ask for confirmation, then stop the cluster and remove its data, cluster.json and certificates (never "
    "local_storage/). "
    "With --detach, then start it again.",
)
@click.option(
    "--new-metadata",
    is_flag=True,
    help="Start with empty metadata because the directory's metadata is lost for good. File servers keep all their "
    "data.",
)
@click.option("--yes", is_flag=True, help="With --reset: do not ask for confirmation.")
def command(
    detach: bool,
    stop: bool,
    status: bool,
    menu: str | None,
    data: Path | None,
    wait_seconds: float,
    restart: bool,
    console: bool,
    reset: bool,
    yes: bool,
    new_metadata: bool,
    **shape: int | str | None,
) -> int:
    """Run a Lockstep cluster on this machine: directory server, file servers and client proxies.

    Without options: start the cluster, wait until it is healthy, open the menu, and stop the cluster when you leave
    the menu. A program that cannot start does not stop the others.
    """
    actions = [name for name, given in (("--stop", stop), ("--status", status), ("--reset", reset)) if given]
    if len(actions) > 1 or (actions and menu is not None) or (detach and menu is not None):
        raise click.UsageError("use only one of --detach, --stop, --status, --menu and --reset")
    if detach and (stop or status):
        raise click.UsageError(f"--detach starts the cluster: do not use it with {actions[0]}")
    if new_metadata and (actions or menu is not None):
        raise click.UsageError("use --new-metadata only to start the cluster")
    if yes and not reset:
        raise click.UsageError("use --yes only with --reset")
    # Logs and cluster.json name files and people; the programs set the same for themselves, and the menu must not.
    of_person = os.umask(PRIVATE_UMASK)
    cluster = Cluster(folder_for(data, console=console), of_person)
    if stop:
        return cluster.stop()
    if status:
        return cluster.status()
    if reset:
        cluster.reset(sure=yes)
        if not detach:
            return 0
    proxy = _menu_number(menu)
    if proxy is not None and (running := cluster.running_proxy(proxy)):
        return cluster.menu(running)
    wanted = {name: value for name, value in shape.items() if value is not None}
    return cluster.start(wanted, wait_seconds, detach, proxy, new_metadata, restart)


def _menu_number(text: str | None) -> int | None:
    if text is None:
        return None
    if not text.isdecimal() or not 1 <= int(text) <= MAX_PROGRAMS:
        raise click.UsageError(f"--menu needs the number of a proxy, not {text!r}")
    return int(text)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return the exit code; prints one sentence when it is not 0."""
    try:
        code: int = command.main(args=arguments, prog_name=COMMAND, standalone_mode=False) or 0
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        return _fail(Interrupted("interrupted"))
    except ClusterFailure as error:
        return _fail(error)
    except LockstepError as error:
        return _fail(UnsuitableFolder(str(error)))
    except OSError as error:
        return _fail(UnsuitableFolder(cannot_use(error)))
    return code


def _fail(error: ClusterFailure) -> int:
    remark(f"{COMMAND}: {error}")
    return error.exit_code
