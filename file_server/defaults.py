"""Defaults of the settings, apart from what they are for: options are read before the program is loaded."""

from __future__ import annotations

GRACE_SECONDS = 3900.0
"""Longer than a ticket lives (an hour): an open write may still commit a blob that nothing refers to yet."""
SCRUB_PAUSE_FACTOR = 20.0
"""Seconds of sleep for each second of reading: 20 uses about a twentieth of the disk and of one core."""
SCRUB_ROUND_SECONDS = 24 * 3600.0
INVENTORY_SECONDS = 24 * 3600.0
REDO_BYTES = 512 << 20
