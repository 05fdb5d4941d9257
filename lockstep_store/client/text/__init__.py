"""Formats what people read: sizes, times, tables, progress and status lines."""
