"""Coverage-guided fuzzing (atheris) of the parsers of what strangers send.

`python -m tests.security.fuzzing` runs every target for long and can keep what it found; see `__main__.py`.
"""
