"""Defaults and choices of the settings, apart from what they are for: options are read before the program is loaded."""

from __future__ import annotations

from typing import Literal

TOKEN_SECONDS = 12 * 3600.0
REPAIR_GRACE_SECONDS = 60.0
DAY_SECONDS = 86_400.0
Requirement = Literal["nobody", "administrators", "everyone"]
"""Who must have a second factor, besides the accounts of which it is required by name."""
