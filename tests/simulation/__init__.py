"""A whole cluster in one thread: the real programs on a virtual clock, a made-up network and disks that lose things.

    scheduler.py    tasks, virtual time, and the seeded choice of who goes on
    threads.py      what stands in for threading and time
    futures.py      what stands in for concurrent.futures
    take_over.py    puts those, and seeded randomness, in place of the real ones in the programs' modules
    network.py      calls between programs: delays, losses, cuts, refusals
    disk.py         a disk that forgets what was not synced
    nodes.py        directory, file servers and proxies, built of their real parts
    clients.py      people who write, read, lock and count, and note what they saw
    faults.py       what goes wrong, and when
    checks.py       what must be true in the end
    run.py          one seed from beginning to end
    bugs.py         defects to be put into the programs, to see that they are caught

`python -m tests.simulation 17` runs seed 17 and tells what happened; `--help` tells the rest.
"""
