"""The same machine under libvirt, in a daemon that is started for this run alone and is warm when it is timed."""

import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.bench.row import timed
from tests.bench.scratch import Scratch

_VIRSH = ("virsh", "-q", "-c", "qemu:///system")
_DOMAIN = "qlaunch-bench"


class Virsh:
    """A defined domain."""

    def __init__(self, folder: Path, accel: str) -> None:
        self.domain = folder / "bench.xml"
        self.domain.write_text(_domain_xml(accel, folder))

    def run(self, *words: str) -> None:
        """Run virsh to its end."""
        subprocess.run([*_VIRSH, *words], check=True, capture_output=True)

    def start(self) -> None:
        """Start the domain."""
        self.run("start", _DOMAIN)

    def destroy(self) -> None:
        """End the domain."""
        self.run("destroy", _DOMAIN)

    def query_status(self) -> None:
        """Ask its QEMU a question."""
        self.run("qemu-monitor-command", _DOMAIN, '{"execute": "query-status"}')

    def start_and_stop(self) -> tuple[float, float]:
        """Time `virsh start` and `virsh destroy`; milliseconds each."""
        return timed(self.start), timed(self.destroy)


@contextmanager
def virsh(scratch: Scratch) -> Iterator[Virsh | None]:
    """Give a warm libvirt, or None with a word why there is none."""
    if not shutil.which("virsh") or not shutil.which("libvirtd"):
        _tell("not installed, so not measured")
        yield None
        return
    daemons = [
        subprocess.Popen([name], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for name in ("virtlogd", "libvirtd")
        if shutil.which(name)
    ]
    candidate = Virsh(scratch.folder, scratch.accel)
    try:
        for _ in range(100):
            if subprocess.run([*_VIRSH, "list"], capture_output=True, check=False).returncode == 0:
                break
            time.sleep(0.2)  # libvirtd has no readiness of its own without systemd
        try:
            candidate.run("define", str(candidate.domain))
        except subprocess.CalledProcessError as error:
            _tell(f"{error.stderr.decode().strip()}; not measured")
            yield None
            return
        try:
            yield candidate
        finally:
            subprocess.run([*_VIRSH, "destroy", _DOMAIN], capture_output=True, check=False)  # if it was cut off
            candidate.run("undefine", "--nvram", _DOMAIN)
    finally:
        for daemon in reversed(daemons):
            daemon.send_signal(signal.SIGTERM)
            daemon.wait()


def _tell(text: str) -> None:
    sys.stderr.write(f"virsh: {text}\n")


def _domain_xml(accel: str, folder: Path) -> str:
    """Give the machine of `scratch.SMALL` as a libvirt domain."""
    kind = "kvm" if accel == "kvm" else "qemu"
    model = "host-passthrough" if accel == "kvm" else "maximum"
    return f"""<domain type='{kind}'><name>{_DOMAIN}</name><memory unit='MiB'>512</memory><vcpu>2</vcpu>
<cputune><vcpupin vcpu='0' cpuset='0'/><vcpupin vcpu='1' cpuset='1'/></cputune>
<os firmware='efi'><type machine='q35'>hvm</type><firmware><feature enabled='no' name='secure-boot'/></firmware></os>
<features><acpi/></features><cpu mode='{model}'/>
<devices><serial type='file'><source path='{folder}/serial.log'/></serial>
<channel type='unix'><target type='virtio' name='org.qemu.guest_agent.0'/></channel>
<memballoon model='none'/><rng model='virtio'><backend model='random'>/dev/urandom</backend></rng></devices></domain>"""
