"""Which programs are installed that machines may need, and where. They are looked for, never run.

Source: swtpm, passt and looking-glass-client are on PATH; virtiofsd is not: ``/usr/libexec`` (Fedora, Debian),
``/usr/lib/qemu`` (Ubuntu, older Debian), ``/usr/lib`` (Arch).
"""

import os
from collections.abc import Iterable

import msgspec

from qlaunch.host.tree import Tree

_FOLDERS = ("/usr/local/bin", "/usr/bin", "/bin", "/usr/local/sbin", "/usr/sbin", "/sbin")
_PRIVATE = ("/usr/libexec", "/usr/libexec/qemu", "/usr/lib/qemu", "/usr/lib")
_PROGRAMS = (
    "qemu-system-x86_64",
    "qemu-img",
    "swtpm",
    "swtpm_setup",
    "virtiofsd",
    "passt",
    "dnsmasq",
    "looking-glass-client",
)
_PRIVATE_PROGRAMS = ("virtiofsd", "qemu-kvm")
_DESCRIPTORS = ("/usr/share/qemu/firmware", "/etc/qemu/firmware")


class SoftwareFacts(msgspec.Struct, frozen=True, kw_only=True):
    """Paths by the program's name; what is not there is not in it."""

    programs: dict[str, str] = {}
    firmware: tuple[str, ...] = ()
    """Descriptors of firmware, as QEMU defines them."""
    distribution: str | None = None
    """``debian``, ``fedora``, ``arch``: ID of os-release."""


def read_software(tree: Tree) -> SoftwareFacts:
    """Look for every program."""
    names = (*_PROGRAMS, *_PRIVATE_PROGRAMS)
    folders = _search_path(tree)
    return SoftwareFacts(
        programs={name: path for name in names if (path := find_program(tree, name, folders))},
        firmware=tuple(
            f"{folder}/{name}" for folder in _DESCRIPTORS for name in tree.listdir(folder) if name.endswith(".json")
        ),
        distribution=_distribution(tree),
    )


def find_program(tree: Tree, name: str, folders: Iterable[str] = ()) -> str | None:
    """Give the path of a program: in these folders, then where distributions put it."""
    private = _PRIVATE if name in _PRIVATE_PROGRAMS else ()
    candidates = (f"{folder.rstrip('/')}/{name}" for folder in dict.fromkeys((*folders, *_FOLDERS, *private)))
    return next((candidate for candidate in candidates if tree.exists(candidate)), None)


def _search_path(tree: Tree) -> list[str]:
    """Give PATH, of the running computer or as a capture tells it."""
    if tree.live:
        return [folder for folder in os.environ.get("PATH", "").split(":") if folder.startswith("/")]
    from qlaunch.host.captured import read_captured  # noqa: PLC0415 - for --host-root alone

    return list(read_captured(tree).program_folders)


def _distribution(tree: Tree) -> str | None:
    for path in ("/etc/os-release", "/usr/lib/os-release"):
        if found := tree.properties(path, ["ID"]).get("ID"):
            return found.strip("\"'")
    return None
