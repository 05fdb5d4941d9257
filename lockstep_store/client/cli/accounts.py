"""Commands for accounts and buckets: login, logout, whoami, buckets."""

from __future__ import annotations

from pathlib import Path

import click
import msgspec

from lockstep_store.client import single_sign_on
from lockstep_store.client.cli.command import App, Command, Group, pass_app
from lockstep_store.client.cli.log_in_questions import ask, ask_password, read_line, remember
from lockstep_store.client.cli.second_factor import code_option, enrol_first, with_code
from lockstep_store.client.cli.sign_on_options import sign_on_options
from lockstep_store.client.client import Client
from lockstep_store.client.credentials import authority_of
from lockstep_store.client.local_storage import LocalFileError, local_problem
from lockstep_store.client.single_sign_on import SignOnChoice
from lockstep_store.client.text import formatting
from lockstep_store.wire.errors import BadRequest, NotLoggedIn, SecondFactorNeeded, Unavailable
from lockstep_store.wire.messages.buckets import Versioning
from lockstep_store.wire.messages.people import LoginReply


class _PasswordFile(msgspec.Struct):
    username: str
    password: str


@click.command(cls=Command)
@click.argument("username", required=False)
@click.option("--register", is_flag=True, help="Fail if the account exists already.")
@click.option("--password-stdin", is_flag=True, help="Read the password from standard input without asking.")
@click.option(
    "--credentials",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Read user name and password from a JSON file, such as .cluster/admin-credentials.json.",
)
@code_option
@sign_on_options
@pass_app
def login(
    app: App,
    username: str | None,
    register: bool,
    password_stdin: bool,
    credentials: Path | None,
    code: str,
    sign_on: SignOnChoice | None,
) -> None:
    """Log in for this and later commands. A new name creates an account.

    With --sso you log in at your organisation's identity provider: in a browser here, or with --device on another
    device.

    With a second factor you also need a code from your authenticator app, or a recovery code: give it with --code, or
    type it when asked. An account that must have a second factor, and has none, sets it up first; see lockstep mfa.

    The log-in is stored in ~/.config/lockstep/credentials.json, which only you can read. Scripts can set
    LOCKSTEP_API_KEY instead. Use --profile for several log-ins.
    """
    if sign_on is not None:
        if username or register or password_stdin or code or credentials is not None:
            raise BadRequest("--sso takes no user name and no password: leave them out")
        _log_in_at_provider(app, sign_on)
        return
    if credentials is not None:
        username, password = _from_file(credentials)
    else:
        if password_stdin and not username:
            raise BadRequest("--password-stdin needs a USERNAME: name it on the command line")
        username = username or ask("User name: ")
        password = read_line() if password_stdin else ask_password()
    api = app.anonymous(cluster_first=True)
    try:
        reply = with_code(
            code,
            lambda code: api.login(username, password, register=register, code=code),
            from_pipe=credentials is None,
        )
    except SecondFactorNeeded as error:
        reply = enrol_first(app, api, username, password, error)
    account = reply.account or username
    remember(app, api, account, reply)
    _show_log_in(app, api, account, reply, created=reply.created or register)


def _log_in_at_provider(app: App, choice: SignOnChoice) -> None:
    api = app.anonymous(cluster_first=True)
    # To standard error, also with --json: without these lines nobody can log in.
    reply = single_sign_on.log_in(api, choice, lambda text: click.echo(formatting.safe(text), err=True))
    remember(app, api, reply.account, reply)
    _show_log_in(app, api, reply.account, reply, created=reply.created)


def _show_log_in(app: App, api: Client, account: str, reply: LoginReply, *, created: bool) -> None:
    new = "new account created; " if created else ""
    admin = ", administrator" if reply.admin else ""
    text = f"{new}logged in as {formatting.safe(account)}{admin} at {api.url}"
    if reply.expires_at:
        text += f" until {formatting.when(reply.expires_at)}"
    data = {
        "account": account,
        "url": api.url,
        "admin": reply.admin,
        "created": created,
        "expires_at": reply.expires_at,
    }
    app.show(text, data)


def _from_file(file: Path) -> tuple[str, str]:
    try:
        found = msgspec.json.decode(file.read_bytes(), type=_PasswordFile)
    except OSError as error:
        raise local_problem("read", file, error) from error
    except msgspec.DecodeError as error:
        raise LocalFileError(
            f"{file} does not contain a user name and a password ({error}): check which file it is"
        ) from error
    return found.username, found.password


@click.command(cls=Command)
@pass_app
def logout(app: App) -> None:
    """Log out.

    The cluster revokes the log-in, and this machine deletes it.
    """
    profile = app.profile
    if not profile.token:
        app.show("not logged in", {"logged_out": False})
        return
    note = ""
    api = app.anonymous()
    api.transport.credential = profile.token_for(api.url, authority_of(api.transport.ca_file))
    try:
        api.logout()
    except NotLoggedIn:
        note = " (the log-in had already expired)"
    except Unavailable as error:
        note = f" on this machine only: the cluster could not be reached ({error}); the log-in expires there"
    app.store.forget(app.profile_name)
    app.show(f"logged out {formatting.safe(profile.account)}{note}", {"logged_out": True, "account": profile.account})


@click.command(cls=Command)
@pass_app
def whoami(app: App) -> None:
    """Show your account and the proxy."""
    info = app.api().me()
    admin = ", administrator" if info.admin else ""
    app.show(f"{formatting.safe(info.name)}{admin} at {app.api().url}", info)


@click.group(cls=Group)
def buckets() -> None:
    """List, create, change and delete buckets."""


@buckets.command("list")
@pass_app
def list_buckets(app: App) -> None:
    """List the buckets that you can see."""
    found = app.api().buckets()
    rows = [
        (bucket.name, bucket.owner, bucket.versioning, "everyone" if bucket.shared else "owner") for bucket in found
    ]
    app.show(formatting.table(("name", "owner", "versions", "open to"), rows), {"buckets": found})


_VERSIONING = click.Choice(["off", "enabled", "suspended"])


@buckets.command("create")
@click.argument("name")
@click.option("--versioning", type=_VERSIONING, default="enabled", show_default=True, help="Whether versions are kept.")
@click.option("--shared", is_flag=True, help="Open it to every account instead of only you.")
@pass_app
def create_bucket(app: App, name: str, versioning: Versioning, shared: bool) -> None:
    """Create a bucket."""
    bucket = app.api().create_bucket(name, versioning, shared=shared)
    who = "for everyone" if bucket.shared else "for you"
    app.show(f"created bucket {bucket.name} {who}, versioning {bucket.versioning}", bucket)


@buckets.command("change")
@click.argument("name")
@click.option("--versioning", type=_VERSIONING, help="Whether versions are kept.")
@click.option("--shared/--private", default=None, help="Open to every account, or only to its owner.")
@pass_app
def change_bucket(app: App, name: str, versioning: Versioning | None, shared: bool | None) -> None:
    """Change a bucket's settings."""
    if versioning is None and shared is None:
        raise BadRequest("nothing to change: give --versioning, --shared or --private")
    bucket = app.api().change_bucket(name, versioning, shared)
    who = "for everyone" if bucket.shared else "for its owner"
    app.show(f"bucket {bucket.name} is {who}, versioning {bucket.versioning}", bucket)


@buckets.command("delete")
@click.argument("name")
@pass_app
def delete_bucket(app: App, name: str) -> None:
    """Delete an empty bucket."""
    app.api().delete_bucket(name)
    app.show(f"deleted bucket {name}", {"deleted": name})
