"""Serving HTTPS: the runner, calls between programs, admission, conditions and content."""
