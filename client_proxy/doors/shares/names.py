"""Names for the files that visitors upload."""

from __future__ import annotations

import re

from client_proxy.doors.shown_names import FALLBACK, visible
from lockstep_store.wire.errors import BadName
from lockstep_store.wire.names import check_path

_MAX_BYTES = 240
_MAX_ENDING = 20


def received(given: str) -> str:
    """The name to store an uploaded file under: the last part of what the browser sent, without what could mislead."""
    last = re.split(r"[\\/]", given.replace("%22", '"'))[-1]
    name = visible(last).strip()
    stem, dot, ending = name.rpartition(".")
    if len(name.encode("utf-8", "replace")) > _MAX_BYTES:
        ending = f".{ending}" if dot and len(ending) <= _MAX_ENDING else ""
        name = _shortened(stem if ending else name, _MAX_BYTES - len(ending.encode("utf-8", "replace"))) + ending
    try:
        return check_path(name)
    except BadName:
        return FALLBACK


def _shortened(text: str, count: int) -> str:
    return text.encode("utf-8", "replace")[:count].decode("utf-8", "ignore")
