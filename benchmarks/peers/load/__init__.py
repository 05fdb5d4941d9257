"""The load generator twice: in Go (main.go) and in Python (generator.py)."""
