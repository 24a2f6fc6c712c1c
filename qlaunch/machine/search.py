"""Which file a machine's name stands for.

Owns: the search path and the rule of what is a name and what is a path. Must not: read the files.

Source: the XDG Base Directory Specification 0.8 (XDG_CONFIG_HOME), the Filesystem Hierarchy Standard 3.0 (/etc).
"""

import os
import re
from collections.abc import Mapping, Sequence

from qlaunch.errors import MachineError, Problem, UsageError

SUFFIX = ".toml"
# It becomes a folder, a part of socket paths, and QEMU's name of the guest.
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", re.ASCII)


def search_folders(environ: Mapping[str, str] = os.environ) -> tuple[str, ...]:
    """Give the folders of machine files, the first one first."""
    home = environ.get("HOME") or "/"
    config = environ.get("XDG_CONFIG_HOME") or f"{home}/.config"
    return "machines", f"{config}/qlaunch/machines", "/etc/qlaunch/machines"


def machine_name(path: str) -> str:
    """Give the machine's name: the file's, without ``.toml``. Raises MachineError when it cannot be one."""
    name = os.path.basename(path).removesuffix(SUFFIX)
    if _NAME.fullmatch(name):
        return name
    message = f"the file's name gives the machine its name, and {name!r} cannot be one"
    hint = "a name has at most 64 letters, digits, dots, underscores and hyphens, and begins with a letter or a digit"
    raise MachineError([Problem(code="name", message=message, where=path, hint=hint)])


def find(name: str, folders: Sequence[str] | None = None) -> str:
    """Give the path of a machine file. A name that ends in ``.toml`` or has a slash is a path and is given as it is.

    Raises UsageError when there is none; it names the nearest names and the folders that were searched.
    """
    if name.endswith(SUFFIX) or "/" in name:
        if not _exists(name):
            raise UsageError(f"there is no machine file {name!r}", _siblings(name))
        return name
    folders = search_folders() if folders is None else folders
    for folder in folders:
        if name and _exists(path := f"{folder}/{name}{SUFFIX}"):
            return path
    raise UsageError(f"there is no machine {name!r}", _not_found_hint(name, folders))


def known_names(folders: Sequence[str] | None = None) -> list[str]:
    """Name the machines of the search path, sorted, each once."""
    return sorted({name for folder in (search_folders() if folders is None else folders) for name in _names_in(folder)})


def nearest(word: str, words: Sequence[str]) -> str:
    """Give the one of the words that is meant most likely, or nothing."""
    import difflib  # noqa: PLC0415 - costs milliseconds and is needed only when something is wrong

    folded = {other.lower().replace("-", "_"): other for other in words}
    close = difflib.get_close_matches(word.lower().replace("-", "_"), list(folded), 1, 0.6)
    return folded[close[0]] if close else ""


def _exists(path: str) -> bool:
    # A NUL byte would raise ValueError, which lexists turns into False; a broken link is left for the reader to tell.
    return os.path.lexists(path)


def _names_in(folder: str) -> list[str]:
    try:
        return [entry.removesuffix(SUFFIX) for entry in os.listdir(folder) if entry.endswith(SUFFIX)]
    except OSError:
        return []


def _siblings(path: str) -> str:
    folder, file = os.path.split(path)
    near = nearest(file.removesuffix(SUFFIX), _names_in(folder or "."))
    return f"did you mean {os.path.join(folder, near + SUFFIX)}?" if near else ""


def _not_found_hint(name: str, folders: Sequence[str]) -> str:
    known = known_names(folders)
    near = nearest(name, known)
    there = f"did you mean {near}? " if near else f"there are {', '.join(known[:12])}; " if known else ""
    return f"{there}searched in {', '.join(folders)}"
