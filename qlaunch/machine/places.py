"""Where in which file a key stands: asked when there is something to tell, so the files are scanned then."""

from collections.abc import Sequence

from qlaunch.machine.keys import Key, split_key
from qlaunch.machine.overrides import Override
from qlaunch.machine.read import Source
from qlaunch.machine.scan import lines_of_keys


class Places:
    """The keys of a chain of files, the one that was named first, and of the ``--set`` options."""

    def __init__(self, sources: Sequence[Source], overrides: Sequence[Override] = ()) -> None:
        self._files = [(source.path, lines_of_keys(source.text)) for source in sources]
        self._overrides = overrides

    def where(self, key: str) -> str:
        """Give ``FILE:LINE`` of a key or the nearest table around it, or the file alone, or the ``--set`` option."""
        wanted = split_key(key) if key else ()
        for override in reversed(self._overrides):
            if wanted[: len(override.key)] == override.key:
                return override.shown
        place, depth = self._in_files(wanted)
        if depth < len(wanted):
            for override in reversed(self._overrides):
                if override.key[: len(wanted)] == wanted:
                    return override.shown
        return place

    def _in_files(self, wanted: Key) -> tuple[str, int]:
        """Give the place, and how many parts of the key it stands for."""
        for depth in range(len(wanted), 0, -1):
            for path, lines in self._files:
                if wanted[:depth] in lines:
                    return f"{path}:{lines[wanted[:depth]]}", depth
                # An array here replaces the one of the base, so the elements of that are gone.
                if any((*wanted[:short], "0") in lines for short in range(1, depth)):
                    break
        return self._files[0][0] if self._files else "", 0


def line_of(text: str, key: Key) -> int:
    """Give the line of one key, or 1."""
    return lines_of_keys(text).get(key, 1)
