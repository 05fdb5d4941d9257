"""The embedded metadata engine: one SQLite file."""
