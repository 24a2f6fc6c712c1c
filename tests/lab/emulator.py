"""One emulated host that runs: its folder, its QEMU process, its monitor and its control channel, from start to stop.

Whatever happens to the process that made it, nothing is left: QEMU dies with it, unless it was told to be kept; the
folder is swept by the next lab.
"""

import contextlib
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

from tests.lab import cache, emulated, ssdt
from tests.lab.channel import Channel
from tests.lab.failure import LabError
from tests.lab.image import Image
from tests.lab.monitor import Monitor

START_S = 30.0
NVME_BYTES = 64 << 20
STICK_BYTES = 16 << 20
NVME_MARK = b"the lab's NVMe disk, first block\n"
STICK_MARK = b"the lab's USB stick, first block\n"
LAST_WORDS = 1500

T = TypeVar("T")


class Emulator:
    """An emulated host of one profile, in a folder of its own. ``backing`` is the disk that its own overlay lies on."""

    def __init__(
        self,
        image: Image,
        profile: str,
        backing: Path,
        *,
        keep: bool = False,
        say: Callable[[str], object] = lambda _: None,
    ) -> None:
        self.image = image
        self.profile = emulated.PROFILES[profile]
        self._backing = backing
        self._variables = image.firmware / "OVMF_VARS_4M.fd"
        self._keep = keep
        self._process: subprocess.Popen[bytes] | None = None
        slot = cache.slot(say)
        self.folder, lock = cache.run_folder()
        self._locks = [slot, lock]
        self.channel: Channel

    def start(self, *more: str) -> None:
        """Starts the emulator with its devices; ``more`` may say that it waits for a snapshot, or does not run yet."""
        self._fill_folder()
        files = emulated.Files(
            kernel=str(self.image.kernel),
            initrd=str(self.image.initrd),
            firmware_code=str(self.image.firmware / "OVMF_CODE_4M.fd"),
            disk="disk.qcow2",
        )
        argv = [*self.image.qemu(), *emulated.options(self.profile, files), *more]
        # Dies with us: also when we are killed so that no handler of ours runs.
        wrapper = [] if self._keep else ["setpriv", "--pdeathsig", "KILL"]
        with (self.folder / "emulator.log").open("wb") as log:
            self._process = subprocess.Popen(
                [*wrapper, *argv],
                cwd=self.folder,
                env=self.image.environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=self._locks,
                start_new_session=True,
            )
        if self._keep:
            (self.folder / cache.KEPT).touch()
        (self.folder / "pid").write_text(str(self._process.pid))
        self.channel = self._patiently(lambda: Channel(str(self.folder / "agent.sock"), self.gone))

    def start_from(self, firmware_variables: Path) -> None:
        """Starts the emulator so that it waits for a snapshot's memory, with the firmware's variables of then."""
        self._variables = firmware_variables
        self.start("-incoming", "defer")

    def wait_for_exit(self) -> None:
        """Waits until the emulator, which was told to quit, has done so."""
        assert self._process is not None
        self._process.wait(START_S)

    def monitor(self) -> Monitor:
        """A new connection to the emulator's monitor; the caller closes it."""
        return self._patiently(lambda: Monitor(str(self.folder / "qmp.sock"), self.gone))

    def wait_until_up(self, patience_s: float) -> None:
        """Waits for the agent's greeting. Raises LabError, with the place of the log, when it does not come."""
        if not self.channel.read_until(lambda: self.channel.greeted, patience_s):
            raise LabError(f"the emulated host was not up after {patience_s:.0f} s{self._console_end()}", self._logs())

    def gone(self) -> LabError:
        """Why the emulator is no longer there, as an error to raise."""
        console = self._console()
        if "Kernel panic" in console:
            panic = console[console.index("Kernel panic") :].splitlines()[0]
            if "Oops: int3" in console:
                return LabError("the emulator has run a breakpoint that the kernel had taken back", self._logs())
            return LabError(f"the emulated host's kernel ended: {panic}", self._logs())
        with contextlib.suppress(subprocess.TimeoutExpired, AttributeError):
            self._process.wait(5)  # type: ignore[union-attr]
        log = (self.folder / "emulator.log").read_text(errors="replace")
        said = "\n".join(line for line in log.splitlines() if "warning: " not in line).strip()
        status = None if self._process is None else self._process.poll()
        if status is None:
            how = "does not answer"
        else:
            how = f"has ended by {signal.Signals(-status).name}" if status < 0 else f"has ended with status {status}"
        return LabError(f"the emulator {how}: {said[-LAST_WORDS:] or 'it said nothing'}", self._logs())

    def stop(self) -> None:
        """Ends the emulator and removes its folder. Safe to call twice, and whatever state it is in."""
        if self._process is not None:
            with contextlib.suppress(AttributeError):
                self.channel.close()
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None
        while self._locks:
            os.close(self._locks.pop())
        shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self._keep or error is not None:
            self.stop()

    def keep_logs(self, place: Path) -> None:
        """Copies console, emulator's log and captured wire to a place that outlives the lab."""
        place.mkdir(parents=True, exist_ok=True)
        for name in ("console.log", "emulator.log", "wire.pcap"):
            with contextlib.suppress(FileNotFoundError):
                shutil.copy(self.folder / name, place / name)

    def _fill_folder(self) -> None:
        overlay = [
            "create",
            "-q",
            "-f",
            "qcow2",
            "-b",
            str(self._backing),
            "-F",
            "raw" if self._backing.suffix == ".img" else "qcow2",
        ]
        made = subprocess.run(
            [*self.image.qemu_img(), *overlay, str(self.folder / "disk.qcow2")],
            env=self.image.environment(),
            capture_output=True,
            text=True,
            check=False,
        )
        if made.returncode != 0:
            raise LabError(f"the lab's disk could not be made: {made.stderr.strip()}")
        shutil.copy(self._variables, self.folder / "vars.fd")
        table = ssdt.table(emulated.CPUS, emulated.CPUFREQ_SERIAL + emulated.SCRATCH_REGISTER)
        (self.folder / "cpufreq.aml").write_bytes(table)
        for name, size, mark in (("nvme.raw", NVME_BYTES, NVME_MARK), ("stick.raw", STICK_BYTES, STICK_MARK)):
            with (self.folder / name).open("wb") as file:
                file.write(mark)
                file.truncate(size)

    def _patiently(self, connect: Callable[[], T]) -> T:
        deadline = time.monotonic() + START_S
        while True:
            try:
                return connect()
            except OSError as error:
                if self._process is not None and self._process.poll() is not None:
                    raise self.gone() from error
                if time.monotonic() > deadline:
                    raise LabError(f"the emulator opened no socket within {START_S:.0f} s", self._logs()) from error
            time.sleep(0.02)

    def _console(self) -> str:
        try:
            return (self.folder / "console.log").read_text(errors="replace")
        except FileNotFoundError:
            return ""

    def _console_end(self) -> str:
        lines = [line for line in self._console().splitlines() if line.strip()]
        return f"; its console ends with: {lines[-1].strip()}" if lines else "; its console is empty"

    def _logs(self) -> str:
        place = cache.folder() / "last-failure"
        shutil.rmtree(place, ignore_errors=True)
        self.keep_logs(place)
        return f"its logs are in {place}"


@contextlib.contextmanager
def signals_end_us() -> Iterator[None]:
    """Turns SIGTERM and SIGHUP into SystemExit, so that what was started is stopped on the way out."""

    def end(number: int, _frame: object) -> None:
        raise SystemExit(128 + number)

    before = {number: signal.signal(number, end) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
