"""The directory server: where every file is, which version is current, and who holds its lock."""
