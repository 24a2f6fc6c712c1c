"""Snapshots of a running machine, as QEMU's jobs. Blocking.

Source: ``qapi/migration.json`` (snapshot-save, since 6.0), ``qapi/block-core.json`` (blockdev-snapshot-sync,
block-commit), ``qapi/job.json``. A job that has ended waits as ``concluded`` until it is dismissed.
"""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import suppress

import msgspec

from qlaunch.errors import HostError, MonitorError, UsageError
from qlaunch.run.blocks import Drive, Image, drives
from qlaunch.run.wire import Wire

Progress = Callable[[str, int, int], None]
_PROGRESS_S = 0.1  # QEMU says when a job has ended, but not how far it is


class Job(msgspec.Struct, rename="kebab"):
    """One of QEMU's jobs."""

    id: str
    status: str
    current_progress: int = 0
    total_progress: int = 0
    error: str = ""


class Snapshots:
    """The snapshots of one machine."""

    def __init__(self, wire: Wire, progress: Progress = lambda *_: None) -> None:
        self._wire = wire
        self._progress = progress

    def take(self, tag: str) -> None:
        """Keep disks and memory under a tag. Raises UsageError, MonitorError."""
        nodes = self._nodes()
        if any(one["name"] == tag for drive in self._writable() for one in _image(drive).snapshots):
            raise UsageError(f"there is a snapshot {tag!r} already", "choose another tag, or delete it first")
        self._run("snapshot-save", tag=tag, vmstate=nodes[0], devices=nodes)

    def revert(self, tag: str) -> None:
        """Make disks and memory what they were; the guest goes on from there. Raises UsageError, MonitorError."""
        self._insist_on(tag)
        nodes = self._nodes()
        status = self._wire.execute("query-status")
        self._wire.execute("stop")
        try:
            self._run("snapshot-load", tag=tag, vmstate=nodes[0], devices=nodes)
        finally:
            if isinstance(status, dict) and status.get("running"):
                self._wire.execute("cont")

    def delete(self, tag: str) -> None:
        """Forget a snapshot. Raises UsageError, MonitorError."""
        self._insist_on(tag)
        self._run("snapshot-delete", tag=tag, devices=self._nodes())

    def freeze(self, folder: str, tag: str) -> list[str]:
        """Let the guest write to new overlays from now on, all disks at one moment. Gives their paths.

        Raises HostError, MonitorError.
        """
        if not os.path.isdir(folder):
            raise HostError(f"there is no folder {folder}")
        made, actions = [], []
        for drive in self._writable():
            assert drive.inserted  # noqa: S101 - see _writable
            path = f"{folder}/{drive.name}-{tag}.qcow2"
            if os.path.exists(path):
                raise HostError(f"{path} exists already", "choose another tag")
            made.append(path)
            data = {
                "node-name": drive.inserted.node_name,
                "snapshot-file": path,
                "snapshot-node-name": f"{drive.name}-{tag}"[:31],
                "format": "qcow2",
            }
            actions.append({"type": "blockdev-snapshot-sync", "data": data})
        if not actions:
            raise UsageError("the machine has no disk that it writes to")
        self._wire.execute("transaction", {"actions": actions})
        return made

    def commit(self) -> list[str]:
        """Merge the overlays of this run back into the files below, with the guest running. Gives their paths."""
        done = []
        for drive in self._writable():
            assert drive.inserted  # noqa: S101 - see _writable
            image = drive.inserted.image
            if image.backing_image is None:
                continue
            chain, below = [image.filename], image.backing_image
            while below.get("backing-image"):
                chain.append(str(below["filename"]))
                below = below["backing-image"]
            self._run("block-commit", completes=True, device=drive.inserted.node_name)
            done += chain
        if not done:
            raise UsageError("no disk writes to an overlay", "make one with: snapshot NAME take --external FOLDER")
        return done

    def _run(self, command: str, *, completes: bool = False, **arguments: object) -> None:
        """Run a job to its end. Raises MonitorError when it fails."""
        name = f"qlaunch-{os.urandom(4).hex()}"
        self._wire.execute(command, {"job-id": name, **arguments, **({"auto-dismiss": False} if completes else {})})
        asked = False
        while True:
            jobs = msgspec.convert(self._wire.execute("query-jobs"), list[Job])
            job = next((job for job in jobs if job.id == name), None)
            if job is None:
                raise MonitorError(f"QEMU lost the job of {command}")
            self._progress(command, job.current_progress, job.total_progress)
            if job.status == "concluded":
                break
            if job.status == "ready" and not asked:  # an active commit follows the guest until it is told to end
                self._wire.execute("job-complete", {"id": name})
                asked = True
            time.sleep(_PROGRESS_S)
        with suppress(MonitorError):
            self._wire.execute("job-dismiss", {"id": name})
        if job.error:
            raise MonitorError(f"{command} failed: {job.error}")

    def _insist_on(self, tag: str) -> None:
        tags = sorted({one["name"] for drive in self._writable() for one in _image(drive).snapshots})
        if tag not in tags:
            there = f"there is: {', '.join(tags)}" if tags else "there is none at all"
            raise UsageError(f"the machine has no snapshot {tag!r}", there)

    def _writable(self) -> Iterator[Drive]:
        for drive in drives(self._wire.execute("query-block")):
            if drive.inserted and not drive.inserted.ro:
                yield drive

    def _nodes(self) -> list[str]:
        """Give the nodes that hold a snapshot: all that the guest writes to must be qcow2."""
        found = list(self._writable())
        if others := [drive.name for drive in found if _image(drive).format != "qcow2"]:
            raise UsageError(f"{', '.join(others)} cannot hold a snapshot: only qcow2 images can", "see --external")
        if not found:
            raise UsageError("the machine has no disk that could hold a snapshot", "give it one, as qcow2")
        return [drive.inserted.node_name for drive in found if drive.inserted]


def _image(drive: Drive) -> Image:
    assert drive.inserted  # noqa: S101 - see _writable
    return drive.inserted.image
