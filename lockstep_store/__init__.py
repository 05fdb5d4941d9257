"""What all parts of Lockstep share: the wire contract, the runtime, and the client library."""
