"""The contract between Lockstep's programs: names, digests, messages, errors, framing.

Nothing here does I/O, belongs to a single program, or imports one.
"""
