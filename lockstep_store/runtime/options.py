"""Command-line options that several programs share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import click


def https_url(_: click.Context, parameter: click.Parameter, value: str | None) -> str | None:
    """Check the value of an option that takes an address of the cluster."""
    if value is not None:
        address = urlsplit(value)
        if address.scheme != "https" or not address.hostname:
            raise click.BadParameter(f"{value!r} is not an https:// address", param=parameter)
    return value


def log_level(default: str) -> Callable[[Any], Any]:
    """Return the option --log-level."""
    return click.option(
        "--log-level",
        default=default,
        type=click.Choice(["debug", "info", "warning", "error"]),
        show_envvar=True,
        help="Lowest level of messages logged to standard error.",
    )


def is_loopback(host: str) -> bool:
    """Whether a program that listens on `host` can be reached from its own machine only."""
    return host in ("localhost", "::1") or host.startswith("127.")
