"""Multipart uploads: the calls about them, and the writes that are steps of one."""
