"""Calling other programs: connections, retries, failure detection and request coalescing."""
