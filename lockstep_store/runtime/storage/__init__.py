"""Durable local storage: group commit, the SQLite log, sealing and the process lock."""
