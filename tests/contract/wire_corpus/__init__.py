"""Messages as this and earlier versions of the programs sent them, and what reads and adds to them.

The JSON files have, for each message class of `lockstep_store.wire`, every form that was recorded: the least a sender
may put into it, and all that it can. They only ever grow: `python -m tests.contract.wire_corpus` adds today's forms
and refuses to go on when a recorded message is no longer declared. Remove one by hand only when no program that sends
it can meet this one any more.
"""
