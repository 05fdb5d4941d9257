"""Commands about folders: mkdir, folders; and what `mv` and `rm -r` do with a folder."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from lockstep_store.client.cli.command import App, Command, Group, end, pass_app
from lockstep_store.client.cli.exit_codes import FAILED
from lockstep_store.client.cli.names import Name, NameType
from lockstep_store.client.text import formatting
from lockstep_store.wire.messages.folders import FolderChange

SHOWN_PROBLEMS = 20
_VERBS = {"move": "moved", "delete": "removed"}


@click.command(cls=Command)
@click.argument("names", metavar="NAME...", nargs=-1, required=True, type=NameType())
@click.option("-p", "--parents", "exist_ok", is_flag=True, help="No error if the folder exists.")
@pass_app
def mkdir(app: App, names: tuple[Name, ...], exist_ok: bool) -> None:
    """Create empty folders.

    A folder that was created stays when it is empty. A file's folders need not be created before the file.
    """
    made = []
    for name in names:
        folder = app.api().create_folder(name.path, bucket=name.bucket, exist_ok=exist_ok)
        made.append(folder)
        if not app.json:
            verb = "created" if folder.created else "exists:"
            click.echo(f"{verb} {formatting.safe(str(Name(folder.bucket, folder.path)))}")
    app.show("", made if len(made) > 1 else made[0])


@click.group(cls=Group)
def folders() -> None:
    """Look after moves and removals of large folders.

    They go on in the cluster when this program ends.
    """


@folders.command("list")
@pass_app
def list_changes(app: App) -> None:
    """List the folders that you moved or removed, newest first."""
    found = app.api().folder_changes()
    lines = [f"{change.id}  {formatting.when(change.began_at)}  {_state(change)}" for change in found]
    app.show("\n".join(lines) or "no folder was moved or removed in the last week", found)


@folders.command("show")
@click.argument("id")
@pass_app
def show(app: App, id: str) -> None:
    """Show how far a change is, and what it could not do."""
    change = app.api().folder_change(id)
    app.show("\n".join([_state(change), *_problems(change)]), change)


@folders.command("retry")
@click.argument("id")
@pass_app
def retry(app: App, id: str) -> None:
    """Try again what a change could not do."""
    _conclude(app, app.api().retry_folder_change(id, on_progress=_reporter(app)))


@folders.command("stop")
@click.argument("id")
@pass_app
def stop(app: App, id: str) -> None:
    """Stop a change; what is done stays done."""
    change = app.api().stop_folder_change(id)
    app.show(_state(change), change)


def is_folder(app: App, name: Name) -> bool:
    """Whether the name is a folder's: it ends with a slash, or there is no such file but a folder."""
    if name.path.endswith("/"):
        return True
    if app.api().stat_or_none(name.path, bucket=name.bucket) is not None:
        return False
    page = app.api().list_page(f"{name.path}/", bucket=name.bucket, limit=1)
    return bool(page.files)


def move_folder(app: App, source: Name, target: Name, *, merge: bool) -> None:
    """Move a folder and say what became of it."""
    change = app.api().move_folder(
        source.path,
        target.path,
        bucket=source.bucket,
        to_bucket=target.bucket,
        merge=merge,
        on_progress=_reporter(app),
    )
    _conclude(app, change)


def remove_folder(app: App, name: Name) -> dict[str, Any]:
    """Remove a folder, say what became of it, and return that for --json."""
    change = app.api().delete_folder(name.path, bucket=name.bucket, on_progress=_reporter(app))
    if change.state != "done":
        _conclude(app, change)
    if not app.json:
        click.echo(_state(change))
    return {"bucket": change.bucket, "path": change.path, "files": change.done, "change": change.id}


def _conclude(app: App, change: FolderChange) -> None:
    """Show a change that has ended; exit code 1 unless everything was done."""
    if change.state == "done":
        app.show(_state(change), change)
        return
    change = app.api().folder_change(change.id)
    app.show("", change)
    for line in [] if app.json else _problems(change):
        click.echo(line, err=True)
    end(click.get_current_context(), f"{_state(change)}; `lockstep folders retry {change.id}` tries again", FAILED)


def _reporter(app: App) -> Callable[[FolderChange], None]:
    """Say once that the change takes longer; then, on a terminal, how far it is."""
    said = False

    def report(change: FolderChange) -> None:
        nonlocal said
        if not said:
            app.note(
                f"{change.total:,} files: this goes on in the cluster as change {change.id}. Ctrl-C leaves it running; "
                f"`lockstep folders show {change.id}` tells how far it is"
            )
            said = True
        elif change.done or change.failed:
            app.note(f"{change.done:,} of {change.total:,} files")

    return report


def _state(change: FolderChange) -> str:
    source = formatting.safe(str(Name(change.bucket, change.path)))
    where = f"{source} to {formatting.safe(str(Name(change.to_bucket, change.to_path)))}" if change.to_path else source
    verb, files = _VERBS[change.kind], f"{change.done:,} {'file' if change.done == 1 else 'files'}"
    if change.state == "done":
        return f"{verb} {where} ({files})"
    if change.state == "running":
        return f"running: {verb} {change.done:,} of {change.total:,} files of {where}"
    why = f": {change.reason}" if change.reason else ""
    return f"{change.state}{why}: {verb} {files} of {where}, {change.failed:,} could not be {verb}"


def _problems(change: FolderChange) -> list[str]:
    shown = change.problems[:SHOWN_PROBLEMS]
    lines = [f"{formatting.safe(one.path)}: {formatting.safe(one.problem.detail)}" for one in shown]
    more = change.failed - len(shown)
    return [*lines, f"and {more:,} more"] if more > 0 else lines
