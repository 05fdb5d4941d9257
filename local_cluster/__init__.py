"""Starts, watches and stops a whole cluster on one machine."""
