"""Accounts: passwd for one's own; `users` for administrators: every account, its second factor and access; audit."""

from __future__ import annotations

import sys
from typing import get_args

import click
import msgspec

from lockstep_store.client.cli.command import App, Command, Group, pass_app
from lockstep_store.client.cli.log_in_questions import ask_password, remember
from lockstep_store.client.cli.second_factor import code_option, enrol_first, with_code
from lockstep_store.client.text import formatting
from lockstep_store.client.text.people import accounts_text
from lockstep_store.wire.errors import BadRequest, SecondFactorNeeded
from lockstep_store.wire.messages.base import MAX_LISTING
from lockstep_store.wire.messages.users import AccountRole, CreatedUser

_ROLE = click.Choice(get_args(AccountRole))


@click.command(cls=Command)
@click.argument("username", required=False)
@code_option
@pass_app
def passwd(app: App, username: str | None, code: str) -> None:
    """Change your password, or set one in place of a one-time password. Your other log-ins end.

    Without a terminal the old and the new password, and with a second factor a code, are read from standard input, one
    a line.
    """
    name = username or app.profile.account
    if not name:
        raise BadRequest("name the account: lockstep passwd USERNAME")
    old = ask_password("Current password (or one-time password)")
    new = ask_password("New password", repeat=True)
    api = app.anonymous(cluster_first=True)
    try:
        reply = with_code(code, lambda code: api.change_password(name, old, new, code=code))
    except SecondFactorNeeded as error:
        reply = enrol_first(app, api, name, new, error)
    remember(app, api, reply.account or name, reply)
    app.show(f"the password of {formatting.safe(name)} was changed; other log-ins have ended", {"account": name})


@click.group(cls=Group)
def users() -> None:
    """Accounts of people (administrators)."""


@users.command("list")
@pass_app
def list_users(app: App) -> None:
    """List the accounts with their roles, states, log-ins and keys."""
    found = app.api().users()
    app.show(accounts_text(found), {"users": found})


@users.command("create")
@click.argument("name")
@click.option("--role", type=_ROLE, default="member", show_default=True)
@pass_app
def create(app: App, name: str, role: AccountRole) -> None:
    """Create an account and print its one-time password."""
    _show_password(app, app.api().create_user(name, role))


@users.command("reset")
@click.argument("name")
@pass_app
def reset(app: App, name: str) -> None:
    """Replace a password by a one-time password, and end the account's log-ins."""
    _show_password(app, app.api().reset_password(name))


def _show_password(app: App, made: CreatedUser) -> None:
    app.note(f"one-time password of {formatting.safe(made.user.name)}; set another with: lockstep passwd")
    app.show(made.password, made)


@users.command("role")
@click.argument("name")
@click.argument("role", type=_ROLE)
@pass_app
def change_role(app: App, name: str, role: AccountRole) -> None:
    """Make an account administrator, member or read-only."""
    user = app.api().change_user(name, role=role)
    app.show(f"{formatting.safe(user.name)} is now {user.role}", user)


@users.command("disable")
@click.argument("name")
@pass_app
def disable(app: App, name: str) -> None:
    """End an account's log-ins, refuse its keys, and let it log in no more."""
    user = app.api().change_user(name, disabled=True)
    app.show(f"disabled {formatting.safe(user.name)}", user)


@users.command("enable")
@click.argument("name")
@pass_app
def enable(app: App, name: str) -> None:
    """Let a disabled account log in again."""
    user = app.api().change_user(name, disabled=False)
    app.show(f"enabled {formatting.safe(user.name)}", user)


@users.command("require-mfa")
@click.argument("name")
@click.option("--off", is_flag=True, help="No longer require it.")
@pass_app
def require_second_factor(app: App, name: str, off: bool) -> None:
    """Let an account log in only with a second factor; without one it can only set one up.

    The directory's --require-second-factor requires it of administrators or of everyone.
    """
    user = app.api().change_user(name, second_factor_required=not off)
    may = "must have a second factor" if user.second_factor_required else "may log in without a second factor"
    app.show(f"{formatting.safe(user.name)} {may}", user)


@users.command("reset-mfa")
@click.argument("name")
@pass_app
def reset_second_factor(app: App, name: str) -> None:
    """Delete a lost second factor, and end the account's log-ins."""
    user = app.api().reset_second_factor(name)
    app.show(f"{formatting.safe(user.name)} no longer has a second factor", user)


@users.command("delete")
@click.argument("name")
@click.option("--buckets-to", metavar="USERNAME", default="", help="The account that gets its buckets.")
@pass_app
def delete(app: App, name: str, buckets_to: str) -> None:
    """Delete an account with its log-ins and keys. Its files stay.

    If it owns buckets, --buckets-to names the account that gets them; on a terminal it is asked for.
    """
    api = app.api()
    user = next((one for one in api.users() if one.name == name), None)
    if user is not None and user.buckets and not buckets_to and sys.stdin.isatty():
        owned = formatting.counted(len(user.buckets), "bucket")
        buckets_to = str(click.prompt(f"{formatting.safe(name)} owns {owned}. Which account gets them", err=True))
    api.delete_user(name, buckets_to)
    app.show(f"deleted {formatting.safe(name)}", {"deleted": name, "buckets_to": buckets_to})


@users.command("access")
@click.argument("name")
@pass_app
def access(app: App, name: str) -> None:
    """List an account's log-ins and keys, with the ids for `users revoke`."""
    found = app.api().user_access(name)
    rows = [(one.id, "log-in", one.client, formatting.when(one.created_at)) for one in found.sessions]
    rows += [(key.id, "API key", key.name, formatting.when(key.created_at)) for key in found.api_keys]
    rows += [(id, "S3 key", "", "") for id in found.s3_keys]
    app.show(formatting.table(("id", "kind", "name", "since"), rows), found)


@users.command("revoke")
@click.argument("name")
@click.argument("id", required=False, default="")
@click.option("--all", "everything", is_flag=True, help="End all of the account's log-ins and keys.")
@pass_app
def revoke(app: App, name: str, id: str, everything: bool) -> None:
    """End one log-in or key of an account by its ID, or all of them with --all."""
    if bool(id) == everything:
        raise BadRequest("give either an ID or --all")
    ended = app.api().revoke_user_access(name, id)
    text = f"ended {formatting.counted(ended, 'log-in or key', 'log-ins and keys')} of {formatting.safe(name)}"
    app.show(text, {"ended": ended})


@click.command(cls=Command)
@click.option("--after", type=click.IntRange(0), default=0, metavar="ID", help="Only events after this one.")
@pass_app
def audit(app: App, after: int) -> None:
    """Print the journal of security events as JSON lines, the oldest first (administrators)."""
    while True:
        page = app.api().audit(after)
        for event in page:
            click.echo(msgspec.json.encode(event).decode())
            after = event.id
        if len(page) < MAX_LISTING:
            return
