"""Compares Lockstep with other stores, in one run with one load generator: `./run_tests.sh bench peers`."""
