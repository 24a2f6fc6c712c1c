"""A file that a verb is asked to write: always a new one, so that a slip of the hand costs nothing."""

import os
from contextlib import suppress

from qlaunch.errors import HostError, UsageError


def refuse_existing(path: str) -> None:
    """Raise UsageError for a file that exists, before the work for it is done."""
    if os.path.lexists(path):
        raise UsageError(f"{path} exists", "name another file, or remove this one")


def write_new(path: str, content: bytes) -> None:
    """Write a file. Raises UsageError when it exists, HostError when it cannot be written."""
    try:
        with open(path, "xb") as file:
            try:
                file.write(content)
            except OSError:
                with suppress(OSError):
                    os.unlink(path)
                raise
    except FileExistsError:
        refuse_existing(path)
    except OSError as error:
        folder = os.path.dirname(path) or "."
        raise HostError(f"{path} cannot be written: {error.strerror}", f"is {folder} a folder of yours?") from error
