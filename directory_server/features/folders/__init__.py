"""Moves and deletions of whole folders."""
