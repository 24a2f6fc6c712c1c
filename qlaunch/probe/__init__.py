"""The built-in guest: a UEFI program that reports what a guest can see. Its source is in ``contrib/probe-guest``."""

import os

FOLDER: str = os.path.join(os.path.dirname(os.path.abspath(__file__)), "fat")
