"""Whether KVM can run a guest here: found out by running one, a few instructions long.

The guest is a 64 KiB ROM that writes one byte to QEMU's isa-debug-exit device, whose exit status then is
``byte * 2 + 1``. It runs with ``-cpu host``, as machines do: on some hosts /dev/kvm opens, and such a CPU still cannot
be made.

Source: QEMU's ``hw/misc/debugexit.c``; the reset vector is 16 bytes below the end of the first 4 GiB (Intel SDM,
volume 3, 10.1.4).
"""

import os
import signal

import msgspec

from qlaunch.host.cache import keep, program_key, recall

_PORT, _BYTE = 0xF4, 0x2A
PASSED = _BYTE * 2 + 1
_DEADLINE_S = 15


class KvmTrial(msgspec.Struct, frozen=True):
    """How the trial went, and in words why it failed."""

    works: bool
    reason: str = ""
    sure: bool = True
    """False when another try may end differently: a full disk, a busy computer, another hypervisor in the way."""


def try_kvm(binary: str, cache: str | None) -> KvmTrial:
    """Try KVM. A sure answer is remembered until the kernel, the CPU, KVM's settings or QEMU change."""
    try:
        os.close(os.open("/dev/kvm", os.O_RDWR | os.O_CLOEXEC))
    except FileNotFoundError:
        return KvmTrial(works=False, reason="there is no /dev/kvm: switch virtualization on in the firmware setup")
    except PermissionError:
        return KvmTrial(works=False, reason="/dev/kvm may not be opened: join the group kvm and log in again")
    except OSError as error:
        return KvmTrial(works=False, reason=f"/dev/kvm cannot be opened: {error.strerror}")
    key = [3, program_key(binary), os.uname().release, os.uname().version, _cpu(), _parameters()]
    trial = recall(cache, "kvm", key, KvmTrial)
    if trial is None:
        trial = run_rom(binary, "kvm", "host")
        if trial.sure:
            keep(cache, "kvm", key, trial)
    return trial


def run_rom(binary: str, accel: str, model: str, deadline_s: float = _DEADLINE_S) -> KvmTrial:
    """Run the ROM under an accelerator and judge by QEMU's exit status."""
    import subprocess  # noqa: PLC0415 - as for tempfile: not with a warm cache
    import tempfile  # noqa: PLC0415

    words = [binary, "-nodefaults", "-no-user-config", "-display", "none", "-machine", "pc", "-m", "16"]
    words += ["-device", f"isa-debug-exit,iobase={_PORT:#x},iosize=4", "-accel", accel, "-cpu", model]
    try:
        with tempfile.NamedTemporaryFile(prefix="qlaunch-trial-", suffix=".rom") as file:
            file.write(rom())
            file.flush()
            done = subprocess.run(
                # The name of a temporary folder may have a comma, and -bios takes it as it is.
                [*words, "-bios", file.name],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                timeout=deadline_s,
                check=False,
            )
    except subprocess.TimeoutExpired:
        return KvmTrial(works=False, reason=f"a trial guest did not end within {deadline_s:g} s", sure=False)
    except OSError as error:
        return KvmTrial(works=False, reason=f"no trial guest could be started: {error.strerror}", sure=False)
    return _judge(done.returncode, done.stderr.decode(errors="replace"))


def _judge(status: int, said: str) -> KvmTrial:
    if status == PASSED:
        return KvmTrial(works=True)
    last = (said.strip().splitlines() or ["it said nothing"])[-1]
    if status < 0:
        # Any other signal came from outside: the kernel out of memory, an administrator.
        own = -status in (signal.SIGABRT, signal.SIGSEGV, signal.SIGILL, signal.SIGBUS, signal.SIGFPE)
        name = signal.Signals(-status).name if -status in set(signal.Signals) else f"signal {-status}"
        return KvmTrial(works=False, reason=f"QEMU died of {name} in a trial: {last}", sure=own)
    return KvmTrial(works=False, reason=f"a trial guest failed: {last}", sure=False)


def rom() -> bytes:
    """Make the ROM: at the reset vector, ``mov al, BYTE; out PORT, al; hlt``."""
    code = bytes([0xB0, _BYTE, 0xE6, _PORT, 0xF4])
    return (bytes((1 << 16) - 16) + code).ljust(1 << 16, b"\0")


def _cpu() -> list[str]:
    wanted = ("vendor_id", "cpu family", "model", "stepping", "microcode")
    try:
        with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as file:
            first = file.read(16384).partition("\n\n")[0]
    except OSError:
        return []
    return [line for line in first.splitlines() if line.split(":")[0].strip() in wanted]


def _parameters() -> list[str]:
    found = []
    for module in ("kvm", "kvm_amd", "kvm_intel"):
        folder = f"/sys/module/{module}/parameters"
        try:
            names = sorted(os.listdir(folder))
        except OSError:
            continue
        for name in names:
            try:
                with open(f"{folder}/{name}", encoding="utf-8", errors="replace") as file:
                    found.append(f"{module}.{name}={file.read().strip()}")
            except OSError:
                continue
    return found
