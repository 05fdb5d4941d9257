"""The S3 door: the S3 protocol in front of the same file store as every other door."""
