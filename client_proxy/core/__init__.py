"""The file store behind every door: reads, writes, the cache and the directory client."""
