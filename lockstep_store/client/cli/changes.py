"""Commands that change files: rm, cp, mv, versions, restore, edit."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from lockstep_store.client.api.answers import Saved
from lockstep_store.client.cli.command import App, Command, pass_app
from lockstep_store.client.cli.folders import is_folder, move_folder, remove_folder
from lockstep_store.client.cli.json_output import saved_data
from lockstep_store.client.cli.locks import wait_line
from lockstep_store.client.cli.maintenance import RestoreCommand
from lockstep_store.client.cli.names import Name, NameType
from lockstep_store.client.editing import Edit, EditSummary, editor_command, run_editor, shown_lines
from lockstep_store.client.local_storage import LocalFileError, LocalStorage
from lockstep_store.client.lock_holder import LockHolder, agent_name
from lockstep_store.client.text import formatting
from lockstep_store.client.text.progress_bars import file_bar
from lockstep_store.wire.errors import BadRequest, LockStale, NotFound
from lockstep_store.wire.messages.locks import LockPath

_lock_option = click.option("--lock", "lock_number", type=int, metavar="NUMBER", help="The number of your lock.")


@contextmanager
def _under_lock(app: App, name: Name, given: int | None) -> Iterator[int | None]:
    """The lock number to use on `name`. A lock that has ended is forgotten, and its error says so."""
    try:
        yield app.lock_number(*name, given)
    except LockStale as error:
        raise app.stale(error, *name) from error


@click.command(cls=Command)
@click.argument("names", metavar="NAME...", nargs=-1, required=True, type=NameType(empty=True))
@click.option("-r", "--recursive", is_flag=True, help="Remove every file below NAME/.")
@click.option("--version", metavar="VERSION", help="Permanently remove this version.")
@_lock_option
@pass_app
def rm(app: App, names: tuple[Name, ...], recursive: bool, version: str | None, lock_number: int | None) -> None:
    """Remove files. In a bucket with versioning, `restore` brings them back.

    With -r a folder of up to 500 files is removed as a whole or not at all: no file in it may be locked.
    """
    if version and (recursive or len(names) > 1):
        raise BadRequest("--version removes one version of one file: give one NAME and no -r")
    done: list[dict[str, Any]] = []
    for name in names:
        if not name.path and not recursive:
            raise BadRequest(f"{name} is a bucket: `lockstep buckets delete` removes it, rm -r empties it")
        if recursive and name.path:
            done.append(remove_folder(app, name))
            continue
        for target in list(_below(app, name)) if recursive else [name]:
            with _under_lock(app, target, lock_number) as number:
                reply = app.api().delete(target.path, bucket=target.bucket, version=version, lock=number)
            if not reply.existed:
                raise NotFound(f"{target} does not exist")
            done.append({"bucket": target.bucket, "path": target.path, "version": reply.version})
            if not app.json:
                what = f"version {version} of {target}" if version else str(target)
                click.echo(f"removed {formatting.safe(what)}")
    app.show("" if done else "nothing to remove", done)


def _below(app: App, name: Name) -> Iterator[Name]:
    for file in app.api().list(bucket=name.bucket):
        yield Name(name.bucket, file.path)


@click.command(cls=Command)
@click.argument("source", type=NameType())
@click.argument("target", type=NameType(empty=True))
@click.option("--version", metavar="VERSION", help="Copy this version instead of the current one.")
@_lock_option
@pass_app
def cp(app: App, source: Name, target: Name, version: str | None, lock_number: int | None) -> None:
    """Copy a file within the cluster.

    No content is transferred.
    """
    target = _inside(source, target)
    with _under_lock(app, target, lock_number) as number:
        saved = app.api().copy(
            source.path, target.path, bucket=source.bucket, to_bucket=target.bucket, version=version, lock=number
        )
    app.show(formatting.saved_line(saved, f"copied {formatting.safe(str(source))} to"), saved_data(saved))


@click.command(cls=Command)
@click.argument("source", type=NameType())
@click.argument("target", type=NameType(empty=True))
@_lock_option
@click.option("--merge", is_flag=True, help="Move a folder into one that has files already, but none of the same name.")
@pass_app
def mv(app: App, source: Name, target: Name, lock_number: int | None, merge: bool) -> None:
    """Rename a file or a folder, or move it to another bucket.

    A file and a folder of up to 500 files move atomically. --lock is a lock on both names of a file.
    """
    target = _inside(source, target)
    if is_folder(app, source):
        move_folder(app, source, target, merge=merge)
        return
    if merge:
        raise BadRequest(f"--merge is for folders, and {source} is a file")
    with (
        _under_lock(app, target, lock_number) as number,
        _under_lock(app, source, lock_number) as source_number,
    ):
        saved = app.api().move(
            source.path,
            target.path,
            bucket=source.bucket,
            to_bucket=target.bucket,
            lock=number,
            source_lock=source_number,
        )
    app.show(formatting.saved_line(saved, f"moved {formatting.safe(str(source))} to"), saved_data(saved))


def _inside(source: Name, target: Name) -> Name:
    """The target file: a target that is a bucket or ends with a slash is a folder for the source."""
    return target.child(source.last) if not target.path or target.path.endswith("/") else target


@click.command(cls=Command)
@click.argument("name", type=NameType())
@pass_app
def versions(app: App, name: Name) -> None:
    """List a file's versions, newest first."""
    found = app.api().versions(name.path, bucket=name.bucket)
    if not found:
        raise NotFound(f"{name} has no versions")
    app.show(formatting.versions_table(found, width=_width()), {"versions": found})


@click.command(cls=RestoreCommand)
@click.argument("name", type=NameType())
@click.argument("version")
@_lock_option
@pass_app
def restore(app: App, name: Name, version: str, lock_number: int | None) -> None:
    """Restore an old version, as a new version.

    VERSION is one that `lockstep versions` shows. Leading zeros can be left out, and an unambiguous prefix is enough.

    On the directory's machine, `lockstep restore FILE --data FOLDER` restores the directory from a backup; see
    `lockstep restore --data FOLDER --help`.
    """
    known = app.api().versions(name.path, bucket=name.bucket)
    matches = [one for one in known if one.version.startswith(version)]
    exact = [one for one in known if one.version.lstrip("0") == version.lstrip("0")]
    if len(exact or matches) != 1:
        problem = f"{len(matches)} versions begin with" if matches else "there is no version"
        raise NotFound(f"{name}: {problem} {version!r}; `lockstep versions {name}` lists them")
    with _under_lock(app, name, lock_number) as number:
        saved = app.api().restore(name.path, (exact or matches)[0].version, bucket=name.bucket, lock=number)
    app.show(formatting.saved_line(saved, "restored"), saved_data(saved))


@click.command(cls=Command)
@click.argument("name", type=NameType())
@click.option("--wait", "patience", type=float, metavar="SECONDS", help="How long to wait for the lock.")
@pass_app
def edit(app: App, name: Name, patience: float | None) -> None:
    """Edit a file in $EDITOR under its lock.

    Locks and fetches the file, opens the editor, saves the changes and releases the lock. If saving fails, your edit is
    kept in the local storage folder, and the message says where.
    """
    command = editor_command(app.environment)
    if not command:
        raise LocalFileError("no editor is set: set EDITOR, for example `EDITOR=nano lockstep edit NAME`")
    holder = LockHolder(
        app.api(),
        [LockPath(*name)],
        client=agent_name(),
        on_wait=lambda waiting: app.note(wait_line(waiting)),
        on_lost=lambda reason: app.note(f"warning: {reason}; saving will be refused, your edit will be kept"),
    )
    with tempfile.TemporaryDirectory(prefix="lockstep-edit-") as folder, holder:
        holder.acquire(patience_seconds=patience)
        session = Edit(app.api(), holder, name, LocalStorage(Path(folder)), LocalStorage.default())
        _edit(app, name, session, command)


def _edit(app: App, name: Name, session: Edit, command: list[str]) -> None:
    before = session.fetch()
    try:
        run_editor(command, session.local)
    except LocalFileError as error:
        if session.changes().changed:
            raise LocalFileError(f"{error}; your edit is kept in {session.keep()}") from error
        raise
    change = session.changes()
    if not change.changed:
        text = f"{change.summary}: {formatting.safe(str(name))} is unchanged, lock released"
        app.show(text, _edit_data(change, None))
        return
    if not app.json:
        for line in shown_lines(change):
            click.echo(line)
    size = session.local.stat().st_size
    with file_bar(sys.stderr, "sending", name.last, size, show=app.shows_progress) as progress:
        sent = session.save(progress)
    verb = "saved" if before is not None else "created"
    text = f"{formatting.saved_line(sent.saved, verb)} ({change.summary}), lock released"
    app.show(text, _edit_data(change, sent.saved))


def _edit_data(change: EditSummary, saved: Saved | None) -> dict[str, Any]:
    data: dict[str, Any] = {"changed": change.changed, "summary": change.summary}
    return {**data, **saved_data(saved)} if saved else data


def _width() -> int:
    try:
        return max(formatting.WIDTH, os.get_terminal_size(sys.stdout.fileno()).columns)
    except (OSError, ValueError):
        return 160  # a pipe or a file needs no shortening
