"""The `lockstep` command. One file per family of commands; all of them are clients of a proxy's HTTPS API.

`root` assembles them, `command` gives each its common options, `connection` finds the proxy and the log-in, and
`exit_codes` is the one table of how a command can end.
"""

from lockstep_store.client.cli.root import main

__all__ = ["main"]
