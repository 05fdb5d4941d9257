"""What a browser sees while the console's page is not there: that it is being built, or why it could not be.

The builder writes `build.json` into the folder: `{"state": "building" | "failed", "detail": "a sentence"}`.
"""

from __future__ import annotations

import html
from pathlib import Path
from typing import Literal

import msgspec

State = Literal["building", "failed", "missing"]
BUILDING: State = "building"
STATE_FILE = "build.json"


class BuildState(msgspec.Struct):
    """The content of `build.json`."""

    state: State
    detail: str = ""


_TEXTS: dict[str, dict[State, tuple[str, str]]] = {
    "en": {
        "building": (
            "The console is being built",
            "This happens once after an installation or update, and takes about a minute. The page opens by itself.",
        ),
        "failed": (
            "The console could not be built",
            "Files and locks work all the same: in the menu, on the command line, and over the API.",
        ),
        "missing": (
            "The console is not built",
            "Start the cluster with run_cluster.sh, which builds it, and give this proxy that folder with --console.",
        ),
    },
    "de": {
        "building": (
            "Die Konsole wird gebaut",
            "Das geschieht einmal nach einer Installation oder Aktualisierung und dauert etwa eine Minute. "
            "Die Seite öffnet sich von selbst.",
        ),
        "failed": (
            "Die Konsole konnte nicht gebaut werden",
            "Dateien und Sperren sind trotzdem erreichbar: im Menü, auf der Kommandozeile und über die API.",
        ),
        "missing": (
            "Die Konsole ist nicht gebaut",
            "run_cluster.sh baut sie beim Start; dieser Proxy braucht deren Ordner mit der Option --console.",
        ),
    },
}


def waiting_page(folder: Path, languages: str) -> tuple[State, bytes]:
    """The state of the build in `folder`, and a page about it. `languages` is an Accept-Language header."""
    found = _state(folder)
    language = "de" if languages.strip().lower().startswith("de") else "en"
    title, sentence = _TEXTS[language][found.state]
    detail = f"<p>{html.escape(found.detail)}</p>" if found.detail else ""
    page = (
        f'<!doctype html><html lang="{language}"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width"><meta name="color-scheme" content="light dark">'
        f"<title>{title} – Lockstep</title></head>"
        f"<body><main><h1>{title}</h1>{detail}<p>{sentence}</p></main></body></html>\n"
    )
    return found.state, page.encode()


def _state(folder: Path) -> BuildState:
    try:
        return msgspec.json.decode((folder / STATE_FILE).read_bytes(), type=BuildState)
    except (OSError, msgspec.DecodeError):
        return BuildState("missing")
