"""The person's half of Lockstep: an HTTPS client library, the command line and the menu."""
