"""Rate limits: how many requests of a class an address, account, key or bucket may make in a time."""
