"""The options of `lockstep login` for single sign-on, as one argument of the command."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import click

from lockstep_store.client.single_sign_on import SignOnChoice
from lockstep_store.wire.errors import BadRequest

_OPTIONS = (
    click.option("--sso", is_flag=True, help="Log in by single sign-on, at an identity provider."),
    click.option("--provider", metavar="NAME", help="Which identity provider, if there are several (with --sso)."),
    click.option("--device", is_flag=True, help="Log in with a browser on another device (with --sso)."),
    click.option("--no-browser", is_flag=True, help="Print the address instead of opening a browser (with --sso)."),
    click.option(
        "--redirect-port",
        type=click.IntRange(1, 65535),
        help="Port of this machine for the browser's answer, if the provider demands a fixed one (with --sso).",
    ),
)


def sign_on_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options, and the argument `sign_on`: a SignOnChoice, or None without --sso."""

    @functools.wraps(command)
    def called(*args: Any, **given: Any) -> Any:
        wanted, provider, device = given.pop("sso"), given.pop("provider"), given.pop("device")
        no_browser, port = given.pop("no_browser"), given.pop("redirect_port")
        if not wanted and (provider or device or no_browser or port):
            raise BadRequest("--provider, --device, --no-browser and --redirect-port need --sso: add it")
        if device and (no_browser or port):
            raise BadRequest("--device needs no browser here: leave out --no-browser and --redirect-port")
        choice = SignOnChoice(
            provider or "",
            "device" if device else "browser" if no_browser or port else None,
            opens_browser=not no_browser,
            redirect_port=port or 0,
        )
        return command(*args, sign_on=choice if wanted else None, **given)

    for option in reversed(_OPTIONS):
        called = option(called)
    return called
