"""Continuous backups of the directory."""
