"""What deploy/docker says about the image, for tests that run its programs as plain processes."""

from __future__ import annotations

import re
import shlex

from tests import ROOT

FOLDER = ROOT / "deploy" / "docker"


def dockerfile() -> str:
    """The instructions, one on a line."""
    return (FOLDER / "Dockerfile").read_text().replace("\\\n", " ")


def image_environment() -> dict[str, str]:
    (line,) = re.findall(r"^ENV (.+)$", dockerfile(), re.MULTILINE)
    return dict(word.split("=", 1) for word in shlex.split(line))
