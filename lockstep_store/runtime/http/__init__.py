"""Serving HTTPS: the runner, the calls between programs, admission and what HTTP itself asks for."""
