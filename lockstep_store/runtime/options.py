"""Command-line options that several programs share."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import urlsplit

import click

DEFAULT_THREADS = 128


def https_url(_: click.Context, parameter: click.Parameter, value: str | None) -> str | None:
    """Check the value of an option that takes an address of the cluster."""
    if value is not None:
        address = urlsplit(value)
        if address.scheme != "https" or not address.hostname:
            raise click.BadParameter(f"{value!r} is not an https:// address", param=parameter)
    return value


def directory_urls(ctx: click.Context, parameter: click.Parameter, value: str) -> str:
    """Check the value of `--directory`: one address, or several with commas between, of which each is there once."""
    urls = dict.fromkeys(part.strip().rstrip("/") for part in value.split(","))
    for url in urls:
        https_url(ctx, parameter, url)
    return ",".join(urls)


def is_loopback(host: str) -> bool:
    """Whether a program that listens on `host` can be reached from its own machine only."""
    return host in ("localhost", "::1") or host.startswith("127.")


_UNITS = {"": 1, "k": 1000, "m": 1000**2, "g": 1000**3, "t": 1000**4}
_UNITS |= {"ki": 1024, "mi": 1024**2, "gi": 1024**3, "ti": 1024**4}
_SIZE = re.compile(r"(\d+)\s*([kmgt]?i?)b?", re.IGNORECASE)


def parse_size(text: str) -> int | None:
    """Return a number of bytes, which may have a unit such as KiB or GB; None for what is no size."""
    found = _SIZE.fullmatch(text.strip())
    unit = found.group(2).lower() if found else "?"
    return int(found.group(1)) * _UNITS[unit] if found is not None and unit in _UNITS else None


class Size(click.ParamType[int]):
    """The type of an option that takes a size: a number of bytes, at least `least`."""

    name = "size"

    def __init__(self, least: int = 0) -> None:
        self._least = least

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        found = value if isinstance(value, int) else parse_size(value)
        if found is None or found < self._least:
            size = f"a size of at least {self._least} bytes" if self._least else "a size"
            self.fail(f"{value!r} is not {size}: give a number of bytes, or one with a unit such as 16MiB", param, ctx)
        return found
