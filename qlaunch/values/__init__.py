"""Leaf values: parse, print, compare. They know nothing of machines, hosts or QEMU.

Every value parses from the text that the machine file uses, prints the same text, and raises ``ValueError`` with a
sentence for anything else.
"""
