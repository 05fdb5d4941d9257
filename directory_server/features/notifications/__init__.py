"""Bucket notifications: messages about changes, for receivers that an administrator named.

A message is written in the transaction of its change (`outbox`), by the bucket's configuration at that moment
(`configuration`, `record`), and stays in the metadata until its target has taken it (`delivery`). So it is delivered at
least once and in the order of the changes, even if the version, the configuration or this program is gone by then.
"""
