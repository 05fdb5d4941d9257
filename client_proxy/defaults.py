"""Defaults of the settings, apart from what they are for: options are read before the program is loaded."""

from __future__ import annotations

DISK_BYTES = 10 * 1024**3
MEMORY_BYTES = 32 * 1024**2
