"""`qlaunch snapshot NAME list|take|revert|delete|commit [TAG]`: states of a running machine.

Internal ones live in its qcow2 images, memory included. External ones freeze the disks' files: the guest writes to
overlays from then on, and ``commit`` merges these back.
"""

import argparse
import os
import sys
import time

from qlaunch.cli.machines import running
from qlaunch.cli.terminal import is_terminal
from qlaunch.errors import UsageError
from qlaunch.run.blocks import drives
from qlaunch.run.open_wire import open_wire
from qlaunch.run.snapshots import Snapshots


def run(options: argparse.Namespace) -> int:
    """Do what is asked, with the progress on a terminal."""
    if options.what in ("take", "revert", "delete") and not (options.tag or options.external):
        raise UsageError(f"snapshot {options.what} wants a TAG", f"example: qlaunch snapshot NAME {options.what} clean")
    if options.external and options.what != "take":
        raise UsageError("--external goes with take", "its overlays are merged back by: snapshot NAME commit")
    _, record = running(options.name)
    with open_wire(record.duty, lambda text: print(text, file=sys.stderr)) as wire:
        snapshots = Snapshots(wire, _progress if is_terminal() else lambda *_: None)
        match options.what:
            case "list":
                _list(wire.execute("query-block"))
            case "take" if options.external:
                for path in snapshots.freeze(os.path.abspath(options.external), options.tag or _stamp()):
                    print(path)
            case "take":
                snapshots.take(options.tag)
            case "revert":
                snapshots.revert(options.tag)
            case "delete":
                snapshots.delete(options.tag)
            case _:
                for path in snapshots.commit():
                    print(path)
    return 0


def _stamp() -> str:
    return time.strftime("%Y%m%d-%H%M%S")


def _list(told: object) -> None:
    print(f"{'TAG':<24} {'TAKEN':<20} {'GUEST MEMORY':>13} DISKS")
    found: dict[str, list[str]] = {}
    facts: dict[str, tuple[int, int]] = {}
    for drive in drives(told):
        for one in drive.inserted.image.snapshots if drive.inserted else ():
            found.setdefault(one["name"], []).append(drive.name)
            facts[one["name"]] = (one["date-sec"], max(one["vm-state-size"], facts.get(one["name"], (0, 0))[1]))
    for tag, (taken, size) in sorted(facts.items(), key=lambda item: item[1]):
        when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(taken))
        print(f"{tag:<24} {when:<20} {size >> 20:>9} MiB {','.join(found[tag])}")
    for drive in drives(told):
        if drive.inserted and drive.inserted.image.backing_image:
            backing = drive.inserted.image.backing_image.get("filename")
            print(f"{drive.name} writes to {drive.inserted.image.filename}, over {backing}")


def _progress(what: str, done: int, total: int) -> None:
    percent = 100 * done // total if total else 0
    end = "\n" if total and done >= total else ""
    print(f"\r{what}: {percent} %", end=end, file=sys.stderr, flush=True)
