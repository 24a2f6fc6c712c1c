"""An emulator that dies is told as one, whoever notices, and only an abort of it is worth another try."""

import socket
import subprocess
import threading
from pathlib import Path

import pytest

from tests.lab import cache
from tests.lab.conftest import EMULATOR_FAULTS, has_fault
from tests.lab.emulator import Emulator
from tests.lab.failure import LabError
from tests.lab.monitor import Monitor


def test_a_monitor_that_closes_in_the_middle_is_the_emulator_s_end(tmp_path: Path) -> None:
    path = str(tmp_path / "qmp")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(path)
        listening.listen()

        def emulate() -> None:
            connection, _ = listening.accept()
            with connection, connection.makefile("rb") as asked:
                connection.sendall(b'{"QMP": {}}\n')
                asked.readline()
                connection.sendall(b'{"event": "RESUME"}\n{"return": {}}\n')
                asked.readline()

        emulator = threading.Thread(target=emulate)
        emulator.start()
        with Monitor(path, lambda: LabError("the emulator has gone")) as monitor:
            with pytest.raises(LabError, match="the emulator has gone"):
                monitor.execute("query-status")
        emulator.join()


@pytest.mark.parametrize(
    ("ending", "words"),
    [("kill -ABRT $$", EMULATOR_FAULTS[0]), ("kill -TERM $$", "by SIGTERM"), ("exit 3", "status 3")],
)
def test_how_an_emulator_has_ended_is_told(
    ending: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache, "folder", lambda: tmp_path)
    emulator = Emulator.__new__(Emulator)
    emulator.folder = tmp_path / "run"
    emulator.folder.mkdir()
    (emulator.folder / "emulator.log").write_text("its last words\n")
    emulator._process = subprocess.Popen(["sh", "-c", f"ulimit -c 0; {ending}"])
    told = emulator.gone().message
    assert words in told
    assert has_fault(told) is (words == EMULATOR_FAULTS[0])
    assert told.endswith(": its last words")


def test_a_kernel_that_ran_a_breakpoint_of_its_own_patching_is_the_emulator_s_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache, "folder", lambda: tmp_path)
    emulator = Emulator.__new__(Emulator)
    emulator.folder = tmp_path / "run"
    emulator.folder.mkdir()
    console = emulator.folder / "console.log"
    console.write_text("Oops: int3: 0000 [#1]\nKernel panic - not syncing: Fatal exception in interrupt\n")
    assert has_fault(emulator.gone().message)
    console.write_text("Kernel panic - not syncing: VFS: Unable to mount root\n")
    assert not has_fault(emulator.gone().message)
