"""The local engine: sealed chunks on this machine's disk."""
