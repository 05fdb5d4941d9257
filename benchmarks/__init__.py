"""Lockstep's own figures, each as a ratio to a limit of the machine measured in the same run."""
