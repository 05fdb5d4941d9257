"""Maintains the metadata: fsck, backup, restore, recovery, inventories and garbage collection."""
