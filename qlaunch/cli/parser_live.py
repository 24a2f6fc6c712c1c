"""The options of verbs that change a running machine; the other half of parser.py."""

import argparse
from collections.abc import Callable

_Parser = argparse.ArgumentParser


def add_verbs(verb: Callable[..., None], name: Callable[..., None]) -> None:
    """Add them."""
    verb("screenshot", "write what the guest's display shows", name, screenshot, module="live")
    verb("sendkey", "press keys in the guest, or type a text", name, sendkey, module="live")
    verb("eject", "open a CD-ROM drive of the guest, or change its medium", name, eject, module="live")
    verb("resize", "make a disk of a running guest larger", name, resize, module="live")
    verb("balloon", "say or set how much memory the guest keeps", name, balloon, module="live")
    verb("snapshot", "list, take, revert to, delete states of a running machine", name, snapshot)
    verb("pin", "show or change the pins of a running machine", name, pin)


def screenshot(parser: _Parser) -> None:
    """FILE.png."""
    parser.add_argument("file", metavar="FILE.png", help="the file to write")
    parser.add_argument("--head", metavar="N", type=int, default=None, help="the head of the first display")


def sendkey(parser: _Parser) -> None:
    """KEYS, or a text."""
    parser.add_argument(
        "keys", metavar="KEYS", nargs="*", help="combinations such as ctrl-alt-delete, one after another"
    )
    parser.add_argument("--text", metavar="TEXT", default="", help="type this, on a US keyboard; \\n is Enter")
    parser.add_argument("--hold", metavar="MS", type=int, default=None, help="how long each is held down")
    parser.epilog = "Example: qlaunch sendkey gaming ctrl-alt-f2"


def eject(parser: _Parser) -> None:
    """A drive, and perhaps another medium."""
    parser.add_argument("device", metavar="DEVICE", nargs="?", help="the drive, e.g. disk1; default: the only one")
    parser.add_argument("--insert", metavar="FILE.iso", help="put this medium in instead")
    parser.add_argument("--force", action="store_true", help="also when the guest has locked the tray")


def snapshot(parser: _Parser) -> None:
    """What, and the tag or the file."""
    words = ("list", "take", "revert", "delete", "commit")
    text = "list; take, revert or delete TAG; commit merges the overlays of --external back"
    parser.add_argument("what", metavar="ACTION", choices=words, help=text)
    parser.add_argument("tag", metavar="TAG", nargs="?", help="its name within the images")
    text = "take: freeze the disks in their files, and write to overlays in this folder from now on"
    parser.add_argument("--external", metavar="FOLDER", help=text)
    parser.epilog = (
        "Internal ones hold memory and disks (qcow2), and stop the guest while they are taken or reverted to."
    )


def resize(parser: _Parser) -> None:
    """A disk and its size."""
    parser.add_argument("device", metavar="DEVICE", help="the disk, e.g. disk0")
    parser.add_argument("size", metavar="SIZE", help="its new size, e.g. 40G; a disk only grows")


def balloon(parser: _Parser) -> None:
    """A size, or a question."""
    parser.add_argument("size", metavar="SIZE", nargs="?", help="what the guest is to keep; without it, what it has")


def pin(parser: _Parser) -> None:
    """Pins, or a question."""
    text = "0=2 (a vCPU), io0=1 (an iothread), emulator=0,8; without any, the pins are shown"
    parser.add_argument("pins", metavar="WHO=CPUS", nargs="*", help=text)
