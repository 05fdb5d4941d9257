"""Headers for content that people wrote: a browser that shows it must not run it in this site's name."""

from __future__ import annotations

UNTRUSTED_CONTENT: tuple[tuple[str, str], ...] = (
    ("Content-Security-Policy", "sandbox"),
    ("X-Content-Type-Options", "nosniff"),
)
