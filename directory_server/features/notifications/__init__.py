"""Bucket notifications: messages about changes, for receivers that an administrator named.

A message is written in the transaction of its change (`outbox`), as its bucket's configuration says at that moment
(`configuration`, `record`), and stays in the metadata until its target has it (`delivery`). So whatever becomes of the
version, the configuration or this program meanwhile, it is told, at least once, in the order of the changes.
"""
