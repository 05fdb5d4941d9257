"""Bucket operations and bucket settings."""
