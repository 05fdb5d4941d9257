"""Commands about groups of accounts: group create, list, show, add, remove, delete."""

from __future__ import annotations

import click

from lockstep_store.client.cli.command import App, Group, pass_app
from lockstep_store.client.text import formatting
from lockstep_store.wire.messages.groups import GROUP_PREFIX, AccountGroup, GroupRole

_NAME = click.argument("name")
_ACCOUNTS = click.argument("accounts", nargs=-1, required=True, metavar="USERNAME...")


@click.group(cls=Group)
def group() -> None:
    """Groups of accounts. Access names one as `group:NAME`: `lockstep access grant plans/ group:editors write`."""


@group.command("create")
@_NAME
@click.option("--description", default="", help="What it is for.")
@click.option("--manager", "managers", multiple=True, metavar="USERNAME", help="May change who is in it; repeatable.")
@pass_app
def create(app: App, name: str, description: str, managers: tuple[str, ...]) -> None:
    """Create a group (administrators)."""
    made = app.api().create_group(name, dict.fromkeys(managers, "manager"), description=description)
    app.show(
        f"created group {formatting.safe(made.name)}; grants name it {formatting.safe(GROUP_PREFIX + made.name)}", made
    )


@group.command("list")
@pass_app
def list_groups(app: App) -> None:
    """List the groups that you are in; administrators see all."""
    found = app.api().groups()
    rows = [
        (formatting.safe(one.name), str(one.members), one.role or "", formatting.safe(one.description)) for one in found
    ]
    text = formatting.table(("name", "members", "you are", "description"), rows) if rows else "you are in no group"
    app.show(text, {"groups": found})


@group.command("show")
@_NAME
@pass_app
def show(app: App, name: str) -> None:
    """Show who is in a group, and who manages it."""
    _show(app, app.api().group(name))


@group.command("add")
@_NAME
@_ACCOUNTS
@click.option("--manager", is_flag=True, help="They may also change who is in it.")
@pass_app
def add(app: App, name: str, accounts: tuple[str, ...], manager: bool) -> None:
    """Add accounts to a group. Without --manager a manager becomes a member.

    For administrators and the group's managers. What it may do, they may do at once.
    """
    role: GroupRole = "manager" if manager else "member"
    _show(app, app.api().change_group(name, dict.fromkeys(accounts, role)))


@group.command("remove")
@_NAME
@_ACCOUNTS
@pass_app
def remove(app: App, name: str, accounts: tuple[str, ...]) -> None:
    """Remove accounts from a group. What only the group gave them ends at once."""
    _show(app, app.api().change_group(name, dict.fromkeys(accounts)))


@group.command("delete")
@_NAME
@pass_app
def delete(app: App, name: str) -> None:
    """Delete a group with the grants to it (administrators). Its accounts stay."""
    app.api().delete_group(name)
    app.show(f"deleted group {formatting.safe(name)}", {"deleted": name})


def _show(app: App, found: AccountGroup) -> None:
    rows = [(formatting.safe(name), role) for name, role in found.accounts.items()]
    text = formatting.table(("account", "is"), rows) if rows else "nobody is in it"
    about = f"group {formatting.safe(found.name)}"
    if found.description:
        about += f": {formatting.safe(found.description)}"
    app.show(f"{about}\n{text}", found)
