"""Buckets, paths and versions: the namespace, writes, commits and the journal."""
