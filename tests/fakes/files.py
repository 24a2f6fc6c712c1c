"""Files of a machine's own in memory, behind the door of ``qlaunch.steps.own_files``."""

from collections.abc import Callable

Change = Callable[[str, str, Callable[[], None]], None]


class FakeOwnFiles:
    """What is there by path, in the words of ``look``. A new folder is root's for an instant, as in the kernel."""

    def __init__(self, change: Change) -> None:
        self.there: dict[str, str] = {}
        self._change = change

    def look(self, path: str) -> str | None:
        return self.there.get(path)

    def make_file(self, path: str, size: int, uid: int, gid: int, mode: int) -> None:
        if path in self.there:
            raise FileExistsError(17, "File exists", path)
        text = f"{size} bytes of {uid}:{gid} {mode:o}"
        self._change(path, text, lambda: self.there.update({path: text}))

    def make_folder(self, path: str, uid: int, gid: int, mode: int) -> None:
        for text in ("folder of 0:0 700", f"folder of {uid}:{gid} {mode:o}"):
            self._change(path, text, lambda text=text: self.there.update({path: text}))  # type: ignore[misc]

    def remove(self, path: str) -> None:
        self._change(path, "remove", lambda: self.there.__delitem__(path))
