"""`python -m client_proxy.cli` is the `lockstep` command, for where it is not on the PATH."""

from client_proxy.cli.root import main

if __name__ == "__main__":
    main(prog_name="lockstep")
