"""Whether KVM can run a guest here: found out by running one, a few instructions long.

The guest is a 64 KiB ROM that writes one byte to QEMU's isa-debug-exit device, whose exit status then is ``byte * 2 + 1``. It runs with
``-cpu host``, as machines do: on some hosts /dev/kvm opens, and such a CPU still cannot be made.

Source: QEMU's ``hw/misc/debugexit.c``; the reset vector is 16 bytes below the end of the first 4 GiB (Intel SDM, volume 3, 10.1.4).
"""

import os
import signal

import msgspec

from qlaunch.host.cache import program_key, remember

_PORT, _BYTE = 0xF4, 0x2A
PASSED = _BYTE * 2 + 1
_DEADLINE_S = 15


class KvmTrial(msgspec.Struct, frozen=True):
    """How the trial went, and in words why it failed."""

    works: bool
    reason: str = ""


def try_kvm(binary: str, cache: str | None) -> KvmTrial:
    """Try KVM. The answer is remembered until the kernel, the CPU, KVM's settings or QEMU change."""
    try:
        os.close(os.open("/dev/kvm", os.O_RDWR | os.O_CLOEXEC))
    except FileNotFoundError:
        return KvmTrial(works=False, reason="there is no /dev/kvm: switch virtualization on in the firmware setup")
    except PermissionError:
        return KvmTrial(works=False, reason="/dev/kvm may not be opened: join the group kvm and log in again")
    except OSError as error:
        return KvmTrial(works=False, reason=f"/dev/kvm cannot be opened: {error.strerror}")
    key = [2, program_key(binary), os.uname().release, os.uname().version, _cpu(), _parameters()]
    return remember(cache, "kvm", key, KvmTrial, lambda: run_rom(binary, "kvm", "host"))


def run_rom(binary: str, accel: str, model: str) -> KvmTrial:
    """Run the ROM under an accelerator and judge by QEMU's exit status."""
    import subprocess  # noqa: PLC0415 - as for tempfile: not with a warm cache
    import tempfile  # noqa: PLC0415

    with tempfile.NamedTemporaryFile(prefix="qlaunch-trial-", suffix=".rom") as file:
        file.write(rom())
        file.flush()
        words = ["-nodefaults", "-no-user-config", "-display", "none", "-machine", "pc", "-m", "16", "-bios", file.name]
        debug_exit = ["-device", f"isa-debug-exit,iobase={_PORT:#x},iosize=4"]
        try:
            done = subprocess.run(
                [binary, *words, *debug_exit, "-accel", accel, "-cpu", model],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=_DEADLINE_S,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return KvmTrial(works=False, reason=f"a trial guest did not come to its end within {_DEADLINE_S} s")
        except OSError as error:
            return KvmTrial(works=False, reason=f"{binary} cannot be run: {error.strerror}")
    if done.returncode == PASSED:
        return KvmTrial(works=True)
    last = (done.stderr.decode(errors="replace").strip().splitlines() or ["no message"])[-1]
    if done.returncode < 0:
        return KvmTrial(works=False, reason=f"QEMU died of {signal.Signals(-done.returncode).name}: {last}")
    return KvmTrial(works=False, reason=f"a trial guest failed: {last}")


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
