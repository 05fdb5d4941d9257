"""Commands for named encryption keys (SSE-KMS): kms create, list, enable, disable, rotate."""

from __future__ import annotations

import click

from lockstep_store.client.cli.command import App, Group, pass_app
from lockstep_store.client.text import formatting
from lockstep_store.wire.errors import NotFound
from lockstep_store.wire.messages.kms import KmsKeyInfo, key_name

_key_argument = click.argument("key", metavar="KEY")


@click.group(cls=Group)
def kms() -> None:
    """Manage named encryption keys, SSE-KMS (administrators).

    S3 clients choose one with `aws:kms`. A bucket's default key encrypts all its new files. KEY is a key's name, id,
    alias or ARN. Keys are never deleted, because files may need them.
    """


@kms.command("list")
@pass_app
def list_keys(app: App) -> None:
    """List the keys, without their secrets."""
    found = app.api().kms_keys()
    rows = [
        (
            key.id,
            "enabled" if key.enabled else "disabled",
            str(key.versions),
            formatting.when(key.created_at),
            formatting.when(key.rotated_at) if key.versions > 1 else "",
            key.name,
        )
        for key in found
    ]
    text = formatting.table(("id", "state", "versions", "made", "rotated", "name"), rows) if rows else "no keys"
    app.show(text, {"keys": found})


@kms.command("create")
@click.argument("name", metavar="NAME")
@pass_app
def create_key(app: App, name: str) -> None:
    """Create a key called NAME."""
    key = app.api().create_kms_key(name)
    app.note("back up the directory now (`lockstep backup FILE`): without the key its files cannot be read")
    app.show(_named(key, "made"), key)


@kms.command("enable")
@_key_argument
@pass_app
def enable_key(app: App, key: str) -> None:
    """Enable a disabled KEY."""
    info = app.api().enable_kms_key(_id(app, key), enabled=True)
    app.show(_named(info, "enabled"), info)


@kms.command("disable")
@_key_argument
@pass_app
def disable_key(app: App, key: str) -> None:
    """Disable KEY: until it is enabled, its files can be neither written nor read."""
    info = app.api().enable_kms_key(_id(app, key), enabled=False)
    app.show(_named(info, "disabled"), info)


@kms.command("rotate")
@_key_argument
@pass_app
def rotate_key(app: App, key: str) -> None:
    """Make a new version of KEY for new files. Older files keep the version they have."""
    info = app.api().rotate_kms_key(_id(app, key))
    app.note("back up the directory now (`lockstep backup FILE`), so that the backup has the new version")
    app.show(_named(info, f"version {info.versions} of"), info)


def _id(app: App, key: str) -> str:
    """The id of a named key. Names may contain slashes, so addresses use ids."""
    name = key_name(key)
    for found in app.api().kms_keys():
        if name in (found.id, found.name):
            return found.id
    raise NotFound(f"there is no key {key!r}; `lockstep kms list` shows them")


def _named(key: KmsKeyInfo, what: str) -> str:
    return f"{what} key {formatting.safe(key.name)} ({key.id})"
