"""What a capture tells beside the host's own files: what QEMU and KVM answered there, and whose CPUs are whose.

Owns: the file `qlaunch.json` at the root of a captured tree, which no computer has itself. Must not: ask anybody.
"""

import msgspec

from qlaunch.errors import HostError
from qlaunch.host.accel import KvmTrial
from qlaunch.host.folders import Folders
from qlaunch.host.qemu import QemuFacts
from qlaunch.host.tree import Tree

PLACE = "/qlaunch.json"


class Captured(msgspec.Struct, frozen=True, kw_only=True):
    """The answers of the captured host. A tree that was made in another way has none of them."""

    version: str = ""
    """Of the qlaunch that captured it."""
    folders: Folders | None = None
    """Where qlaunch keeps its files there: their names are a part of every QEMU command line."""
    program_folders: tuple[str, ...] = ()
    """Where programs were found: PATH there, as far as it matters."""
    qemu: dict[str, QemuFacts] = {}
    """By ``qemu.binary`` of a machine file."""
    kvm: dict[str, KvmTrial] = {}
    """By the path of the QEMU that was tried."""
    root: bool = False
    """Whether root captured it, and so saw what root alone may see."""
    machines: frozenset[str] = frozenset()
    """Those whose files, programs, users and services were looked for."""
    absent: frozenset[str] = frozenset()
    """Paths that were looked for there, and not found. Of /sys and /proc a capture has all that it was asked for."""
    pins: dict[str, msgspec.Raw] = {}
    """Pins of the machines that ran, as ``plan --json`` shows them."""

    def tells_of(self, path: str) -> bool:
        """Whether a file that is not in the tree is known not to be there. A tree made by hand is taken as it is."""
        return not self.version or path in self.absent


def read_captured(tree: Tree) -> Captured:
    """Read the answers, none where this is the running computer. Raises HostError for a damaged capture."""
    text = None if tree.live else tree.read(PLACE)
    if not text:
        return Captured()
    try:
        return msgspec.json.decode(text, type=Captured)
    except msgspec.MsgspecError as error:
        raise HostError(f"{PLACE} of {tree.root} is damaged: {error}", "capture it again") from error
