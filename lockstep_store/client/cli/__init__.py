"""The `lockstep` command. One file for each family of commands; all are clients of a proxy's HTTPS API.

`root` lists them, `command` adds the common options, `connection` finds the proxy and the log-in, and `exit_codes`
is the table of exit codes.
"""

from lockstep_store.runtime.memory import collector_paused

with collector_paused():
    from lockstep_store.client.cli.root import main

__all__ = ["main"]
