"""The command that shows what takes space."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click

from lockstep_store.client.api.calls import ApiCalls
from lockstep_store.client.cli.command import App, Command, pass_app
from lockstep_store.client.cli.names import Name, NameType
from lockstep_store.client.text import formatting
from lockstep_store.wire.errors import BadRequest
from lockstep_store.wire.messages.analytics import MAX_NAMED, NamedAmount, Savings

_GROUPS = ("bucket", "account", "tenant", "type", "month", "day")


@click.command(cls=Command)
@click.argument("name", metavar="[FOLDER]", type=NameType(empty=True), required=False)
@click.option(
    "--limit", default=100, metavar="NUMBER", type=click.IntRange(1, MAX_NAMED), help="Show so many folders (100)."
)
@click.option(
    "--by",
    "group",
    type=click.Choice(_GROUPS),
    help="Show what your buckets take by this instead, with old versions; for administrators, all buckets.",
)
@click.option("--bucket", default="", metavar="BUCKET", help="With --by: only this bucket.")
@pass_app
def du(app: App, name: Name | None, limit: int, group: str | None, bucket: str) -> None:
    """Show how much space a folder takes, and each folder in it.

    Without FOLDER, it is the bucket `files`; a whole bucket is `BUCKET:`. Folders show current files only; --by also
    counts older versions.
    """
    if group is not None:
        if name is not None:
            raise BadRequest("give a FOLDER, or --by, not both; for one bucket, use --bucket")
        _show_groups(app, group, bucket)
        return
    if bucket:
        raise BadRequest("--bucket goes with --by; the folders of a bucket are `lockstep du BUCKET:`")
    name = name or Name("files", "")
    path = f"{name.path.rstrip('/')}/" if name.path else ""
    found = app.api().folder_analytics(path, bucket=name.bucket, limit=limit)
    rows = [(formatting.size(one.bytes), f"{one.files:,}", one.path) for one in found.folders]
    rows.append((formatting.size(found.bytes), f"{found.files:,}", f"{name.bucket}:{path}"))
    app.show(formatting.table(("size", "files", "folder"), rows, right="size files"), found)


def _show_groups(app: App, group: str, bucket: str) -> None:
    found, amounts, savings = _ask(app.api(), group, bucket)
    rows = [
        (
            one.name,
            formatting.size(one.file_bytes),
            f"{one.files:,}",
            formatting.size(one.version_bytes),
            f"{one.versions:,}",
        )
        for one in amounts
    ]
    heads = (group, "size", "files", "stored", "versions")
    text = formatting.table(heads, rows, right="size files stored versions") if rows else "nothing is stored"
    if savings is not None:
        text += "\n" + _saved(savings)
    app.show(text, found)


def _saved(savings: Savings) -> str:
    size = formatting.size
    different = f"{size(savings.version_bytes)} in all versions, {size(savings.content_bytes)} of it different"
    equal = f"Saved: {size(savings.deduplicated_bytes)} because equal files are stored once"
    if savings.disk_bytes is None or savings.chunk_bytes is None:
        return f"{different}.\n{equal}."
    return (
        f"{different}; on disk {size(savings.disk_bytes)} in {savings.copies} copies.\n"
        f"{equal}, about {size(savings.chunk_bytes)} because similar ones share chunks."
    )


def _ask(api: ApiCalls, group: str, bucket: str) -> tuple[Any, Sequence[NamedAmount], Savings | None]:
    """The reply, its part about the group, and the savings that belong to it."""
    if group == "type":
        types = api.file_type_analytics(bucket)
        return types, types.types, None
    if group == "day":
        growth = api.growth_analytics(bucket)
        return growth, growth.days, None
    found = api.storage_analytics(bucket)
    lists = {"bucket": found.buckets, "account": found.accounts, "tenant": found.tenants, "month": found.months}
    return found, lists[group], found.savings if group == "bucket" else None
