"""Second factors: mfa status, enable, disable, recovery-codes; and the codes that other commands ask for."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from typing import TypeVar

import click

from lockstep_store.client.cli.command import App, Command, Group, pass_app
from lockstep_store.client.cli.log_in_questions import ask_password, read_line, remember
from lockstep_store.client.client import Client
from lockstep_store.client.text import formatting
from lockstep_store.client.text.second_factor import recovery_text, secret_text, state_text
from lockstep_store.wire.errors import BadRequest, SecondFactorNeeded
from lockstep_store.wire.messages.people import LoginReply
from lockstep_store.wire.messages.second_factor import EnabledSecondFactor

T = TypeVar("T")
CODE_VARIABLE = "LOCKSTEP_MFA_CODE"
_ATTEMPTS = 3
_QUESTION = "Code from your authenticator app (or a recovery code)"
_HINT = "Enter the secret in your authenticator app, or scan the code."

code_option = click.option(
    "--code",
    default="",
    envvar=CODE_VARIABLE,
    help="A code from your authenticator app, or a recovery code; without it the command asks if one is needed.",
)


def with_code(code: str, attempt: Callable[[str], T], *, from_pipe: bool = True, question: str = _QUESTION) -> T:
    """Make an attempt with a code, and ask for one if it is missing; on a terminal, ask again if it is wrong.

    Without a terminal a missing code is the next line of standard input, if `from_pipe`.
    """
    for last in (False,) * _ATTEMPTS + (True,):
        try:
            return attempt(code)
        except SecondFactorNeeded as error:
            reason = error.facts.get("reason")
            may_ask = sys.stdin.isatty() or (from_pipe and reason == "missing")
            if last or reason == "enrol" or not may_ask:
                raise
            if reason != "missing":
                click.echo(f"{error}", err=True)
            code = _ask_code(question) or code
    raise AssertionError("the last attempt returns or raises")


def enrol_first(app: App, api: Client, username: str, password: str, error: SecondFactorNeeded) -> LoginReply:
    """Set up the second factor that the account must have, on a terminal; otherwise raise `error`."""
    if error.facts.get("reason") != "enrol" or not sys.stdin.isatty():
        raise error
    app.note(str(error))
    reply = enrol(app, api, username, password)
    show_recovery_codes(app, reply.recovery_codes, "The second factor is set up")
    return reply.login


def _ask_code(question: str) -> str:
    if sys.stdin.isatty():
        return str(click.prompt(question, err=True))
    line = read_line(required=False)
    if not line:
        raise SecondFactorNeeded(
            f"a code from your authenticator app is needed: give --code or {CODE_VARIABLE}, or one more line of input",
            reason="missing",
        )
    return line


def enrol(app: App, api: Client, username: str, password: str) -> EnabledSecondFactor:
    """Set up a second factor: show a secret, ask for a first code, and remember the new log-in."""
    made = api.begin_second_factor(username, password)
    if sys.stderr.isatty():
        width = shutil.get_terminal_size().columns
        shown = secret_text(made, width=width, encoding=sys.stderr.encoding or "ascii")
    else:
        shown = secret_text(made)
    # To standard error, also with --json: standard output has the result alone.
    click.echo(f"{shown}\n{_HINT}", err=True)
    question = "The code that the app shows now"
    reply = with_code("", lambda code: _confirmed(api, username, password, code), question=question)
    remember(app, api, reply.login.account or username, reply.login)
    return reply


def _confirmed(api: Client, username: str, password: str, code: str) -> EnabledSecondFactor:
    if not code:
        raise SecondFactorNeeded("give the first code of your app", reason="missing")
    return api.confirm_second_factor(username, password, code)


@click.group(cls=Group)
def mfa() -> None:
    """Second factor at log-in: codes of an authenticator app (multi-factor authentication)."""


@mfa.command("status")
@pass_app
def status(app: App) -> None:
    """Show whether you have a second factor, and how many recovery codes are left."""
    state = app.api().second_factor()
    app.show(state_text(state), state)


@mfa.command("enable", cls=Command)
@click.argument("username", required=False)
@pass_app
def enable(app: App, username: str | None) -> None:
    """Set up a second factor, and print recovery codes. Your other log-ins end.

    The secret is printed to standard error: as text, as an otpauth:// address, and on a terminal as a QR code. It
    takes effect once you have given a first code. Without a terminal the password and the code are read from standard
    input, one a line. Keys and service accounts are never asked for codes.
    """
    name = _name(app, username)
    password = ask_password()
    reply = enrol(app, app.anonymous(cluster_first=True), name, password)
    show_recovery_codes(app, reply.recovery_codes, f"{formatting.safe(name)} now needs a code to log in")


def show_recovery_codes(app: App, codes: list[str], what: str) -> None:
    """Print recovery codes; `what` happened."""
    app.note(f"{what}. Recovery codes, shown only now, each for one log-in without the app:")
    app.show(recovery_text(codes), {"recovery_codes": codes})


@mfa.command("disable")
@click.argument("username", required=False)
@code_option
@pass_app
def disable(app: App, username: str | None, code: str) -> None:
    """Log in without a code from now on. Asks for your password and a code."""
    name = _name(app, username)
    password = ask_password()
    api = app.anonymous(cluster_first=True)
    with_code(code, lambda code: api.disable_second_factor(name, password, code))
    app.show(f"{formatting.safe(name)} no longer has a second factor", {"account": name})


@mfa.command("recovery-codes")
@click.argument("username", required=False)
@code_option
@pass_app
def recovery_codes(app: App, username: str | None, code: str) -> None:
    """Print new recovery codes; the earlier ones end. Asks for your password and a code."""
    name = _name(app, username)
    password = ask_password()
    api = app.anonymous(cluster_first=True)
    codes = with_code(code, lambda code: api.new_recovery_codes(name, password, code))
    show_recovery_codes(app, codes, "The earlier codes no longer work")


def _name(app: App, username: str | None) -> str:
    name = username or app.profile.account
    if not name:
        raise BadRequest("name the account: lockstep mfa … USERNAME")
    return name
