"""A fresh host in seconds: each profile is booted once, its memory and disk are kept, and restored from there.

A snapshot belongs to one image, one profile and one set of emulator options; where one of them is another, it is made
anew. Source: QEMU, docs/devel/migration/mapped-ram.rst; -incoming defer.
"""

import contextlib
import hashlib
import os
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from tests.lab import cache, emulated, image as images
from tests.lab.emulator import Emulator
from tests.lab.failure import LabError
from tests.lab.image import Image
from tests.lab.monitor import Monitor

SNAPSHOT_ROOM_MIB = 3072
BOOT_S = 600.0
# A timer interrupt can get lost in emulation on a busy machine, seldom, and with it the boot: one more try tells.
TRIES = 2
SETTLE_S = 600.0
RESTORE_S = 300.0
CAPABILITIES = [{"capability": name, "state": True} for name in ("mapped-ram", "multifd")]

WAIT = """
wait_for() {
    tries=0
    until [ -e $1 ]; do
        [ $tries -lt 1200 ] || { echo "$1 never appeared" >&2; exit 1; }
        busybox sleep 0.05
        tries=$((tries + 1))
    done
}
"""
SETTLE = f"""{WAIT}
wait_for /dev/input/by-id
udevadm settle
systemctl is-system-running --wait > /dev/null || {{ systemctl --failed --plain --no-legend >&2; exit 1; }}
modprobe -a vfio-pci kvm-amd || true
udevadm settle
sync
echo 3 > /proc/sys/vm/drop_caches
python3 -c 'import trio, msgspec, psutil, qemu.qmp, tomli' || true
"""
AFTER_RESTORE = f"""{WAIT}
date -s @%d > /dev/null
wait_for /dev/nvme0n1
udevadm settle
"""


def fresh(profile: str = "full", *, keep: bool = False, say: Callable[[str], object] = lambda _: None) -> Emulator:
    """A freshly booted host of a profile, restored from its snapshot, which is made first if need be.

    The caller stops it. Raises LabError when the image cannot be built, or the host does not come up.
    """
    image = _image(say)
    place = image.folder / "snapshots" / f"{profile}-{_key(profile)}"
    for attempt in range(TRIES):
        made = _have(image, profile, place, say)
        host = Emulator(image, profile, place / "disk.qcow2", keep=keep, say=say)
        try:
            _restore(host, place)
        except BaseException as error:
            host.stop()
            if not isinstance(error, LabError | OSError) or attempt == TRIES - 1:
                raise
            say(f"The snapshot is made anew, since it could not be restored: {error}")
            _forget(profile, place, made)
        else:
            return host
    raise AssertionError


def booted(profile: str = "full", *, say: Callable[[str], object] = lambda _: None) -> Emulator:
    """A host that is booted now, without a snapshot; up, but not yet settled. The caller stops it."""
    return _boot(_image(say), profile, say, "")


def _image(say: Callable[[str], object]) -> Image:
    if not images.is_built():
        say("Building the lab's image from Debian packages; this takes a few minutes, once.")
    return images.ready()


def _have(image: Image, profile: str, place: Path, say: Callable[[str], object]) -> int:
    """Make the snapshot unless it is there. What tells it from one that somebody makes later."""
    if not place.is_dir():
        with cache.locked(f"snapshot-{profile}"):
            if not place.is_dir():
                say(
                    f"Booting the emulated host once ({profile}: {emulated.PROFILES[profile].meaning}); "
                    "this takes a minute or two."
                )
                _make(image, profile, place, say)
    with contextlib.suppress(FileNotFoundError):  # somebody else has just found it to be bad
        os.utime(place)
    return _made(place)


def _made(place: Path) -> int:
    try:
        return (place / "memory").stat().st_mtime_ns
    except FileNotFoundError:
        return 0


def _forget(profile: str, place: Path, made: int) -> None:
    """Delete a snapshot, but not the one that somebody has made in its place meanwhile."""
    with cache.locked(f"snapshot-{profile}"):
        if _made(place) == made:
            shutil.rmtree(place, ignore_errors=True)


def _key(profile: str) -> str:
    names = emulated.Files("kernel", "initrd", "code", "disk")
    parts = [
        emulated.options(emulated.PROFILES[profile], names),
        SETTLE,
        Path(emulated.__file__).with_name("ssdt.py").read_text(),
    ]
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:12]


def _boot(image: Image, profile: str, say: Callable[[str], object], settled: str) -> Emulator:
    """Boot a host, and run a script in it that fails unless the host is as it should be."""
    for attempt in range(TRIES):
        host = Emulator(image, profile, image.disk, say=say)
        try:
            host.start()
            host.wait_until_up(BOOT_S)
            host.channel.shell(settled, SETTLE_S)
        except BaseException as error:
            host.stop()
            if not isinstance(error, LabError) or attempt == TRIES - 1:
                raise
        else:
            return host
    raise AssertionError


def _make(image: Image, profile: str, place: Path, say: Callable[[str], object]) -> None:
    cache.need_room(SNAPSHOT_ROOM_MIB, "a snapshot of the emulated host")
    place.parent.mkdir(mode=0o755, exist_ok=True)
    for killed in place.parent.glob(f".making-{profile}-*"):  # whose maker has let go of the lock
        shutil.rmtree(killed, ignore_errors=True)
    for pattern in ("*-*", ".making-*"):
        cache.forget_unused(place.parent, pattern, images.UNUSED_S)
    work = Path(tempfile.mkdtemp(prefix=f".making-{profile}-", dir=place.parent))
    try:
        with _boot(image, profile, say, SETTLE) as host:
            with host.monitor() as monitor:
                _save(monitor, work / "memory")
                monitor.execute("quit")
            host.wait_for_exit()
            for name in ("disk.qcow2", "vars.fd"):
                shutil.move(host.folder / name, work / name)
        work.rename(place)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _prepare(monitor: Monitor) -> None:
    monitor.execute("migrate-set-capabilities", capabilities=CAPABILITIES)
    monitor.execute("migrate-set-parameters", **{"multifd-channels": 2, "max-bandwidth": 0})


def _save(monitor: Monitor, memory: Path) -> None:
    monitor.execute("stop")
    _prepare(monitor)
    monitor.execute("migrate", uri=f"file:{memory}")
    deadline = time.monotonic() + SETTLE_S
    while (state := monitor.execute("query-migrate"))["status"] != "completed":
        if state["status"] == "failed" or time.monotonic() > deadline:
            raise LabError(f"the emulated host could not be saved: {state.get('error-desc', state['status'])}")
        time.sleep(0.05)


def _restore(host: Emulator, place: Path) -> None:
    host.start_from(place / "vars.fd")
    with host.monitor() as monitor:
        _prepare(monitor)
        monitor.execute("migrate-incoming", uri=f"file:{place / 'memory'}")
        deadline = time.monotonic() + RESTORE_S
        while monitor.execute("query-status")["status"] == "inmigrate":
            if time.monotonic() > deadline:
                raise LabError(f"the snapshot {place} was not restored within {RESTORE_S:.0f} s", "delete that folder")
            time.sleep(0.01)
        monitor.execute("device_add", **emulated.nvme_device())
        monitor.execute("cont")
    host.channel.shell(AFTER_RESTORE % time.time())
