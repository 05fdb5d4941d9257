"""Writes: accepting chunk streams, replicating them and committing them at the directory."""
