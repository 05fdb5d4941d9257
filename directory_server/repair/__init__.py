"""Repair: finding blobs that lack copies, ordering new copies and dropping surplus ones."""
