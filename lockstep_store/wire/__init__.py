"""What two Lockstep programs must agree on: names, digests, messages, errors, transport.

Nothing in here belongs to one program alone, and nothing in here imports a program.
"""
