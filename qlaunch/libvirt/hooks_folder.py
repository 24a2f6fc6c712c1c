"""A folder of hook scripts as texts by their paths. Reads, and runs nothing.

Owns: the bounds, and that nothing outside the folder is read: a link that leads out of it is told and left.
"""

import os
import stat

from qlaunch.errors import HostError, Problem, UsageError

MOST_FILES = 256
MOST_BYTES = 256 << 10
DEEPEST = 8


def read_folder(path: str) -> tuple[dict[str, str], list[Problem]]:
    """Read every file below a folder: texts by their relative paths, and what was left out.

    Raises UsageError when there is no such folder, or more in it than hook scripts ever are.
    """
    if not os.path.isdir(path):
        raise UsageError(
            f"--hooks {path}: there is no such folder", "name the folder that holds qemu.d, or qemu.d itself"
        )
    root = os.path.realpath(path)
    texts: dict[str, str] = {}
    findings: list[Problem] = []
    for folder, folders, files in os.walk(root, onerror=_refuse):
        depth = os.path.relpath(folder, root).count(os.sep)
        # A linked folder is not entered by os.walk; it is told like a linked file that leads out.
        links = [name for name in folders if os.path.islink(f"{folder}/{name}")]
        folders[:] = sorted(folders) if depth < DEEPEST else []
        for name in sorted([*files, *links]):
            place = os.path.relpath(f"{folder}/{name}", root)
            text, reason = _read(f"{folder}/{name}", root)
            if text is None:
                findings.append(
                    Problem(code="hook-left", where=place, message=f"is not read: {reason}", severity="warning")
                )
                continue
            texts[place] = text
            if len(texts) > MOST_FILES:
                raise UsageError(f"--hooks {path}: more than {MOST_FILES} files", "name the folder of the hooks alone")
    return texts, findings


def _refuse(error: OSError) -> None:
    raise HostError(f"{error.filename} cannot be read: {error.strerror}") from error


def _read(path: str, root: str) -> tuple[str | None, str]:
    try:
        real = os.path.realpath(path)
        if os.path.commonpath((real, root)) != root:
            return None, "it is a link that leads out of the folder"
        if not stat.S_ISREG(os.stat(real).st_mode):
            return None, "it is no plain file"
        with open(real, "rb") as file:
            content = file.read(MOST_BYTES + 1)
    except OSError as error:
        return None, str(error.strerror)
    if len(content) > MOST_BYTES:
        return None, f"it is longer than {MOST_BYTES >> 10} KiB"
    if b"\0" in content:
        return None, "it is no text"
    return content.decode(errors="replace"), ""
