"""Signatures, policies, access control lists, CORS and encryption headers."""
