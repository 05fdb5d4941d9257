"""A bucket, or a folder in it, as a folder of this machine (`lockstep mount`).

The mount is a client of a proxy, like the command line. Read along a request's path: `kernel` (FUSE) → `operations` →
`tree` (names and attributes) and `contents` (bytes); for writing also `workspace` (files that are written, and their
saves), `cluster_locks` (their locks in the cluster) and `program_locks` (flock, fcntl). `feed` keeps the tree true,
`timed_calls` makes the requests within a deadline, `chunk_cache` keeps content on this machine's disk, and `errnos`
translates errors.
"""
