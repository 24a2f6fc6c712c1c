"""How verbs that talk to a running machine find it: by its name alone, the file may be gone."""

import os
from collections.abc import Collection

from qlaunch.cli.terminal import say_hint
from qlaunch.duty import Pins
from qlaunch.errors import HostError
from qlaunch.host.folders import find_folders
from qlaunch.machine.search import machine_name
from qlaunch.run.folder import Record, RunFolder, machine_names


def folder_of(name: str) -> RunFolder:
    """Give the runtime folder of a machine; a path to a machine file stands for the machine of that name.

    Raises MachineError for what cannot be a name: it becomes a part of paths that are written to.
    """
    return RunFolder(f"{find_folders().runtime}/{machine_name(name)}")


def running(name: str) -> tuple[RunFolder, Record]:
    """Give the folder and the record of a machine that runs.

    Raises HostError when it does not, naming those that do.
    """
    folder = folder_of(name)
    record = folder.read()
    if record and record.qemu and (record.qemu.is_alive() or folder.is_locked()):
        return folder, record
    others = ", ".join(all_running()) or "none"
    raise HostError(f"{os.path.basename(folder.path)} is not running", f"running machines: {others}")


def record_of(folder: RunFolder) -> Record | None:
    """Give a machine's record, or None also for one that cannot be read: for verbs that look at all machines."""
    try:
        return folder.read()
    except HostError:
        return None


def all_running() -> list[str]:
    """Name the machines that run, supervised or not."""
    runtime = find_folders().runtime
    names = []
    for name in machine_names(runtime):
        record = record_of(RunFolder(f"{runtime}/{name}"))
        if record and record.qemu and record.qemu.is_alive():
            names.append(name)
    return names


def left_behind(runtime: str) -> list[str]:
    """Name the machines whose supervisor and QEMU are dead, and whose changes to the host are not undone."""
    names = []
    for name in machine_names(runtime):
        folder = RunFolder(f"{runtime}/{name}")
        record = record_of(folder)
        is_dead = record is None or not record.is_guest_alive
        if is_dead and (record or folder.has_journal()) and not folder.is_locked():
            names.append(name)
    return names


def tell_left_behind(except_for: Collection[str] = ()) -> None:
    """Say in one line what dead supervisors left on this host."""
    names = [name for name in left_behind(find_folders().runtime) if name not in except_for]
    if names:
        say_hint(f"{', '.join(names)}: killed, and not undone on this host; run: qlaunch recover")


def control_socket(name: str) -> str:
    """Give the path of the supervisor's own socket. Raises HostError when the machine has no supervisor now."""
    folder, record = running(name)
    if not folder.is_locked():
        raise HostError(
            f"{record.duty.name} runs without a supervisor: it was killed",
            f"take it over with: qlaunch up {record.duty.name}",
        )
    return record.duty.socket("control")


def running_pins() -> dict[str, Pins]:
    """Give the pins of the machines that run, by name."""
    runtime = find_folders().runtime
    records = {name: record_of(RunFolder(f"{runtime}/{name}")) for name in machine_names(runtime)}
    return {
        name: record.duty.pins for name, record in records.items() if record and record.qemu and record.qemu.is_alive()
    }
