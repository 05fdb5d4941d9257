"""The directory's calls, wired to its components."""
