"""Lockstep beside its peers, measured in one run with one load generator: `./run_tests.sh bench peers`."""
