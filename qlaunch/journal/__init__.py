"""What a machine has changed on its host, on disk before it is done, and how it is taken back.

record.py   one line of a journal: print and parse
file.py     the journal of one machine: append, fsync, read
leases.py   what other machines claim of the same things, and the lock beside it
lanes.py    what goes side by side, and what one after the other
engine.py   carry out steps, and undo them
"""

FILE = "journal"
"""Its name in a machine's runtime folder."""
