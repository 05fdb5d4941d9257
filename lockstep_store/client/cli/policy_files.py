"""Files with a policy document, as commands take them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from lockstep_store.client.local_storage import read_text
from lockstep_store.wire.errors import BadRequest

POLICY_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


def read_policy(file: Path) -> dict[str, Any]:
    """Return the document in a file. LocalFileError if it cannot be read, BadRequest if it is not a JSON object."""
    try:
        found = json.loads(read_text(file))
    except ValueError as error:
        raise BadRequest(f"{file} is not a policy document in JSON: {error}") from error
    if not isinstance(found, dict):
        raise BadRequest(f"{file} is not a policy document: it must be a JSON object")
    return found
