"""Text for people: sizes, times, tables, progress and status lines."""
