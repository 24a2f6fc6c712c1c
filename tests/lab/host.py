"""An emulated host as a test sees it: commands, files, machines, and the photograph that it must go back to."""

import json
import time
from typing import Any

from qlaunch.probe.report import Report, parse_report
from tests.lab import emulated, photograph
from tests.lab.channel import Channel, Ended
from tests.lab.emulator import Emulator
from tests.lab.failure import LabError
from tests.lab.photograph import Photograph

# A start with emulation inside emulation; a test that meets this bound has failed, and none waits for it otherwise.
PATIENCE_S = 240.0
END_OF_REPORT = "end of report"  # the probe guest's last words, after which it heeds its power button
GUEST_STANDS_STILL = "the emulated host's guest stands still"


class LabHost:
    """A running emulated host with this checkout's qlaunch in it."""

    def __init__(self, emulator: Emulator, profile: str) -> None:
        self.emulator = emulator
        self.profile = profile
        self._reference: Photograph | None = None

    @property
    def channel(self) -> Channel:
        return self.emulator.channel

    def reference(self) -> Photograph:
        """The photograph that every test must leave; taken before the first of them."""
        if self._reference is None:
            # What the first run of anything loads or makes, such as a module, is no change of a machine's.
            self.run("qlaunch", "list")
            loaded = "vfio-pci tun vhost_net igbvf bridge macvtap nft_masq nft_chain_nat veth dummy"
            self.channel.shell(f"mkdir -p /etc/qlaunch/machines; modprobe -a {loaded} || true")
            self._reference = photograph.take(self.channel)
        return self._reference

    def run(
        self, *argv: str, expect: int | None = 0, stdin: bytes | None = None, patience_s: float = PATIENCE_S
    ) -> Ended:
        """Run a program inside to its end, and check its status; None expects any."""
        ended = self.channel.run(*argv, stdin=stdin, patience_s=patience_s, cwd="/root")
        if expect is not None and ended.status != expect:
            raise AssertionError(f"{' '.join(argv)}: status {ended.status}, not {expect}\n{ended.out}\n{ended.err}")
        return ended

    def qlaunch(self, *words: str, expect: int | None = 0) -> Ended:
        """Run a verb of qlaunch."""
        return self.run("qlaunch", *words, expect=expect)

    def json(self, *words: str) -> Any:
        """Run a verb with --json, and read its answer."""
        return json.loads(self.qlaunch(*words, "--json").out)

    def shell(self, script: str) -> str:
        return self.channel.shell(script)

    def read(self, path: str) -> str:
        return self.channel.shell(f"cat {path}").strip()

    def write(self, path: str, text: str) -> None:
        self.channel.run("sh", "-ec", f'mkdir -p "$(dirname {path})"; cat > {path}', stdin=text.encode()).checked()

    def machine(self, name: str, text: str) -> None:
        """Write a machine file where qlaunch looks for it; its guest has never run."""
        self.write(f"/etc/qlaunch/machines/{name}.toml", text)
        self._forget_variables(name)

    def _forget_variables(self, name: str) -> None:
        """Let the firmware begin with new variables.

        One that was killed at its first write to them writes 386,794 bytes when it is started next, where a new one
        writes 15,641 (OVMF of edk2 2022.11, by QEMU's trace of pflash_data_write); each may take 1 ms in here, and
        those who wait for the guest would wait for minutes.
        """
        self.shell(f"rm -f /var/lib/qlaunch/{name}/VARS.fd")

    def address(self, port: str, device: int = 0) -> str:
        """The slot of what sits behind a port of emulated.PORTS, whatever its number is: ``0000:01:00``."""
        bridge = f"0000:00:{emulated.PORTS[port]:02x}.0"
        pattern = "[0-9a-f]*:[0-9a-f][0-9a-f]:[0-9a-f][0-9a-f].[0-7]"
        deep = "0000:*/" if port == "dirty" else ""  # one more bridge between
        below = self.shell(f"ls -d /sys/bus/pci/devices/{bridge}/{deep}{pattern}").split()
        slots = sorted({path.rsplit("/", 1)[1].partition(".")[0] for path in below})
        return slots[device]

    def wait_until(self, script: str, patience_s: float = 120.0) -> None:
        """Look with a shell script again and again until it succeeds; for what tells nobody when it happens."""
        end = time.monotonic() + patience_s
        while self.channel.run("sh", "-c", script).status != 0:
            if time.monotonic() > end:
                raise AssertionError(f"never came true: {script}")
            time.sleep(0.2)

    def wait_for_guest(self, name: str, text: str = END_OF_REPORT, patience_s: float = PATIENCE_S) -> None:
        """Until a machine's guest has said a text on its serial port."""
        try:
            self.wait_until(f"grep -q '{text}' /var/lib/qlaunch/{name}/serial.log", patience_s)
        except AssertionError as never:
            raise self._stands_still(name) or never from never

    def report(self, name: str) -> Report:
        """What a machine's probe guest reports of itself; the machine is run for it, and ended."""
        self._forget_variables(name)
        job = self.channel.start(["qlaunch", "run", name, "--until", END_OF_REPORT], cwd="/root")
        try:
            job.wait_for_output(END_OF_REPORT, PATIENCE_S)
        except LabError as never:
            raise self._stands_still(name) or never from never
        return parse_report(job.wait().checked())

    def _stands_still(self, name: str) -> LabError | None:
        """Why a guest is silent, if qlaunch's and QEMU's part of it is done: QEMU says that it runs.

        Then it hangs in its firmware or kernel, which is the emulation's doing unless it happens each time.
        """
        asked = [["-c", "query-status"], *[["-H", "-c", "info registers -a"]] * 2]
        said = [self.run("qlaunch", "console", name, *words, expect=None).out for words in asked]
        if "running" not in said[0]:
            return None
        tail = self.run("sh", "-c", f"tail -n 5 /var/lib/qlaunch/{name}/serial.log", expect=None).out
        return LabError(f"{GUEST_STANDS_STILL}; the last that {name} said: {tail!r}\n" + "\n".join(said))

    def kill(self, pid: int | str) -> None:
        """SIGKILL, and wait until it is gone."""
        self.shell(f"kill -9 {pid}; while [ -e /proc/{pid} ] && ! grep -q '^State:.Z' /proc/{pid}/status; do :; done")
