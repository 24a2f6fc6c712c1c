"""What was read of a tree: enough to give the same answers again, on another computer.

Owns: the notes that `Tree` takes, and what a tree must hold to answer as that one did. Must not: read.
"""


class Record:
    """What was read, by path after following links, and the links."""

    def __init__(self, *, private: bool = False) -> None:
        self.private = private
        """Whether serial numbers and the like may be in it."""
        self.files: dict[str, str] = {}
        self.links: dict[str, str] = {}
        self.folders: dict[str, list[str]] = {}
        self.present: set[str] = set()
        self.absent: set[str] = set()
        self.unreadable: set[str] = set()
        """There, and refused: as a parameter that root alone may read."""
        self.partial: set[str] = set()
        """Files of which some lines alone are noted."""

    def add_lines(self, path: str, lines: list[str]) -> None:
        """Note some lines of a file, beside those that were noted before."""
        if path in self.files and path not in self.partial:
            return
        self.partial.add(path)
        known = self.files[path].splitlines() if path in self.files else []
        self.files[path] = "\n".join([*known, *(line for line in lines if line not in known)])

    def contents(self) -> tuple[dict[str, str | None], dict[str, str], tuple[str, ...]]:
        """Give files, links and folders of a tree that answers as this one did.

        What was seen and not read is empty; what could not be read is None.
        """
        folders = set(self.folders)
        for path in (*self.files, *self.links, *self.folders, *self.present):
            while (path := path.rpartition("/")[0]) and path not in folders:
                folders.add(path)
        listed = (f"{folder}/{name}" for folder, names in self.folders.items() for name in names)
        seen = {path for path in (*listed, *self.present) if path not in self.links and path not in folders}
        files: dict[str, str | None] = dict.fromkeys(sorted(seen), "")
        files |= dict.fromkeys(sorted(self.unreadable - folders))
        return files | self.files, self.links, tuple(sorted(self.folders))
