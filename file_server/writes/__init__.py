"""Writes: receives chunk streams, replicates them and commits them at the directory."""
