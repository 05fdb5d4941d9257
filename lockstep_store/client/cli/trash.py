"""Commands about deleted files: trash list, restore, empty, keep."""

from __future__ import annotations

import click

from lockstep_store.client.cli.command import App, Command, Group, end, pass_app
from lockstep_store.client.cli.exit_codes import FAILED
from lockstep_store.client.cli.names import Name, NameType
from lockstep_store.client.text import formatting
from lockstep_store.wire.errors import BadRequest, NotFound
from lockstep_store.wire.messages.trash import TrashEntry

SHOWN_KEPT = 20


@click.group(cls=Group)
def trash() -> None:
    """Deleted files of a bucket that keeps versions.

    They can be restored until they are removed for good, and count in quotas until then.
    """


@trash.command("list", cls=Command)
@click.argument("name", required=False, type=NameType(empty=True))
@pass_app
def list_deleted(app: App, name: Name | None) -> None:
    """List deleted files, the last deleted first; with NAME those whose names begin with it."""
    name = name or Name("files", "")
    entries = list(app.api().trash(name.path, bucket=name.bucket))
    lines = [
        f"{formatting.when(one.deleted_at)}  {formatting.size(one.bytes):>9}  {one.deleted_by}  "
        f"{formatting.safe(one.path)}{_end(one)}"
        for one in entries
    ]
    total = sum(one.bytes for one in entries)
    if lines:
        files = "1 file" if len(entries) == 1 else f"{len(entries):,} files"
        lines.append(f"{files}, {formatting.size(total)} with all versions")
    app.show("\n".join(lines) or "the trash is empty", entries)


@trash.command("restore", cls=Command)
@click.argument("name", type=NameType())
@click.argument("target", required=False, type=NameType())
@click.option("--marker", metavar="MARKER", help="Which deletion to undo, if the file was deleted several times.")
@pass_app
def restore_deleted(app: App, name: Name, target: Name | None, marker: str | None) -> None:
    """Restore a deleted file, or with TARGET its last version under another name."""
    if target is not None and target.bucket != name.bucket:
        raise BadRequest("a deleted file is restored in its own bucket: move it afterwards")
    found = _entry(app, name, marker)
    restored = app.api().restore_deleted(
        name.path, found.marker, to=target.path if target is not None else "", bucket=name.bucket
    )
    where = "" if target is None else f" as {formatting.safe(str(target))}"
    app.show(f"restored {formatting.safe(str(name))}{where} (version {restored.version})", restored)


@trash.command("empty", cls=Command)
@click.argument("name", required=False, type=NameType(empty=True))
@click.option("--yes", is_flag=True, help="Do not ask.")
@pass_app
def empty(app: App, name: Name | None, yes: bool) -> None:
    """Remove deleted files for good: all of them, or those whose names begin with NAME."""
    name = name or Name("files", "")
    if not yes:
        what = f"whose names begin with {formatting.safe(str(name))}" if name.path else f"of bucket {name.bucket}"
        click.confirm(f"Remove all deleted files {what} for good, with all of their versions?", abort=True, err=True)
    reply = app.api().empty_trash(name.path, bucket=name.bucket)
    files = "1 file" if reply.removed == 1 else f"{reply.removed:,} files"
    app.show(f"removed {files} for good ({formatting.size(reply.bytes)})", reply)
    for kept in [] if app.json else reply.kept[:SHOWN_KEPT]:
        click.echo(f"{formatting.safe(kept.path)}: {formatting.safe(kept.problem.detail)}", err=True)
    if reply.kept:
        stay = "1 file stays" if len(reply.kept) == 1 else f"{len(reply.kept):,} files stay"
        end(click.get_current_context(), f"{stay} in the trash", FAILED)


@trash.command("keep", cls=Command)
@click.argument("days", metavar="DAYS|always")
@click.option("--bucket", default="files", metavar="BUCKET", help="The bucket; without it, `files`.")
@pass_app
def keep(app: App, days: str, bucket: str) -> None:
    """Set for how many DAYS a bucket keeps deleted files; `always`: until they are removed by hand."""
    if days != "always" and not (days.isascii() and days.isdecimal() and 1 <= int(days) <= 36500):
        raise BadRequest(f"{days!r} is no number of days from 1 to 36500, and not the word 'always'")
    number = None if days == "always" else int(days)
    app.api().set_trash_days(number, bucket=bucket)
    until = "until they are removed by hand" if number is None else f"for {number} {'day' if number == 1 else 'days'}"
    app.show(f"bucket {bucket} keeps deleted files {until}", {"bucket": bucket, "days": number})


def _entry(app: App, name: Name, marker: str | None) -> TrashEntry:
    for entry in app.api().trash(name.path, bucket=name.bucket):
        if entry.path == name.path and marker in (None, entry.marker):
            return entry
    raise NotFound(f"{name} is not in the trash; `lockstep trash list` shows what is")


def _end(entry: TrashEntry) -> str:
    return "" if entry.ends_at is None else f"  (until {formatting.when(entry.ends_at)})"
