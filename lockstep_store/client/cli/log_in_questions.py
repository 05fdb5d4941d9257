"""What commands ask people who log in, and how they remember the log-in."""

from __future__ import annotations

import sys

import click

from lockstep_store.client.cli.command import App
from lockstep_store.client.client import Client
from lockstep_store.client.credentials import authority_of
from lockstep_store.wire.errors import BadRequest
from lockstep_store.wire.messages.people import LoginReply

_LOG_IN = "the user name and the password"


def remember(app: App, api: Client, account: str, reply: LoginReply) -> None:
    """Store a log-in for the next commands."""
    with app.store.change(app.profile_name) as profile:
        profile.url = api.url
        profile.ca_file = str(api.transport.ca_file.resolve()) if api.transport.ca_file else ""
        profile.authority = authority_of(api.transport.ca_file)
        profile.account, profile.token, profile.expires_at = account, reply.token, reply.expires_at
        profile.locks = []


def ask(question: str) -> str:
    """Ask on the terminal, or read a line of standard input."""
    if sys.stdin.isatty():
        return str(click.prompt(question.rstrip(": "), err=True))
    return read_line()


def ask_password(question: str = "Password", *, repeat: bool = False, what: str = _LOG_IN) -> str:
    """Ask for a password on the terminal, or read a line of standard input; `repeat` asks twice.

    `what` names what is missing if the input has ended.
    """
    if sys.stdin.isatty():
        return str(click.prompt(question, hide_input=True, confirmation_prompt=repeat, err=True))
    return read_line(what=what)


def read_line(*, required: bool = True, what: str = _LOG_IN) -> str:
    """A line of standard input. `getpass` would ignore a pipe and use the terminal, or warn and echo."""
    line = sys.stdin.readline()
    if not line and required:
        raise BadRequest(f"standard input ended before {what}")
    return line.rstrip("\r\n")
