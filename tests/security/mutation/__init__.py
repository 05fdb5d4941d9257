"""Authorization mutation tests: every check of a right is taken away in turn, and a test must notice.

`python -m tests.security.mutation` goes through all of them; see `__main__.py`.
"""
