"""The built-in guests: a UEFI program that reports what a guest can see, and one that measures how calm its CPUs are.

Their source is in ``contrib/probe-guest``.
"""

import os

_HERE = os.path.dirname(os.path.abspath(__file__))
FOLDER: str = os.path.join(_HERE, "fat")
FOLDERS: dict[str, str] = {"probe": FOLDER, "jitter": os.path.join(_HERE, "jitter")}
