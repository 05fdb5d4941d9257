"""The chunk store: its protocol, and one folder for each engine."""
