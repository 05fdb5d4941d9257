"""Measures Lockstep's performance, as ratios to limits of the machine measured in the same run."""
