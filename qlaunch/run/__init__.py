"""Everything that has an effect: locks, processes, QMP, pins, the supervisor. The only package that imports trio.

``folder``, ``process``, ``launch`` and ``request`` do without it, so that a start or a quick verb does not wait for
its import.
"""
