"""Tests of the WebDAV door."""
