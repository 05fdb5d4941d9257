"""Policies, access control lists and encryption headers."""
