"""Builds the web console while an image is built: the arguments are the checkout and the folder for the page."""

from __future__ import annotations

import sys
from pathlib import Path

from local_cluster.console import LOG_FILE, is_built
from local_cluster.console_build import build

checkout, page = map(Path, sys.argv[1:])
build(checkout, page)
if not is_built(checkout, page):
    sys.exit((page / LOG_FILE).read_text())
