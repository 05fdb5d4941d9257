"""Commands for locks: lock, unlock, locks."""

from __future__ import annotations

import os
import subprocess
import time
from typing import Any

import click
import msgspec

from lockstep_store.client.api.answers import label
from lockstep_store.client.cli.command import HELD_LOCKS_VARIABLE, App, Command, pass_app, plain
from lockstep_store.client.cli.names import Name, NameType
from lockstep_store.client.credentials import HeldLock
from lockstep_store.client.local_storage import LocalFileError
from lockstep_store.client.lock_holder import LockHolder, Waiting, agent_name
from lockstep_store.client.lock_watcher import LockWatcher
from lockstep_store.client.text import formatting
from lockstep_store.wire.errors import BadRequest, LockStale, NotFound
from lockstep_store.wire.messages.locks import MAX_LEASE_SECONDS, LockInfo, LockPath, LocksReply

LEFT_BEHIND_LEASE_SECONDS = 600.0
WHILE_RUNNING_LEASE_SECONDS = 60.0


def wait_line(waiting: Waiting) -> str:
    """The line to show while waiting for a lock."""
    place = f"you are number {waiting.place} in line" if waiting.place else "you wait in line"
    return (
        f"waiting: {formatting.holders_line(waiting.holders)}; {place}, "
        f"{formatting.duration(waiting.waited_seconds)} so far (Ctrl-C gives up)"
    )


class LockCommand(Command):
    """A command whose arguments after `--` are another command's."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if "--" in args:
            cut = args.index("--")
            ctx.meta["lockstep.command"] = args[cut + 1 :]
            args = args[:cut]
        return super().parse_args(ctx, args)


@click.command(cls=LockCommand, options_metavar="[OPTIONS]")
@click.argument("names", metavar="NAME... [-- COMMAND...]", nargs=-1, required=True, type=NameType())
@click.option("--wait", "patience", type=float, default=0.0, metavar="SECONDS", help="How long to wait in line.")
@click.option(
    "--lease",
    type=click.FloatRange(1, MAX_LEASE_SECONDS),
    metavar="SECONDS",
    help="Length of the lease [default: 600, or 60 with COMMAND].",
)
@pass_app
def lock(app: App, names: tuple[Name, ...], patience: float, lease: float | None) -> None:
    """Lock all of the given files, or none.

    Without COMMAND you keep the lock when this command ends. Later commands on the file use it, until `lockstep
    unlock`, `lockstep put --release`, or the end of the lease. With COMMAND the lock is held and renewed while COMMAND
    runs, with the lock number in LOCKSTEP_LOCK. The exit code is then that of COMMAND.
    """
    command: list[str] = click.get_current_context().meta.get("lockstep.command", [])
    holder = LockHolder(
        app.api(),
        [LockPath(*name) for name in names],
        lease_seconds=lease or (WHILE_RUNNING_LEASE_SECONDS if command else LEFT_BEHIND_LEASE_SECONDS),
        client=agent_name(),
        on_wait=lambda waiting: app.note(wait_line(waiting)) if patience else None,
        on_lost=lambda reason: app.note(f"warning: {reason}; writes under it will be refused"),
        renewing=bool(command),
    )
    taken = holder.acquire(patience_seconds=patience)
    if command:
        with holder:
            code = _run(command, taken)
        click.get_current_context().exit(code)
    with app.store.change(app.profile_name) as profile:
        profile.locks = [one for one in profile.locks if (one.bucket, one.path) not in names] + _held(taken)
    until = f"until {time.strftime('%H:%M:%S', time.localtime(taken.until_at))}"
    text = f"locked {formatting.safe(formatting.paths_of(taken.paths))} under number {taken.number}, {until}"
    app.show(text, taken)


def _run(command: list[str], taken: LockInfo) -> int:
    held = msgspec.json.encode(_held(taken)).decode()
    environment = {**os.environ, "LOCKSTEP_LOCK": str(taken.number), HELD_LOCKS_VARIABLE: held}
    try:
        code = subprocess.call(command, env=environment)
    except OSError as error:
        raise LocalFileError(f"{command[0]!r} cannot be started ({error.strerror}): check the command") from error
    return code if code >= 0 else 128 - code


def _held(taken: LockInfo) -> list[HeldLock]:
    return [HeldLock(taken.id, taken.number, path.bucket, path.path, taken.until_at) for path in taken.paths]


@click.command(cls=Command)
@click.argument("names", metavar="[NAME...]", nargs=-1, type=NameType())
@click.option("--all", "everything", is_flag=True, help="Release every lock of this account.")
@pass_app
def unlock(app: App, names: tuple[Name, ...], everything: bool) -> None:
    """Release your locks. A lock on several files is released for all of them."""
    if not names and not everything:
        raise BadRequest("name the files, or give --all")
    account = app.api().me().name
    mine = [lock for lock in app.api().locks().locks if lock.account == account]
    chosen = mine if everything else [_of_mine(app, mine, name) for name in names]
    released = []
    for one in {lock.id: lock for lock in chosen}.values():
        app.api().release(one.id)
        released.append(one)
        for path in one.paths:
            app.forget_lock(path.bucket, path.path)
    text = "\n".join(f"released {formatting.safe(formatting.paths_of(one.paths))}" for one in released)
    app.show(text or "you hold no locks", {"released": released})


def _of_mine(app: App, mine: list[LockInfo], name: Name) -> LockInfo:
    found = next((lock for lock in mine if LockPath(*name) in lock.paths), None)
    if found is None:
        was_held = app.held_lock(*name) is not None
        app.forget_lock(*name)
        if was_held:
            raise LockStale(f"your lock on {name} has already ended: its lease expired, or it was broken")
        raise NotFound(f"you hold no lock on {name}")
    return found


@click.command(cls=Command)
@click.option("--mine", is_flag=True, help="Show only your own.")
@click.option("--watch", is_flag=True, help="Show them again whenever they change, until Ctrl-C.")
@click.option("--break", "broken", metavar="NAME|NUMBER", help="Break a lock (administrators, bucket owners).")
@click.option("--reason", default="", metavar="TEXT", help="With --break: why. The holder and the audit get it.")
@pass_app
def locks(app: App, mine: bool, watch: bool, broken: str | None, reason: str) -> None:
    """List the locks with their holders, expiry and waiters.

    Breaking a lock is safe: later writes under it are refused. With --watch and --json each line is a JSON object.
    """
    if reason and broken is None:
        raise BadRequest("--reason is for --break: name the lock to break, or leave the reason out")
    if broken is not None:
        _break(app, broken, reason)
        return
    account = app.api().me().name
    if not watch:
        app.show(*_shown(app.api().locks(), account, mine))
        return
    for reply in LockWatcher(
        app.api(), on_trouble=lambda why: app.note(f"waiting: {why}" if why else "watching again")
    ):
        text, data = _shown(reply, account, mine)
        click.echo(msgspec.json.encode(plain(data)) if app.json else f"{time.strftime('%H:%M:%S')}  {text}\n")


def _break(app: App, name: str, reason: str) -> None:
    victim = _named(app.api().locks().locks, name)
    app.api().release(victim.id, break_lock=True, reason=reason)
    paths = formatting.safe(formatting.paths_of(victim.paths))
    text = f"broke the lock of {formatting.safe(victim.account)} on {paths}"
    app.show(f"{text}; writes under number {victim.number} are now refused", {"broken": victim})


def _shown(reply: LocksReply, account: str, mine: bool) -> tuple[str, dict[str, Any]]:
    """The text and the JSON for the locks and places in line, or for the account's own."""
    if mine:
        reply.locks = [lock for lock in reply.locks if lock.account == account]
        reply.waiters = [waiter for waiter in reply.waiters if waiter.account == account]
    text, _ = formatting.locks_text(reply, account, time.time())
    return text, {"account": account, "locks": reply.locks, "waiters": reply.waiters}


def _named(locks: list[LockInfo], text: str) -> LockInfo:
    for lock in locks:
        names = {name for path in lock.paths for name in (label(path.bucket, path.path), f"{path.bucket}:{path.path}")}
        if text in (lock.id, str(lock.number)) or text in names:
            return lock
    raise NotFound(f"there is no lock {text!r}; `lockstep locks` lists them")
