"""The pages of share links: HTML without script, under a policy that loads nothing but the style sheet.

The templates escape every value. Nothing that people stored is ever shown in a page: downloads are attachments.
"""

from __future__ import annotations

from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from client_proxy.doors.shown_names import visible
from lockstep_store.runtime.http.api import RawReply

STYLE_ADDRESS = "/s/page.css"
Headers = list[tuple[str, str]]

_FOLDER = Path(__file__).parent / "pages"
PAGE_HEADERS: tuple[tuple[str, str], ...] = (
    (
        "Content-Security-Policy",
        "default-src 'none'; style-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    ),
    ("X-Content-Type-Options", "nosniff"),
    ("Referrer-Policy", "no-referrer"),
    ("Cache-Control", "no-store"),
    ("X-Robots-Tag", "noindex, nofollow"),
)
"""The link's address is its secret: no other site learns it from a referrer, and no index keeps it."""
_UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")


@cache
def _templates() -> Environment:
    templates = Environment(
        loader=FileSystemLoader(_FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    templates.filters |= {"size": shown_size, "when": _when, "visible": visible}
    return templates


def page(name: str, status: int = 200, headers: Headers | None = None, **values: Any) -> RawReply:
    """The page of the template `name`, filled with `values`."""
    body = _templates().get_template(f"{name}.html").render(style=STYLE_ADDRESS, **values).encode()
    own = [("Content-Type", "text/html; charset=utf-8"), ("Content-Length", str(len(body)))]
    return RawReply(status, [*own, *PAGE_HEADERS, *(headers or [])], [body])


def message(status: int, title: str, text: str, headers: Headers | None = None) -> RawReply:
    """A page that only says something."""
    return page("message", status, headers, title=title, text=text)


def style_sheet() -> RawReply:
    """The pages' style sheet, the only thing that they load."""
    body = _style()
    return RawReply(
        200,
        [
            ("Content-Type", "text/css; charset=utf-8"),
            ("Content-Length", str(len(body))),
            ("Cache-Control", "max-age=3600"),
            ("X-Content-Type-Options", "nosniff"),
        ],
        [body],
    )


@cache
def _style() -> bytes:
    return (_FOLDER / "page.css").read_bytes()


def shown_size(count: int) -> str:
    """A number of bytes for people: `3.4 MiB`."""
    value, unit = float(count), 0
    while value >= 1024 and unit < len(_UNITS) - 1:
        value, unit = value / 1024, unit + 1
    return f"{count} B" if unit == 0 else f"{value:.1f} {_UNITS[unit]}"


def _when(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M UTC")
