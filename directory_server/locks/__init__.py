"""Write locks: who holds them, who waits, leases and deadlocks."""
