"""Faults on purpose: a kill at the n-th system call, a write that fails or hangs, a held device, a pulled card.

The product has no door for any of this: strace stands outside and changes what the kernel seems to say.
Source: ``strace(1)``, "Tampering"; counts are one a thread.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from tests.lab.channel import Ended
from tests.lab.host import PATIENCE_S, LabHost

# Calls that qlaunch makes at the points that matter: the journal is the only user of pwrite and fdatasync.
BEFORE_RECORD, AFTER_RECORD = "pwrite64", "fdatasync"

# Memory is taken, and all of it given back but a page here and there: those lie in pipes, from where nobody moves them.
# Source: vmsplice(2); fcntl(2), F_SETPIPE_SZ; the kernel's mm/migrate.c (a page to which somebody else refers stays).
FRAGMENT = """
import ctypes, fcntl, mmap, os, sys, time
EACH, SLOTS, SETPIPE_SZ = 64, 256, 1031
pages = int(sys.argv[1]) << 8
block = mmap.mmap(-1, pages << 12, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
block.madvise(mmap.MADV_NOHUGEPAGE)
start = ctypes.addressof(ctypes.c_char.from_buffer(block))
ctypes.memset(start, 1, pages << 12)
libc = ctypes.CDLL(None, use_errno=True)
kept = list(range(0, pages, EACH))
for first in range(0, len(kept), SLOTS):
    _, end = os.pipe()
    fcntl.fcntl(end, SETPIPE_SZ, SLOTS << 12)
    part = [word for page in kept[first : first + SLOTS] for word in (start + (page << 12), 4096)]
    vectors = (ctypes.c_size_t * len(part))(*part)
    if libc.vmsplice(end, vectors, ctypes.c_size_t(len(part) // 2), 0) != len(part) << 11:
        sys.exit(os.strerror(ctypes.get_errno()))
block.madvise(mmap.MADV_DONTNEED)
print("fragmented", flush=True)
time.sleep(86400)
"""


def killed_at(host: LabHost, call: str, number: int, *argv: str) -> Ended:
    """Run a command whose threads are killed when one of them makes a system call for the n-th time.

    A kill comes before the call is carried out. A command that does not make so many runs to its end.
    """
    return _tampered(host, f"{call}:signal=SIGKILL:when={number}", (), argv)


def refused(host: LabHost, path: str, error: str, *argv: str) -> Ended:
    """Run a command for which every write to a file fails, with an error such as ``EBUSY``."""
    return _tampered(host, f"write:error={error}", ("-P", path), argv)


def delayed(host: LabHost, path: str, seconds: float, *argv: str) -> Ended:
    """Run a command for which every write to a file takes so long."""
    return _tampered(host, f"write:delay_enter={int(seconds * 1_000_000)}", ("-P", path), argv)


def _tampered(host: LabHost, tampering: str, more: tuple[str, ...], argv: tuple[str, ...]) -> Ended:
    # Not through the shell's wrapper, and not into QEMU: strace lets go of whatever becomes another program.
    own = ("python3", "-P", "-m", "qlaunch", *argv[1:]) if argv[0] == "qlaunch" else argv
    words = ["strace", "-f", "-b", "execve", "-qq", "-o", "/dev/null", *more, "-e", f"inject={tampering}", *own]
    return host.run(*words, expect=None, patience_s=PATIENCE_S)


@contextmanager
def held_open(host: LabHost, path: str) -> Iterator[int]:
    """A process, by its number, that holds a file open as long as this lasts."""
    job = host.channel.start(["sh", "-c", f"exec 9<>{path}; echo $$; exec busybox sleep 86400"])
    job.wait_for_output("\n")
    number = int(job.out.split()[0])
    try:
        yield number
    finally:
        host.kill(number)
        job.wait()


@contextmanager
def fragmented(host: LabHost, mebibytes: int) -> Iterator[None]:
    """Memory of which so much is in use in such a way that few huge pages can be made of the rest."""
    job = host.channel.start(["python3", "-S", "-E", "-c", FRAGMENT, str(mebibytes)])
    try:
        job.wait_for_output("fragmented")
        yield
    finally:
        job.kill(9)
        job.wait()


def pull(host: LabHost, device: str) -> None:
    """Take a device of the emulated board away without asking, as a loose card does."""
    with host.emulator.monitor() as monitor:
        monitor.execute("device_del", id=device)
