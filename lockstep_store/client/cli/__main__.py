"""`python -m lockstep_store.client.cli` is the `lockstep` command, for where it is not on the PATH."""

from lockstep_store.client.cli.root import main

if __name__ == "__main__":
    main(prog_name="lockstep")
