"""Measures mounted folders: Lockstep's and other programs', of the same cluster and in the same run."""
