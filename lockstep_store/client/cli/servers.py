"""Commands for file servers: servers list, drain, remove, add, balance; and repair."""

from __future__ import annotations

import shlex
import sys
import time
from collections.abc import Callable
from typing import TypeVar

import click

from lockstep_store.client.cli.cluster import FIRST_PORTS, only_here
from lockstep_store.client.cli.command import App, Command, Group, connection_options, end, pass_app
from lockstep_store.client.cli.exit_codes import DAMAGED, UNAVAILABLE
from lockstep_store.client.text import cluster as cluster_text
from lockstep_store.client.text import formatting
from lockstep_store.client.text.problems import is_leaving
from lockstep_store.runtime.tls.join_token import JoinToken
from lockstep_store.wire.errors import BadRequest, Conflict, NotFound, Unavailable
from lockstep_store.wire.messages.cluster import FileServerInfo, LostFile, RepairInfo, RepairReport

T = TypeVar("T")
LOOK_AGAIN_SECONDS = 1.0
_PORT = FIRST_PORTS["file_server"]
_wait_option = click.option("--wait", is_flag=True, help="Show the progress and wait until it is done.")


@click.group(cls=Group, invoke_without_command=True)
@click.pass_context
def servers(ctx: click.Context) -> None:
    """List, drain, remove, add and balance file servers.

    Without a subcommand, lists them. Only administrators can do more than that.
    """
    if ctx.invoked_subcommand is None:
        ctx.invoke(list_servers)


servers.params.extend(connection_options(from_environment=False))


@servers.command("list")
@pass_app
def list_servers(app: App) -> None:
    """List the file servers with their state, space and blobs."""
    found = app.api().servers()
    text = cluster_text.servers_text(found) if found else "no file servers yet; `lockstep servers add` invites one"
    app.show(text, {"file_servers": found})


@servers.command("drain")
@click.argument("id", metavar="ID")
@click.option("--stop", is_flag=True, help="Stop draining; the server stays in the cluster.")
@_wait_option
@pass_app
def drain(app: App, id: str, stop: bool, wait: bool) -> None:
    """Move all copies off a file server, so that it can be removed.

    It still serves reads meanwhile, but gets no new copies. Copies are made elsewhere before any is dropped.
    """
    if stop and wait:
        raise BadRequest("--wait and --stop exclude each other: leave out one of them")
    info = app.api().drain_server(id, stop=stop)
    if wait:
        info = _wait_for(app, lambda: _drain_progress(app, id))
    app.show(_drained_text(info, stop), info)


def _drained_text(info: FileServerInfo, stop: bool) -> str:
    name = f"file server {formatting.safe(info.id)}"
    if stop:
        return f"{name} is no longer draining"
    if info.drained:
        return f"{name} is drained; remove it with: lockstep servers remove {shlex.quote(info.id)}"
    held = formatting.counted(info.held_blobs, "blob")
    return f"draining {name}, which holds {held}; `lockstep servers` shows when it is done"


def _drain_progress(app: App, id: str) -> tuple[FileServerInfo | None, str]:
    cluster = app.api().status()
    info = next((server for server in cluster.file_servers if server.id == id), None)
    if info is None or info.state == "removed":
        raise NotFound(f"file server {id} is no longer part of the cluster")
    if info.drained:
        return info, ""
    if not is_leaving(info):
        raise Conflict(f"the drain of file server {id} was stopped; it is {info.state}")
    return None, _drain_left(id, cluster.repair)


def _drain_left(id: str, repair: RepairInfo) -> str:
    """What a drain still has to do. Conflict when the rest cannot be moved, because it would be waited for in vain."""
    if repair.to_move or repair.under_copied or repair.ordered or repair.walking:
        left = repair.to_move + repair.under_copied
        return f"{formatting.counted(left, 'copy', 'copies')} to move" if left else "almost done"
    if repair.without_living_copy:
        raise Conflict(
            f"file server {id} has blobs without a whole copy anywhere, which cannot be moved: `lockstep repair` names "
            "the files; restore or delete them, or give them up with `lockstep servers remove --force`"
        )
    return "almost done"


@servers.command("remove")
@click.argument("id", metavar="ID")
@click.option("--force", is_flag=True, help="Remove it even if it has the only copies. DANGER: those files are lost.")
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
@pass_app
def remove(app: App, id: str, force: bool, yes: bool) -> None:
    """Remove a file server that is drained.

    Refused while anything on it has too few copies elsewhere. --force is for a server whose disk is lost.
    """
    if force and not yes:
        _confirm(id)
    app.api().remove_server(id, force=force)
    text = (
        f"file server {formatting.safe(id)} was removed, and its certificates are revoked; "
        "stop its program, then its folder can be deleted"
    )
    app.show(text, {"removed": id, "force": force})


def _confirm(id: str) -> None:
    if not _can_ask():
        raise BadRequest("--force can lose files, and there is no terminal to ask on: add --yes to confirm")
    question = f"Remove file server {formatting.safe(id)} and lose all files that have no copy elsewhere?"
    if not click.confirm(question, default=False, err=True):
        raise click.Abort


def _can_ask() -> bool:
    return sys.stdin.isatty()


@servers.command("add")
@click.option("--id", "new_id", metavar="ID", help="Its id in the cluster [default: the next free number].")
@click.option("--host", metavar="HOST", required=True, help="The new machine's name or address on the network.")
@click.option("--zone", default="", metavar="ZONE", help="Its failure zone: a rack, a room, a site.")
@click.option(
    "--valid",
    type=click.FloatRange(60, 7 * 86400),
    default=3600.0,
    show_default=True,
    metavar="SECONDS",
    help="How long the first command is valid.",
)
@click.option("--advertise", metavar="URL", help="The proxy's address for the new machine.")
@pass_app
def add(app: App, new_id: str | None, host: str, zone: str, valid: float, advertise: str | None) -> None:
    """Print the two commands that add a file server.

    Run both on the new machine, in the same folder. The first gets the server's certificate and works once; the second
    starts the server, every time.
    """
    url = advertise or app.place().url
    id = new_id or _next_id(app.api().servers())
    reply = app.api().join_secret(valid, "file_server", id, [host])
    directory = reply.directory_url or "https://DIRECTORY:5050"
    token = JoinToken(url, reply.secret, reply.ca_pem, "file_server", id, (host,)).encode()
    commands = _commands(token, id, host, zone, directory)
    for what, address in (("the proxy", url), ("the directory server", directory)):
        if only_here(address):
            app.note(f"note: {what} at {address} can only be reached from this machine")
    app.note(f"run these on the new machine; the first is valid once, until {formatting.when(reply.expires_at)}:")
    data = {"id": id, "token": token, "url": url, "directory_url": directory, "expires_at": reply.expires_at}
    app.show("\n".join(commands), {**data, "commands": commands})


def _next_id(known: list[FileServerInfo]) -> str:
    return str(max((int(server.id) for server in known if server.id.isdecimal()), default=0) + 1)


def _commands(token: str, id: str, host: str, zone: str, directory: str) -> list[str]:
    address = shlex.quote(f"https://{host}:{_PORT}")
    quoted = shlex.quote(id)
    start = f"lockstep serve file-server --id {quoted} --host 0.0.0.0 --port {_PORT}"
    in_zone = f" --zone {shlex.quote(zone)}" if zone else ""
    return [
        f"lockstep join {token}",
        f"{start} --directory {shlex.quote(directory)} --advertise {address}{in_zone}",
    ]


@servers.command("balance")
@click.option("--stop", is_flag=True, help="Stop a running rebalance.")
@_wait_option
@pass_app
def balance(app: App, stop: bool, wait: bool) -> None:
    """Move copies until all file servers are about equally full."""
    if stop and wait:
        raise BadRequest("--wait and --stop exclude each other: leave out one of them")
    repair = app.api().balance(stop=stop)
    if wait:
        repair = _wait_for(app, lambda: _balance_progress(app))
    if repair.balancing:
        left = formatting.counted(repair.to_balance, "copy", "copies")
        text = f"balancing: {left} to move; `lockstep status` shows the progress"
    else:
        text = "stopped" if stop else "the file servers are balanced"
    app.show(text, repair)


def _balance_progress(app: App) -> tuple[RepairInfo | None, str]:
    repair = app.api().status().repair
    if not repair.balancing:
        return repair, ""
    left = repair.to_balance
    return None, f"{formatting.counted(left, 'copy', 'copies')} to move" if left else "looking for copies to move"


@click.command(cls=Command)
@_wait_option
@pass_app
def repair(app: App, wait: bool) -> None:
    """Show repairs and lost files (administrators).

    Exits with 9 if all copies of a file are damaged, with 7 if all its file servers are unreachable, and with 0 if
    nothing is lost.
    """
    if wait:
        _wait_for(app, lambda: _repair_progress(app))
    report, lost = _whole_report(app)
    data = {"repair": report.repair, "finished": report.finished, "lost": lost}
    app.show(cluster_text.report_text(report, lost), data)
    if lost:
        code = DAMAGED if any(one.damaged for one in lost) else UNAVAILABLE
        end(click.get_current_context(), f"{formatting.counted(len(lost), 'version')} cannot be read now", code)


def _repair_progress(app: App) -> tuple[RepairReport | None, str]:
    report = app.api().repair_report(limit=1)
    if report.finished:
        return report, ""
    waiting = formatting.counted(report.repair.under_copied, "blob")
    return None, f"{waiting} with too few copies, {report.repair.ordered} being copied"


def _whole_report(app: App) -> tuple[RepairReport, list[LostFile]]:
    first = report = app.api().repair_report()
    lost = list(report.lost)
    while report.next_after is not None:
        report = app.api().repair_report(report.next_after)
        lost += report.lost
    return first, lost


def _wait_for(app: App, look: Callable[[], tuple[T | None, str]]) -> T:
    """Call `look` until it returns a result, printing progress. An unreachable cluster is waited for."""
    told = ""
    while True:
        try:
            found, progress = look()
        except Unavailable as error:
            found, progress = None, f"waiting: {error}"
        if found is not None:
            return found
        if progress != told:
            app.note(progress)
            told = progress
        time.sleep(LOOK_AGAIN_SECONDS)
