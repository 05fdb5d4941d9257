"""Upkeep of stored chunks: scrubbing, copying, inventories and garbage collection."""
