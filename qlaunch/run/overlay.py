"""A throw-away run: disks are overlays, firmware variables a copy, and all of it goes at the end.

Source: ``qemu-img(1)`` (create -b); ``docs/interop/qcow2.rst`` (backing files).
"""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import msgspec

from qlaunch.devices.disk import Disk
from qlaunch.errors import HostError
from qlaunch.host.folders import Folders
from qlaunch.machine.load import Loaded
from qlaunch.run.thrown_away import run_folder, sweep


@contextmanager
def throw_away(loaded: Loaded, folders: Folders) -> Iterator[tuple[Loaded, Folders]]:
    """Give the machine with overlays for the disks that it would write to, and folders that go with the block.

    Raises HostError.
    """
    kept = f"{folders.state}/{loaded.name}"
    sweep(folders.state)  # recover says what is in the way
    try:
        with run_folder(folders.state) as folder:
            _copy_small_files(kept, f"{folder}/{loaded.name}")
            disks = [_overlay(disk, f"{folder}/disk{number}.qcow2") for number, disk in enumerate(loaded.machine.disk)]
            machine = msgspec.structs.replace(loaded.machine, disk=disks)
            yield msgspec.structs.replace(loaded, machine=machine), msgspec.structs.replace(folders, state=folder)
    finally:
        with suppress(OSError):
            os.rmdir(folders.state)


def _copy_small_files(kept: str, state: str) -> None:
    """Let the guest find its firmware's variables and its board as ever; logs are this run's own."""
    with suppress(OSError):
        os.mkdir(state, 0o700)
        for entry in os.scandir(kept):
            if entry.is_file(follow_symlinks=False) and not entry.name.endswith(".log"):
                shutil.copy(entry.path, state)


def _overlay(disk: Disk, path: str) -> Disk:
    if not disk.writable or disk.path is None:
        return disk
    words = ["qemu-img", "create", "-q", "-f", "qcow2", "-F", disk.image_format, "-b", os.path.abspath(disk.path), path]
    try:
        done = subprocess.run(words, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    except FileNotFoundError as error:
        raise HostError("qemu-img is not installed: it makes the overlays", "install qemu-utils or qemu-img") from error
    if done.returncode:
        raise HostError(f"cannot make an overlay of {disk.path}: {done.stderr.strip().removeprefix('qemu-img: ')}")
    return msgspec.structs.replace(disk, path=path, format="qcow2")
