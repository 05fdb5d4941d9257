"""Tests of lockstep_store/client/mount/."""
