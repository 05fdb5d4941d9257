"""Background jobs on stored chunks: scrub, copy, compare with the directory, remove."""
