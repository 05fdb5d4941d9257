"""`python -m lockstep_store.client.cli` runs the `lockstep` command where it is not on the PATH."""

from lockstep_store.client.cli.root import main

if __name__ == "__main__":
    main(prog_name="lockstep")
