"""Commands for access to files and folders: who has it and why, and the grants that give it."""

from __future__ import annotations

from typing import get_args

import click

from lockstep_store.client.cli.command import App, Group, pass_app
from lockstep_store.client.cli.names import Name, NameType
from lockstep_store.client.text import formatting
from lockstep_store.wire.messages.access import ANY_ACCOUNT, EVERYBODY, AccessLevel, AccessReply

_NAME = click.argument("name", type=NameType(empty=True))
_SHOWN = {EVERYBODY: "everybody", ANY_ACCOUNT: "other accounts"}


@click.group(cls=Group)
def access() -> None:
    """Access to a file, or to a folder with all that is in it (`plans/`, `bucket:`)."""


@access.command("show")
@_NAME
@click.option("--account", default="", metavar="USERNAME", help="Only this account, or `group:NAME`.")
@pass_app
def show(app: App, name: Name, account: str) -> None:
    """Show who may read, write and manage NAME, and why.

    Owners, administrators and those who manage NAME see everybody; others see themselves.
    """
    show_access(app, app.api().access(name.path, bucket=name.bucket, account=account))


@access.command("grant")
@_NAME
@click.argument("account")
@click.argument("level", type=click.Choice(get_args(AccessLevel)))
@pass_app
def grant(app: App, name: Name, account: str, level: AccessLevel) -> None:
    """Let ACCOUNT, or the group `group:NAME`, read, write or manage NAME.

    read includes listing a folder, write includes deleting, manage also changes who has access.
    """
    show_access(app, app.api().change_access(name.path, {account: level}, bucket=name.bucket))


@access.command("revoke")
@_NAME
@click.argument("account")
@pass_app
def revoke(app: App, name: Name, account: str) -> None:
    """Remove the grant of ACCOUNT on NAME. Grants on folders above stay."""
    show_access(app, app.api().change_access(name.path, {account: None}, bucket=name.bucket))


@access.command("public")
@_NAME
@click.option("--off", is_flag=True, help="Only people with access of their own read it again.")
@pass_app
def public(app: App, name: Name, off: bool) -> None:
    """Let everybody read NAME, also people without an account."""
    show_access(app, app.api().change_access(name.path, {}, bucket=name.bucket, public=not off))


@access.command("shared-with-me")
@pass_app
def shared_with_me(app: App) -> None:
    """List the files and folders that others have granted to you."""
    found = app.api().shared_with_me()
    rows = [
        (formatting.safe(f"{one.bucket}:{one.path}"), one.level, formatting.safe(one.owner), formatting.safe(one.group))
        for one in found
    ]
    text = formatting.table(("name", "you may", "owner", "group"), rows) if rows else "nobody has granted you anything"
    app.show(text, {"items": found})


def show_access(app: App, reply: AccessReply) -> None:
    rows = [
        (
            _SHOWN.get(one.account, formatting.safe(one.account)),
            one.levels[-1] if one.levels else "nothing",
            formatting.safe(one.because) + (" (a request's address or time may matter)" if one.conditional else ""),
        )
        for one in reply.people
    ]
    what = formatting.safe(f"{reply.bucket}:{reply.path}")
    state = "public" if reply.public else "not public"
    app.show(f"{what}, {state}\n{formatting.table(('who', 'may', 'because'), rows, width=120)}", reply)
