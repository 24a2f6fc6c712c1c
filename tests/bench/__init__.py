"""What contrib/bench measures: candidates that take turns, and rows of one table.

row.py         a row of the table, and how medians and ratios come about
scratch.py     a folder with machines, and qlaunch in it
by_hand.py     QEMU with the same argv, started and pinned over a raw socket by a program that is warm
libvirt.py     the same machine under a libvirtd of its own
the others     one theme each: a function that takes a Scratch and yields rows; GROUPS in contrib/bench names them
"""
