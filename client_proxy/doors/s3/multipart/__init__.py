"""Multipart uploads: parts, completion and listings."""
